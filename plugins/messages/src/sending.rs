//! A message into the mailboxes of those for whom it is.

use shelf::{
    Answer, MAX_STEPS, Share, Shelf, Step, Stop, When, check_seconds, check_text, name_part, refused, settled,
};

use crate::{
    address::{Id, Mailbox, Priority, Recipient},
    mailbox::Letter,
    members,
};

/// Longest body, in bytes: fifty of them stay an answer of a host's default limit only where they are shorter, so that
/// `receive` also counts bytes.
pub const MAX_BODY: usize = 64 << 10;
/// Most mailboxes that one message is put into.
pub const MAX_RECIPIENTS: usize = 1_000;
/// Time to live, in seconds: where nothing is said, at least, at most.
const TTL: (u32, u32, u32) = (86_400, 1, 604_800);
/// What one sender has in all mailboxes together, of the bucket: one part of so many. In `plugins/portcullis.toml` fewer
/// principals than that send.
const PARTS: u64 = 16;
/// Entries of a message in a mailbox: itself, its lease, that it was seen, and that of its sender's share.
const ENTRIES: u64 = 4;
/// Mailboxes that are written in one transaction: two keys each, beside the sender's gate.
const CHUNK: usize = (MAX_STEPS - 1) / 2;
/// Bytes of the number that says how large a message is.
const MAX_DIGITS: usize = 8;
/// What a sender may do whose share is used up.
const HINT: &str = "wait until others acknowledge what you sent, or its time is over";

/// The counter from which messages have their order.
pub(crate) const COUNTER: &str = "seq";

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its name.
    pub id: String,
    /// Into how many mailboxes.
    pub recipients: usize,
    /// For one who has not called yet.
    pub unknown: bool,
}

/// Sends a message.
///
/// # Errors
/// Where an argument is beyond its bound, there are too many recipients, or the store cannot.
pub fn send(shelf: &impl Shelf, to: &str, body: &str, priority: Option<Priority>, ttl: Option<u32>) -> Answer<Sent> {
    let recipient = Recipient::read(to)?;
    check_text("body", body, MAX_BODY)?;
    let ttl_ms = check_seconds("ttl_seconds", ttl, TTL.0, TTL.1, TTL.2)?;
    let sender = shelf.caller();
    let (names, unknown) = match &recipient {
        Recipient::Agent(name) => (vec![name.clone()], !members::is_there(shelf, name)?),
        Recipient::Topic(_) | Recipient::All => {
            let topic = match &recipient {
                Recipient::Topic(topic) => Some(topic.as_str()),
                Recipient::Agent(_) | Recipient::All => None,
            };
            // One more, since the sender may be among them.
            let (mut names, more) = members::all(shelf, topic, MAX_RECIPIENTS + 1)?;
            names.retain(|name| *name != sender);
            if more || names.len() > MAX_RECIPIENTS {
                return refused(format_args!("`{to}` would reach more than {MAX_RECIPIENTS}: nothing was sent"));
            }
            (names, false)
        }
    };
    // The number comes after all that this sender's earlier calls did, so that its messages have its order.
    let id = Id(priority.unwrap_or(Priority::Normal), shelf.next(COUNTER)?);
    let letter = Letter { sender, to: to.to_owned(), body: body.to_owned() };
    let mut put = 0;
    for some in names.chunks(CHUNK) {
        // All of them have room before the first is written.
        let left = names.len().saturating_sub(put);
        if let Err(fault) = settled(|| put_into(shelf, some, left, id, &letter, ttl_ms)) {
            return match put {
                0 => Err(fault),
                put => refused(format_args!("{put} of {} recipients have it, the others not: {fault}", names.len())),
            };
        }
        put += some.len();
    }
    Ok(Sent { id: id.text(), recipients: put, unknown })
}

/// Puts a letter into some mailboxes, of `left` that it is still to be put into.
fn put_into(
    shelf: &impl Shelf,
    names: &[String],
    left: usize,
    id: Id,
    letter: &Letter,
    ttl_ms: u64,
) -> Result<(), Stop> {
    let share = share(&letter.sender)?;
    let (mut steps, mut largest) = (Vec::new(), 0);
    for name in names {
        let mailbox = Mailbox::of(name)?;
        let step = Step::set(mailbox.message(id), letter, When::Absent, Some(ttl_ms))?;
        let thing = thing(id, name)?;
        // With what it takes while it is given out, so that receiving has room where sending had.
        let given = mailbox.lease(id).len() + mailbox.seen(id).len() + 2;
        let bytes = step.size() + given + share.key(&thing).len() + MAX_DIGITS;
        largest = largest.max(bytes);
        steps.push(step);
        steps.push(share.add(&thing, bytes, Some(ttl_ms)));
    }
    steps.push(share.admit(shelf, None, (left, largest.saturating_mul(left)), HINT)?);
    shelf.transact(&steps)?;
    Ok(())
}

/// What somebody has in all mailboxes.
pub(crate) fn share(sender: &str) -> Answer<Share> {
    Share::of("sent", sender, PARTS, ENTRIES)
}

/// A message in a mailbox, as its sender's share has it.
pub(crate) fn thing(id: Id, name: &str) -> Answer<String> {
    Ok(format!("{}/{}", id.text(), name_part("name", name)?))
}
