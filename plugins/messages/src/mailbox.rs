//! What is given out of a mailbox, to whom it belongs, and when: a lease for each message that somebody has.
//!
//! A mailbox is found by the name of who calls, and by nothing else.

use serde::{Deserialize, Serialize};
use shelf::{Answer, Change, Entry, Fault, Kind, MAX_STEPS, Shelf, Step, Stop, When, check_seconds, refused, settled};

use crate::{
    address::{Id, Mailbox, Priority},
    members,
    sending::{self, COUNTER},
};

/// Most names of one acknowledgement: four keys each are deleted, in two transactions.
pub const MAX_ACKNOWLEDGED: usize = 60;
/// Keys of a message in a mailbox, with that of its sender's share.
const KEYS: usize = 4;
/// Messages of an answer: where nothing is said, at most. Each has three steps of one transaction.
const LIMITS: (u32, u32) = (10, 40);
/// Bytes of the bodies of an answer, as JSON at most six times as long: with less than a mebibyte it fits the default limit.
const MAX_BYTES: usize = 128 << 10;
/// Lease, in seconds: where nothing is said, at least, at most.
const LEASE: (u32, u32, u32) = (60, 1, 3_600);
/// Longest wait, in seconds.
const MAX_WAIT: u32 = 300;
/// Messages that are looked at together: for each, whether it is leased and was seen.
const PAGE: usize = MAX_STEPS / 2;

/// What a mailbox holds of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) sender: String,
    pub(crate) to: String,
    pub(crate) body: String,
}

/// How messages are asked for; each is its default where it is none.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Seconds to wait where there is nothing.
    pub wait: Option<u32>,
    /// Most messages.
    pub limit: Option<u32>,
    /// What is followed from now on.
    pub topics: Option<Vec<String>>,
    /// Seconds for which they are nobody else's.
    pub lease: Option<u32>,
}

/// A message as it is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub id: String,
    /// Who sent it.
    pub sender: String,
    /// To what.
    pub to: String,
    /// What it says.
    pub body: String,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was sent.
    pub sent_at_ms: u64,
    /// When it is gone.
    pub expires_at_ms: u64,
    /// It was given out before.
    pub redelivered: bool,
}

/// What there was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// In order.
    pub messages: Vec<Message>,
    /// More wait.
    pub more: bool,
    /// What is followed.
    pub topics: Vec<String>,
}

/// What became of an acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// How many are dealt with.
    pub acknowledged: usize,
    /// Which were not there.
    pub gone: Vec<String>,
}

/// Gives the caller's messages, and waits for some where there are none.
///
/// # Errors
/// Where an argument is beyond its bound, too many wait, or the store cannot.
pub fn receive(shelf: &impl Shelf, asked: &Asked) -> Answer<Received> {
    let limit = asked.limit.unwrap_or(LIMITS.0);
    if !(1..=LIMITS.1).contains(&limit) {
        return refused(format_args!("`limit` is {limit}: from 1 to {}", LIMITS.1));
    }
    let lease_ms = check_seconds("lease_seconds", asked.lease, LEASE.0, LEASE.1, LEASE.2)?;
    let wait_ms = check_seconds("wait_seconds", asked.wait, 0, 0, MAX_WAIT)?;
    let topics = members::join(shelf, asked.topics.as_deref())?;
    let mailbox = Mailbox::of(&shelf.caller())?;
    let until = shelf.now_ms().saturating_add(wait_ms);
    let mut after = 0;
    loop {
        let (taken, seen) = settled(|| take(shelf, &mailbox, limit as usize, lease_ms))?;
        // What woke it once wakes it no more: it would spin on the changes of before.
        after = after.max(seen);
        let left = until.saturating_sub(shelf.now_ms());
        if !taken.messages.is_empty() || wait_ms == 0 || left == 0 {
            return Ok(Received { topics, ..taken });
        }
        if !wait(shelf, &mailbox, &mut after, until)? {
            return Ok(Received { topics, ..taken });
        }
    }
}

/// Waits until something may be given out; false where the time was over before.
fn wait(shelf: &impl Shelf, mailbox: &Mailbox, after: &mut u64, until: u64) -> Answer<bool> {
    let (messages, leases) = (mailbox.messages(), mailbox.leases());
    let matters = |change: &Change| match change.kind {
        Kind::Set => change.key.starts_with(&messages),
        Kind::Delete | Kind::Expire => change.key.starts_with(&leases),
    };
    loop {
        let left = u32::try_from(until.saturating_sub(shelf.now_ms())).unwrap_or(u32::MAX);
        if left == 0 {
            return Ok(false);
        }
        let page = shelf.changes(mailbox.all(), *after, left)?;
        *after = page.next_after;
        if page.missed || page.changes.iter().any(matters) {
            return Ok(true);
        }
        if page.changes.is_empty() {
            // The wait is over, or the call nearly.
            return Ok(false);
        }
    }
}

