//! Where things lie. `task/SEQ` is a task; `ready/P/SEQ` is there while it can be claimed, in the order in which to claim;
//! `held/SEQ` while somebody has it, and `lease/SEQ` until the lease is over, by the store's clock; `after/SEQ/SEQ` while the
//! second waits for the first; `settle/SEQ` from when a task ended until all that waited for it know.

use shelf::{Answer, refused};

use crate::task::MAX_PRIORITY;

/// Digits of a number in a key, so that their order is that of the numbers: below 2^53, as versions.
const DIGITS: usize = 16;

/// The counter that tasks have their numbers from.
pub(crate) const COUNTER: &str = "seq";
pub(crate) const READY: &str = "ready/";
pub(crate) const HELD: &str = "held/";
pub(crate) const SETTLE: &str = "settle/";

/// The number of a task.
pub(crate) type Seq = u64;

/// The id of a task, as agents see it.
pub(crate) fn id(seq: Seq) -> String {
    format!("t{seq}")
}

/// Reads an id, in the spelling of [`id`] alone.
pub(crate) fn seq(text: &str) -> Answer<Seq> {
    let found = text.strip_prefix('t').and_then(|number| number.parse().ok()).filter(|seq| id(*seq) == text);
    match found {
        Some(seq) => Ok(seq),
        None => refused("`task_id` is none: `post_task` and `get_pending_tasks` give ids such as `t12`"),
    }
}

pub(crate) fn task(seq: Seq) -> String {
    format!("task/{seq:0DIGITS$}")
}

pub(crate) fn ready(priority: u8, seq: Seq) -> String {
    format!("{READY}{}/{seq:0DIGITS$}", MAX_PRIORITY.saturating_sub(priority))
}

pub(crate) fn held(seq: Seq) -> String {
    format!("{HELD}{seq:0DIGITS$}")
}

pub(crate) fn lease(seq: Seq) -> String {
    format!("lease/{seq:0DIGITS$}")
}

pub(crate) fn settle(seq: Seq) -> String {
    format!("{SETTLE}{seq:0DIGITS$}")
}

/// What the keys of those that wait for `seq` begin with.
pub(crate) fn waiting(seq: Seq) -> String {
    format!("after/{seq:0DIGITS$}/")
}

pub(crate) fn after(seq: Seq, waits: Seq) -> String {
    format!("{}{waits:0DIGITS$}", waiting(seq))
}

/// The number at the end of a key.
pub(crate) fn last(key: &str) -> Option<Seq> {
    key.rsplit('/').next()?.parse().ok()
}
