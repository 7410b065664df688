//! Looking at tasks.

use shelf::{Answer, Shelf, check_name, refused};

use crate::{
    claiming::missing,
    keys::{self, READY},
    settling::{self, Line},
    task::{MAX_PRIORITY, State, Task},
};

/// Tasks of an answer: where nothing is said, at most.
const LIMITS: (u32, u32) = (20, 100);
/// Entries that are looked at together.
const PAGE: u32 = 200;
/// Most pages of one call; where they do not do, the answer says where to go on.
const MAX_PAGES: usize = 20;
/// Longest `after`: the end of a key, by which tasks have their order.
const MAX_AFTER: usize = 64;

/// A task, and how long its claimant has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The task.
    pub task: Task,
    /// Until when.
    pub lease_until_ms: Option<u64>,
}

impl Shown {
    /// Nobody has it.
    pub(crate) fn free(task: Task) -> Self {
        Self { task, lease_until_ms: None }
    }
}

/// A task that can be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingTask {
    /// What it is called.
    pub id: String,
    /// What it is.
    pub title: String,
    /// 9 comes first.
    pub priority: u8,
    /// Who posted it.
    pub orchestrator: String,
    /// How often it was claimed.
    pub attempt: u32,
}

/// Tasks that can be claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// In the order in which to claim them.
    pub tasks: Vec<PendingTask>,
    /// What to ask after next.
    pub next: Option<String>,
}

/// What can be claimed.
///
/// # Errors
/// Where an argument is beyond its bound, or the store cannot.
pub fn pending(
    shelf: &impl Shelf,
    orchestrator: Option<&str>,
    limit: Option<u32>,
    after: Option<&str>,
) -> Answer<Pending> {
    let limit = limit.unwrap_or(LIMITS.0);
    if !(1..=LIMITS.1).contains(&limit) {
        return refused(format_args!("`limit` is {limit}: from 1 to {}", LIMITS.1));
    }
    if let Some(after) = after {
        check_name("after", after, MAX_AFTER)?;
    }
    _ = settling::settle(shelf);
    let mut tasks = Vec::new();
    let prefix = orchestrator.map_or_else(|| Ok(READY.to_owned()), keys::ready_of)?;
    let bare = |key: &str| key.strip_prefix(&prefix).unwrap_or(key).to_owned();
    let mut after = after.map(|after| format!("{prefix}{after}"));
    for _ in 0..MAX_PAGES {
        let page = shelf.list(&prefix, after.as_deref(), PAGE)?;
        for entry in &page.entries {
            let Line { title, orchestrator: poster, attempt } = entry.read()?;
            let Some(rest) = entry.key.strip_prefix(&prefix) else { continue };
            let (Some((level, _)), Some(seq)) = (rest.split_once('/'), keys::last(rest)) else { continue };
            if tasks.len() == limit as usize {
                return Ok(Pending { tasks, next: after.as_deref().map(bare) });
            }
            after = Some(entry.key.clone());
            let priority = MAX_PRIORITY.saturating_sub(level.parse().unwrap_or(MAX_PRIORITY));
            tasks.push(PendingTask { id: keys::id(seq), title, priority, orchestrator: poster, attempt });
        }
        let Some(next) = page.next else { return Ok(Pending { tasks, next: None }) };
        after = Some(next);
    }
    Ok(Pending { tasks, next: after.as_deref().map(bare) })
}

/// A task.
///
/// # Errors
/// Where there is none, or the store cannot.
pub fn get(shelf: &impl Shelf, id: &str) -> Answer<Shown> {
    let seq = keys::seq(id)?;
    _ = settling::settle(shelf);
    let found = shelf.get_many(&[keys::task(seq), keys::lease(seq)])?;
    let [task, lease] = <[_; 2]>::try_from(found).unwrap_or_default();
    let Some(entry) = task else { return Err(missing(seq)) };
    let task: Task = entry.read()?;
    let lease = lease.filter(|_| task.state == State::Claimed);
    Ok(Shown { task, lease_until_ms: lease.and_then(|lease| lease.expires_at_ms) })
}
