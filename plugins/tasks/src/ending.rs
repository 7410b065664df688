//! How a task ends, or goes back.

use shelf::{Answer, Shelf, check_size, check_text, refused, settled};

use crate::{
    claiming::{find, own},
    keys,
    looking::Shown,
    settling::{self, Lease},
    task::Task,
};

/// Longest outcome, in bytes: as JSON of any text it fits an answer.
const MAX_OUTCOME: usize = 64 << 10;
/// Longest reason, in bytes: a history has fifty.
const MAX_REASON: usize = 2 << 10;

/// Longest outcome and reason where only the reserve of the bucket is left, in bytes.
const SHORT: usize = 1 << 10;

/// Refuses a long word where it would take the room that all others need to finish.
fn check_room(shelf: &impl Shelf, what: &str, text: &str) -> Answer<()> {
    if text.len() > SHORT && shelf.usage()?.is_some_and(|usage| usage.is_short(text.len() as u64)) {
        return refused(format_args!(
            "the bucket of this tool is nearly full: until there is room, `{what}` may have {SHORT} bytes. Put it \
             elsewhere, as with `write_context`, and say where it is"
        ));
    }
    Ok(())
}

/// The caller has done it.
///
/// # Errors
/// Where the caller does not have it any more, the outcome is too long, or the store cannot.
pub fn complete(shelf: &impl Shelf, id: &str, outcome: Option<&str>, attempt: Option<u32>) -> Answer<Shown> {
    check_size("result", outcome.unwrap_or_default(), MAX_OUTCOME)?;
    check_room(shelf, "result", outcome.unwrap_or_default())?;
    speak(shelf, id, attempt, |task, by, at_ms| task.complete(by, at_ms, outcome))
}

/// The caller has tried in vain.
///
/// # Errors
/// Where the caller does not have it any more, the reason is empty or too long, or the store cannot.
pub fn fail(shelf: &impl Shelf, id: &str, reason: &str, retry: Option<bool>, attempt: Option<u32>) -> Answer<Shown> {
    check_text("reason", reason, MAX_REASON)?;
    check_room(shelf, "reason", reason)?;
    speak(shelf, id, attempt, |task, by, at_ms| task.give_up(Some(by), at_ms, reason, retry.unwrap_or(true)))
}

/// The claimant speaks, and its lease ends with that.
fn speak(shelf: &impl Shelf, id: &str, attempt: Option<u32>, says: impl Fn(&mut Task, &str, u64)) -> Answer<Shown> {
    let seq = keys::seq(id)?;
    let done = settled(|| {
        let (entry, lease, mut task) = own(shelf, seq, attempt)?;
        says(&mut task, &shelf.caller(), shelf.now_ms());
        shelf.transact(&settling::steps(&task, Some(&entry), &Lease::Stands(lease.version))?)?;
        Ok(Shown::free(task))
    })?;
    told(shelf, done)
}

/// The poster calls it off.
///
/// # Errors
/// Where the caller did not post it, it has ended, the reason is too long, or the store cannot.
pub fn cancel(shelf: &impl Shelf, id: &str, reason: Option<&str>) -> Answer<Shown> {
    check_size("reason", reason.unwrap_or_default(), MAX_REASON)?;
    let seq = keys::seq(id)?;
    let done = settled(|| {
        let entry = find(shelf, seq)?;
        let mut task: Task = entry.read()?;
        task.cancel(&shelf.caller(), shelf.now_ms(), reason)?;
        shelf.transact(&settling::steps(&task, Some(&entry), &Lease::Any)?)?;
        Ok(Shown::free(task))
    })?;
    told(shelf, done)
}

/// The task has ended, whether those that wait hear it now or at the next call: their not hearing is no failure of this.
fn told(shelf: &impl Shelf, done: Shown) -> Answer<Shown> {
    if done.task.state.is_end() {
        _ = settling::tell(shelf);
    }
    Ok(done)
}
