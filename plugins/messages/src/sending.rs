//! A message into the mailboxes of those for whom it is.

use shelf::{Answer, MAX_STEPS, Shelf, Step, When, check_seconds, check_text, refused};

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
    for names in names.chunks(MAX_STEPS) {
        let steps = names.iter().map(|name| {
            let key = Mailbox::of(name)?.message(id);
            Ok(Step::set(key, &letter, When::Absent, Some(ttl_ms))?)
        });
        let steps: Vec<Step> = steps.collect::<Answer<_>>()?;
        if let Err(fault) = shelf.transact(&steps) {
            return match put {
                0 => Err(fault.into()),
                put => refused(format_args!("{put} of {} recipients have it, the others not: {fault}", names.len())),
            };
        }
        put += steps.len();
    }
    Ok(Sent { id: id.text(), recipients: put, unknown })
}
