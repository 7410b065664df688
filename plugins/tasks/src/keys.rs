//! Where things lie. `task/SEQ` is a task; `ready/P/SEQ` and `of/POSTER/P/SEQ` are there while it can be claimed, in the order
//! in which to claim; `held/END/SEQ` and `has/CLAIMANT/SEQ` while somebody has it, the first that ends first, and `lease/SEQ`
//! until the lease is over, by the store's clock; `after/SEQ/SEQ` while the second waits for the first; `settle/SEQ` from when
//! a task ended until all that waited for it know. `open/POSTER/SEQ` and `ended/POSTER/SEQ` are the shares of its poster.

use shelf::{Answer, Share, name_part, refused};

use crate::task::MAX_PRIORITY;

/// Digits of a number in a key, so that their order is that of the numbers: below 2^53, as versions.
const DIGITS: usize = 16;

/// What one poster may have open, and have ended, of the bucket: one part each of so many. Two that post, with both, have half.
const PARTS: u64 = 8;
/// Entries of an open task: itself, twice where it can be claimed or is held, its lease, and that of the share.
const OPEN_ENTRIES: u64 = 5;
/// Entries of one that has ended: itself, and that of the share.
const ENDED_ENTRIES: u64 = 2;

/// Bytes of the keys that a task gets later: its lease, and where it is held.
pub(crate) const LATER: usize = 512;

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
    format!("{READY}{}", place(priority, seq))
}

/// What the keys of what somebody posted and can be claimed begin with.
pub(crate) fn ready_of(poster: &str) -> Answer<String> {
    Ok(format!("of/{}/", name_part("orchestrator_id", poster)?))
}

/// The end of a key by which tasks are in the order in which to claim them.
pub(crate) fn place(priority: u8, seq: Seq) -> String {
    format!("{}/{seq:0DIGITS$}", MAX_PRIORITY.saturating_sub(priority))
}

/// `end_ms` is when the lease ends by the clock of whoever claimed it: an order, which decides nothing.
pub(crate) fn held(end_ms: u64, seq: Seq) -> String {
    format!("{HELD}{end_ms:0DIGITS$}/{seq:0DIGITS$}")
}

/// What the keys of what somebody has begin with.
pub(crate) fn has(claimant: &str) -> Answer<String> {
    Ok(format!("has/{}/", name_part("name", claimant)?))
}

/// What is called so in the shares of its poster.
pub(crate) fn thing(seq: Seq) -> String {
    format!("{seq:0DIGITS$}")
}

/// What somebody posted that has not ended.
pub(crate) fn open(poster: &str) -> Answer<Share> {
    Share::of("open", poster, PARTS, OPEN_ENTRIES)
}

/// What somebody posted that has ended.
pub(crate) fn ended(poster: &str) -> Answer<Share> {
    Share::of("ended", poster, PARTS, ENDED_ENTRIES)
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
