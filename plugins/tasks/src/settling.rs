//! What happens by itself, and therefore at the next call of anybody: leases end, and those that wait hear that what they
//! waited for has ended.

use serde::{Deserialize, Serialize};
use shelf::{Answer, Entry, Fault, MAX_STEPS, Share, Shelf, Step, Stop, When, settled};

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
    let was = before.as_ref().map(|before| before.state);
    let line = Line { title: task.title.clone(), orchestrator: task.orchestrator.clone(), attempt: task.attempt };
    let mine = format!("{}{}", keys::ready_of(&task.orchestrator)?, keys::place(task.priority, seq));
    for key in [keys::ready(task.priority, seq), mine] {
        // From pending to pending there is no way: the key is written once.
        if was == Some(State::Pending) {
            steps.push(Step::Delete(key, When::Always));
        } else if task.state == State::Pending {
            steps.push(Step::set(key, &line, When::Always, None)?);
        }
    }
    let (before_at, now_at) = (before.as_ref().map(places).transpose()?.flatten(), places(task)?);
    if before_at != now_at {
        let gone = before_at.iter().flatten().filter(|key| !now_at.iter().flatten().any(|now| now == *key));
        steps.extend(gone.map(|key| Step::Delete(key.clone(), When::Always)));
        let new = now_at.iter().flatten().filter(|key| !before_at.iter().flatten().any(|before| before == *key));
        steps.extend(new.map(|key| Step::Set(key.clone(), Vec::new(), When::Always, None)));
    }
    let open = keys::open(&task.orchestrator)?;
    if task.state.is_end() {
        steps.push(open.remove(&keys::thing(seq)));
    } else {
        let bytes = steps.iter().map(Step::size).sum::<usize>() + keys::LATER;
        steps.push(open.add(&keys::thing(seq), bytes, None));
    }
    match lease {
        Lease::For(ms) => steps.push(Step::Set(keys::lease(seq), Vec::new(), When::Absent, Some(*ms))),
        Lease::Stands(version) => steps.push(Step::Delete(keys::lease(seq), When::Version(*version))),
        Lease::Longer(version, ms) => {
            steps.push(Step::Set(keys::lease(seq), Vec::new(), When::Version(*version), Some(*ms)));
        }
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

/// Where a task is listed while somebody has it.
fn places(task: &Task) -> Answer<Option<[String; 2]>> {
    let (State::Claimed, Some(claimant)) = (task.state, &task.claimant) else { return Ok(None) };
    let has = format!("{}{}", keys::has(claimant)?, keys::thing(task.seq));
    Ok(Some([keys::held(task.held_ms.unwrap_or_default(), task.seq), has]))
}

/// What must be true of a lease, and what becomes of it.
pub(crate) enum Lease {
    /// It begins, and nobody has one.
    For(u64),
    /// It is the one of this version, and ends.
    Stands(u64),
    /// The one of this version, which lasts so long from now on.
    Longer(u64, u64),
    /// It is over.
    Over,
    /// It ends, if there is one.
    Any,
}

/// Gives back what was claimed and is over, and tells those that wait. Every call does so first, and goes on where it cannot.
pub(crate) fn settle(shelf: &impl Shelf) -> Answer<()> {
    let given = give_back(shelf);
    // Also where nothing could be given back: telling may make the room for it.
    tell(shelf)?;
    given
}

/// Looks at those that end first, by the clocks of those who claimed them, and at more only where all of these have ended:
/// what a call does for others does not grow with what is held.
fn give_back(shelf: &impl Shelf) -> Answer<()> {
    let (mut after, mut given) = (None, 0);
    while given < MAX_SETTLED {
        let page = shelf.list(HELD, after.as_deref(), MAX_STEPS as u32)?;
        let held: Vec<Seq> = page.entries.iter().filter_map(|entry| keys::last(&entry.key)).collect();
        let leases = shelf.get_many(&held.iter().map(|seq| keys::lease(*seq)).collect::<Vec<_>>())?;
        let runs = leases.iter().any(Option::is_some);
        for (seq, _) in held.iter().zip(leases).filter(|(_, lease)| lease.is_none()) {
            settled(|| end_lease(shelf, *seq))?;
            given += 1;
        }
        after = page.next;
        if after.is_none() || runs {
            return Ok(());
        }
    }
    Ok(())
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
    let found = shelf.get(&keys::task(of))?;
    let task: Option<Task> = found.as_ref().map(Entry::read).transpose()?;
    let ended = task.as_ref().map_or(State::Cancelled, |task| task.state);
    let mut told = 0;
    loop {
        let page = shelf.list(&keys::waiting(of), None, PAGE)?;
        if page.entries.is_empty() {
            // Nobody waits, and nobody will: whoever posts looks at how it stands in the same transaction.
            let mut steps = vec![Step::Delete(mark.key.clone(), When::Version(mark.version))];
            let share = task.map(|task| keys::ended(&task.orchestrator)).transpose()?;
            if let (Some(share), Some(entry)) = (&share, &found) {
                let bytes = shelf::size(entry) + share.key(&keys::thing(of)).len();
                steps.push(share.add(&keys::thing(of), bytes, Some(KEPT_MS)));
            }
            match shelf.transact(&steps) {
                Ok(_) => share.iter().try_for_each(|share| forget(shelf, share, of))?,
                Err(Fault::Conflict(_)) => {}
                Err(fault) => return Err(fault.into()),
            }
            return Ok(told);
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

/// Deletes the first tasks of what has ended of one poster, as far as they are beyond its share; never the one that ended
/// just now.
fn forget(shelf: &impl Shelf, share: &Share, last: Seq) -> Result<(), Fault> {
    let (kept, most) = (share.kept(shelf)?, share.most(shelf.usage()?));
    let (mut things, mut bytes) = (kept.things.len() as u64, kept.bytes);
    let mut steps = Vec::new();
    for (thing, size) in kept.things {
        let Ok(seq) = thing.parse::<Seq>() else { continue };
        if (things <= most.things && bytes <= most.bytes) || steps.len() + 2 > MAX_STEPS {
            break;
        }
        if seq != last {
            steps.extend([Step::Delete(keys::task(seq), When::Always), share.remove(&thing)]);
            (things, bytes) = (things.saturating_sub(1), bytes.saturating_sub(size));
        }
    }
    if !steps.is_empty() {
        shelf.transact(&steps)?;
    }
    Ok(())
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
