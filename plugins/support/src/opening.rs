//! A new ticket, and how tickets are written.

use serde::{Deserialize, Serialize};
use shelf::{Answer, Entry, Shelf, Step, Stop, When, check_size, check_text, settled};

use crate::{
    keys::Id,
    ticket::{State, Ticket},
};

/// Longest customer, as an address of e-mail is at most; subject; body; in bytes.
const MAX_CUSTOMER: usize = 320;
const MAX_SUBJECT: usize = 200;
const MAX_BODY: usize = 32 << 10;
/// How long what has ended, and what was found, is kept: ninety days.
pub(crate) const KEPT_MS: u64 = 90 * 24 * 3_600_000;

/// What a customer wants.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The name of the ticket.
    pub id: String,
    /// Whose it is.
    pub customer: String,
    /// What it is about.
    pub subject: String,
    /// What the customer wrote.
    pub body: String,
}

/// What the list of a state says of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) subject: String,
    pub(crate) since_ms: u64,
}

/// Opens a ticket, or finds that it is open with just this.
///
/// # Errors
/// Where an argument is beyond its bound, another ticket has the id, or the store cannot.
pub fn save(shelf: &impl Shelf, draft: &Draft) -> Answer<Ticket> {
    let id = Id::read(&draft.id)?;
    check_text("customer", &draft.customer, MAX_CUSTOMER)?;
    check_text("subject", &draft.subject, MAX_SUBJECT)?;
    check_size("body", &draft.body, MAX_BODY)?;
    settled(|| {
        if let Some(entry) = shelf.get(&id.ticket())? {
            let ticket: Ticket = entry.read()?;
            let same =
                ticket.customer == draft.customer && ticket.subject == draft.subject && ticket.body == draft.body;
            return match same {
                true => Ok(ticket),
                false => Err(format!("there is another ticket {}: choose another `ticket_id`", draft.id).into()),
            };
        }
        let Draft { id: name, customer, subject, body } = draft.clone();
        let mut ticket =
            Ticket { id: name, customer, subject, body, state: State::New, outcome: None, history: Vec::new() };
        ticket.open(&shelf.caller(), shelf.now_ms());
        shelf.transact(&steps(&id, &ticket, None)?)?;
        Ok(ticket)
    })
}

/// The steps that put `ticket` in the place of `found`, and into the list of its state.
pub(crate) fn steps(id: &Id, ticket: &Ticket, found: Option<&Entry>) -> Result<Vec<Step>, Stop> {
    let before: Option<Ticket> = found.map(Entry::read).transpose()?;
    let kept = ticket.state.is_end().then_some(KEPT_MS);
    let line = Line { subject: ticket.subject.clone(), since_ms: ticket.since_ms() };
    let mut steps = vec![
        Step::set(id.ticket(), ticket, When::unchanged(found), kept)?,
        Step::set(id.listed(ticket.state), &line, When::Always, kept)?,
    ];
    let moved = before.filter(|before| before.state != ticket.state);
    steps.extend(moved.map(|before| Step::Delete(id.listed(before.state), When::Always)));
    Ok(steps)
}

/// The entry of a ticket, and the ticket.
pub(crate) fn find(shelf: &impl Shelf, id: &Id) -> Result<(Entry, Ticket), Stop> {
    let entry = shelf.get(&id.ticket())?.ok_or_else(|| Stop::Refused(id.missing()))?;
    let ticket = entry.read()?;
    Ok((entry, ticket))
}
