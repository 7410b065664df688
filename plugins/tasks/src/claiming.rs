//! Who has a task, and for how long.

use shelf::{Answer, Entry, Fault, Shelf, Stop, check_seconds, refused, settled};

use crate::{
    keys::{self, READY, Seq},
    looking::Shown,
    settling::{self, Lease},
    task::Task,
};

/// Lease in seconds: where nothing is said, at least, at most.
const LEASE: (u32, u32, u32) = (300, 1, 86_400);
/// Most tasks that a call tries to claim, each of which somebody else got first.
const MAX_LOST: usize = 100;
/// Tasks of a page.
const PAGE: u32 = 100;
/// Most tasks that one has at a time; calls at the same instant may bring it a little beyond.
pub const MAX_HELD: u32 = 64;

/// Which task is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// This one. None: the first.
    pub id: Option<String>,
    /// Of those that this one posted.
    pub orchestrator: Option<String>,
    /// For so many seconds.
    pub lease: Option<u32>,
}

/// Takes a task; none where any would do and there is none.
///
/// # Errors
/// Where an argument is beyond its bound, the task cannot be claimed, or the store cannot.
pub fn claim(shelf: &impl Shelf, wanted: &Wanted) -> Answer<Option<Shown>> {
    let lease_ms = check_seconds("lease_seconds", wanted.lease, LEASE.0, LEASE.1, LEASE.2)?;
    let chosen = wanted.id.as_deref().map(keys::seq).transpose()?;
    if chosen.is_some() && wanted.orchestrator.is_some() {
        return refused("`task_id` says which task: leave `orchestrator_id` out");
    }
    _ = settling::settle(shelf);
    let held = shelf.list(&keys::has(&shelf.caller())?, None, MAX_HELD)?.entries.len();
    if held >= MAX_HELD as usize {
        return refused(format_args!("you have {MAX_HELD} tasks: complete one, or fail it, before you claim another"));
    }
    match chosen {
        Some(seq) => settled(|| take(shelf, seq, lease_ms)).map(Some),
        None => first(shelf, wanted.orchestrator.as_deref(), lease_ms),
    }
}

/// The first that nobody else takes meanwhile.
fn first(shelf: &impl Shelf, orchestrator: Option<&str>, lease_ms: u64) -> Answer<Option<Shown>> {
    let prefix = orchestrator.map_or_else(|| Ok(READY.to_owned()), keys::ready_of)?;
    let (mut after, mut lost) = (None::<String>, 0);
    loop {
        let page = shelf.list(&prefix, after.as_deref(), PAGE)?;
        for entry in &page.entries {
            let Some(seq) = keys::last(&entry.key) else { continue };
            match take(shelf, seq, lease_ms) {
                Ok(task) => return Ok(Some(task)),
                // Somebody was quicker: the next one.
                Err(Stop::Fault(Fault::Conflict(_)) | Stop::Refused(_)) => lost += 1,
                Err(stop) => return Err(stop.into()),
            }
            if lost >= MAX_LOST {
                return refused("others claimed all that was tried: call again");
            }
        }
        let Some(next) = page.next else { return Ok(None) };
        after = Some(next);
    }
}

fn take(shelf: &impl Shelf, seq: Seq, lease_ms: u64) -> Result<Shown, Stop> {
    let entry = find(shelf, seq)?;
    let mut task: Task = entry.read()?;
    let now_ms = shelf.now_ms();
    task.claim(&shelf.caller(), now_ms)?;
    task.held_ms = Some(now_ms.saturating_add(lease_ms));
    shelf.transact(&settling::steps(&task, Some(&entry), &Lease::For(lease_ms))?)?;
    Ok(leased(shelf, task))
}

/// The task, and until when the caller has it: by the store's clock, which decides. Where the lease cannot be looked at, by
/// this machine's.
fn leased(shelf: &impl Shelf, task: Task) -> Shown {
    let lease = shelf.get(&keys::lease(task.seq)).ok().flatten();
    Shown { lease_until_ms: lease.and_then(|lease| lease.expires_at_ms).or(task.held_ms), task }
}

/// The entry of a task.
pub(crate) fn find(shelf: &impl Shelf, seq: Seq) -> Result<Entry, Stop> {
    shelf.get(&keys::task(seq))?.ok_or_else(|| missing(seq).into())
}

pub(crate) fn missing(seq: Seq) -> String {
    format!("there is no task {}: it was never posted, or ended more than 30 days ago", keys::id(seq))
}

/// The task and its lease, where the caller has it.
pub(crate) fn own(shelf: &impl Shelf, seq: Seq, attempt: Option<u32>) -> Result<(Entry, Entry, Task), Stop> {
    let found = shelf.get_many(&[keys::task(seq), keys::lease(seq)])?;
    let [task, lease] = <[_; 2]>::try_from(found).unwrap_or_default();
    let entry = task.ok_or_else(|| Stop::Refused(missing(seq)))?;
    let task: Task = entry.read()?;
    task.check_claimant(&shelf.caller(), attempt)?;
    match lease {
        Some(lease) => Ok((entry, lease, task)),
        None => Err(format!(
            "your lease of {} has ended, and it goes back to the queue: what you did may be done again by another. Claim \
             it anew to go on",
            task.id()
        )
        .into()),
    }
}

/// Keeps a task for longer.
///
/// # Errors
/// Where the caller does not have it any more, an argument is beyond its bound, or the store cannot.
pub fn extend(shelf: &impl Shelf, id: &str, lease: Option<u32>, attempt: Option<u32>) -> Answer<Shown> {
    let lease_ms = check_seconds("lease_seconds", lease, LEASE.0, LEASE.1, LEASE.2)?;
    let seq = keys::seq(id)?;
    settled(|| {
        let (entry, lease, mut task) = own(shelf, seq, attempt)?;
        task.held_ms = Some(shelf.now_ms().saturating_add(lease_ms));
        shelf.transact(&settling::steps(&task, Some(&entry), &Lease::Longer(lease.version, lease_ms))?)?;
        Ok(leased(shelf, task))
    })
}
