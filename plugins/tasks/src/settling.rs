//! What happens by itself, and therefore at the next call of anybody: leases end, and those that wait hear that what they
//! waited for has ended.

use serde::{Deserialize, Serialize};
use shelf::{Answer, Entry, MAX_STEPS, Shelf, Step, Stop, When, settled};

use crate::{
    keys::{self, HELD, SETTLE, Seq},
    task::{State, Task},
};

/// How long a task that has ended is kept: thirty days.
const KEPT_MS: u64 = 30 * 24 * 3_600_000;
/// Most tasks that a call settles for others; the rest is for the next.
const MAX_SETTLED: usize = 200;
/// Entries that are looked at together.
const PAGE: u32 = 100;

/// What the list of claimable tasks says of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) title: String,
    pub(crate) orchestrator: String,
    pub(crate) attempt: u32,
}

/// The steps that put `task` in the place of `found`, with all that goes with its state. `lease` is how long it is
/// claimed for, or the lease that must still stand for this to happen.
pub(crate) fn steps(task: &Task, found: Option<&Entry>, lease: &Lease) -> Result<Vec<Step>, Stop> {
    let seq = task.seq;
    let before: Option<Task> = found.map(Entry::read).transpose()?;
    let kept = task.state.is_end().then_some(KEPT_MS);
    let mut steps = vec![Step::set(keys::task(seq), task, When::unchanged(found), kept)?];
    let was = before.map(|before| before.state);
    if was == Some(State::Pending) {
        steps.push(Step::Delete(keys::ready(task.priority, seq), When::Always));
    }
    if task.state == State::Pending {
        let line = Line { title: task.title.clone(), orchestrator: task.orchestrator.clone(), attempt: task.attempt };
        // From pending to pending there is no way: the key is written once.
        steps.push(Step::set(keys::ready(task.priority, seq), &line, When::Always, None)?);
    }
    if was == Some(State::Claimed) && task.state != State::Claimed {
        steps.push(Step::Delete(keys::held(seq), When::Always));
    }
    if task.state == State::Claimed && was != Some(State::Claimed) {
        steps.push(Step::Set(keys::held(seq), Vec::new(), When::Always, None));
    }
    match lease {
        Lease::For(ms) => steps.push(Step::Set(keys::lease(seq), Vec::new(), When::Absent, Some(*ms))),
        Lease::Stands(version) => steps.push(Step::Delete(keys::lease(seq), When::Version(*version))),
        Lease::Over => steps.push(Step::Check(keys::lease(seq), When::Absent)),
        Lease::Any if was == Some(State::Claimed) => steps.push(Step::Delete(keys::lease(seq), When::Always)),
        Lease::Any => {}
    }
    if task.state.is_end() {
        steps.push(Step::Set(keys::settle(seq), Vec::new(), When::Always, None));
        // It waits for nothing any more.
        let waited = task.waiting_for.iter().filter(|_| was == Some(State::Blocked));
        steps.extend(waited.map(|of| Step::Delete(keys::after(*of, seq), When::Always)));
    }
    Ok(steps)
}

/// What must be true of a lease, and what becomes of it.
pub(crate) enum Lease {
    /// It begins, and nobody has one.
    For(u64),
    /// It is the one of this version, and ends.
    Stands(u64),
    /// It is over.
    Over,
    /// It ends, if there is one.
    Any,
}

/// Gives back what was claimed and is over, and tells those that wait. Every call does so first.
pub(crate) fn settle(shelf: &impl Shelf) -> Answer<()> {
    give_back(shelf)?;
    tell(shelf)
}

fn give_back(shelf: &impl Shelf) -> Answer<()> {
    let mut after = None;
    let mut given = 0;
    loop {
        let page = shelf.list(HELD, after.as_deref(), PAGE.min(MAX_STEPS as u32))?;
        let held: Vec<Seq> = page.entries.iter().filter_map(|entry| keys::last(&entry.key)).collect();
        let leases = shelf.get_many(&held.iter().map(|seq| keys::lease(*seq)).collect::<Vec<_>>())?;
        for (seq, _) in held.iter().zip(leases).filter(|(_, lease)| lease.is_none()) {
            settled(|| end_lease(shelf, *seq))?;
            given += 1;
        }
        after = page.next;
        if after.is_none() || given >= MAX_SETTLED {
            return Ok(());
        }
    }
}

fn end_lease(shelf: &impl Shelf, seq: Seq) -> Result<(), Stop> {
    let found = shelf.get_many(&[keys::task(seq), keys::lease(seq)])?;
    let [Some(entry), None] = found.as_slice() else { return Ok(()) };
    let mut task: Task = entry.read()?;
    if task.state == State::Claimed {
        let claimant = task.claimant.clone().unwrap_or_default();
        task.give_up(None, shelf.now_ms(), &format!("the lease of `{claimant}` ended"), true);
        shelf.transact(&steps(&task, Some(entry), &Lease::Over)?)?;
    }
    Ok(())
}

/// Tells all that waited for what has ended; those may end by it, and are settled in turn.
pub(crate) fn tell(shelf: &impl Shelf) -> Answer<()> {
    let mut told = 0;
    while told < MAX_SETTLED {
        let page = shelf.list(SETTLE, None, PAGE)?;
        if page.entries.is_empty() {
            return Ok(());
        }
        for entry in &page.entries {
            told += 1;
            if let Some(seq) = keys::last(&entry.key) {
                told += tell_of(shelf, seq, entry)?;
            }
        }
    }
    Ok(())
}

fn tell_of(shelf: &impl Shelf, of: Seq, mark: &Entry) -> Answer<usize> {
    // What has ended stays so, and is kept longer than it takes to tell.
    let ended = match shelf.get(&keys::task(of))? {
        Some(entry) => entry.read::<Task>()?.state,
        None => State::Cancelled,
    };
    let mut told = 0;
    loop {
        let page = shelf.list(&keys::waiting(of), None, PAGE)?;
        if page.entries.is_empty() {
            // Nobody waits, and nobody will: whoever posts looks at how it stands in the same transaction.
            return match shelf.transact(&[Step::Delete(mark.key.clone(), When::Version(mark.version))]) {
                Ok(_) | Err(shelf::Fault::Conflict(_)) => Ok(told),
                Err(fault) => Err(fault.into()),
            };
        }
        for entry in &page.entries {
            told += 1;
            if let Some(seq) = keys::last(&entry.key) {
                settled(|| hear(shelf, of, ended, seq))?;
            }
        }
        if told >= MAX_SETTLED {
            return Ok(told);
        }
    }
}

fn hear(shelf: &impl Shelf, of: Seq, ended: State, seq: Seq) -> Result<(), Stop> {
    let link = keys::after(of, seq);
    let Some(entry) = shelf.get(&keys::task(seq))? else {
        shelf.transact(&[Step::Delete(link, When::Always)])?;
        return Ok(());
    };
    let mut task: Task = entry.read()?;
    let before = task.clone();
    task.hear(of, ended, shelf.now_ms());
    if task == before {
        shelf.transact(&[Step::Delete(link, When::Always)])?;
        return Ok(());
    }
    let mut steps = steps(&task, Some(&entry), &Lease::Any)?;
    if !steps.iter().any(|step| matches!(step, Step::Delete(key, _) if *key == link)) {
        steps.push(Step::Delete(link, When::Always));
    }
    shelf.transact(&steps)?;
    Ok(())
}