/// Leases the first messages that nobody has, and says after which version to wait where there are none.
fn take(shelf: &impl Shelf, mailbox: &Mailbox, limit: usize, lease_ms: u64) -> Result<(Received, u64), Stop> {
    // Every message comes after a number of the counter: what happened before it is in the list below.
    let mut seen_version = shelf.get(COUNTER)?.map_or(0, |entry| entry.version);
    let (mut after, mut free, mut more) = (None::<String>, Vec::new(), false);
    let mut first = true;
    loop {
        let page = shelf.list(&mailbox.messages(), after.as_deref(), PAGE as u32)?;
        let newest = page.entries.iter().map(|entry| entry.version).max().unwrap_or(0);
        if first {
            // What a later page shows may be newer than a change that the first one missed.
            seen_version = seen_version.max(newest);
            first = false;
        }
        let entries: Vec<_> = page.entries.iter().filter_map(|e| Some((mailbox.id(&e.key)?, e))).collect();
        let marks = entries.iter().flat_map(|(id, _)| [mailbox.lease(*id), mailbox.seen(*id)]);
        let marks = shelf.get_many(&marks.collect::<Vec<_>>())?;
        for ((id, entry), marks) in entries.into_iter().zip(marks.chunks(2)) {
            if let [None, seen] = marks {
                free.push((id, entry.clone(), seen.is_some()));
            }
        }
        after = page.next;
        if free.len() > limit || after.is_none() {
            break;
        }
    }
    let mut bytes = 0;
    let mut messages = Vec::new();
    let mut steps = Vec::new();
    for (id, entry, redelivered) in free {
        bytes += entry.value.len();
        if messages.len() == limit || (bytes > MAX_BYTES && !messages.is_empty()) {
            more = true;
            break;
        }
        steps.push(Step::Check(entry.key.clone(), When::Version(entry.version)));
        steps.push(Step::Set(mailbox.lease(id), b"1".to_vec(), When::Absent, Some(lease_ms)));
        if !redelivered {
            // As long as the message was given, so that it stays no longer than that after it.
            let lives = entry.expires_at_ms.map(|end| end.saturating_sub(entry.written_at_ms).max(1));
            steps.push(Step::Set(mailbox.seen(id), b"1".to_vec(), When::Always, lives));
        }
        messages.push(message(id, &entry, redelivered)?);
    }
    if !steps.is_empty() {
        match shelf.transact(&steps) {
            // Without a lease it may come twice, which is better than never: acknowledging makes the room that is missing.
            Ok(_) | Err(Fault::Full) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok((Received { messages, more, topics: Vec::new() }, seen_version))
}

fn message(id: Id, entry: &Entry, redelivered: bool) -> Result<Message, Fault> {
    let Letter { sender, to, body } = entry.read()?;
    let (id, priority) = (id.text(), id.0);
    let (sent_at_ms, expires_at_ms) = (entry.written_at_ms, entry.expires_at_ms.unwrap_or(u64::MAX));
    Ok(Message { id, sender, to, body, priority, sent_at_ms, expires_at_ms, redelivered })
}

/// Takes messages out of the caller's mailbox.
///
/// # Errors
/// Where there are no names or too many, and where the store cannot.
pub fn acknowledge(shelf: &impl Shelf, ids: &[String]) -> Answer<Acknowledged> {
    if !(1..=MAX_ACKNOWLEDGED).contains(&ids.len()) {
        return refused(format_args!("{} ids: from 1 to {MAX_ACKNOWLEDGED} at a time", ids.len()));
    }
    let mailbox = Mailbox::of(&shelf.caller())?;
    let mut given: Vec<_> = ids.iter().map(|text| (Id::read(text), text)).collect();
    given.sort();
    given.dedup();
    let (known, mut gone) = (given.iter().filter_map(|(id, _)| *id), Vec::new());
    gone.extend(given.iter().filter(|(id, _)| id.is_none()).map(|(_, text)| (*text).clone()));
    let known: Vec<Id> = known.collect();
    let mut done = 0;
    // Whether it was there is what the deletion of the message says; what belongs to it goes with it.
    for ids in known.chunks(MAX_STEPS / KEYS) {
        let letters = shelf.get_many(&ids.iter().map(|id| mailbox.message(*id)).collect::<Vec<_>>())?;
        let mut steps = Vec::new();
        for (id, letter) in ids.iter().zip(letters) {
            let keys = [mailbox.message(*id), mailbox.lease(*id), mailbox.seen(*id)];
            steps.extend(keys.map(|key| Step::Delete(key, When::Always)));
            // Where it is gone already, so is what its sender's share has of it; the sender of an id is always the same.
            let sender = letter.map_or_else(|| shelf.caller(), |letter| letter.writer);
            steps.push(sending::share(&sender)?.remove(&sending::thing(*id, &shelf.caller())?));
        }
        let versions = shelf.transact(&steps)?;
        for (id, versions) in ids.iter().zip(versions.chunks(KEYS)) {
            match versions.first() {
                Some(Some(_)) => done += 1,
                Some(None) | None => gone.push(id.text()),
            }
        }
    }
    Ok(Acknowledged { acknowledged: done, gone })
}
