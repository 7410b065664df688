//! How a ticket ends: once.

use shelf::{Answer, Shelf, Step, When, check_text, settled};

use crate::{
    analysing::tally,
    keys::Id,
    opening::{find, steps},
    ticket::{State, Ticket},
};

/// Longest resolution, and reason, in bytes.
const MAX_RESOLUTION: usize = 32 << 10;
const MAX_REASON: usize = 2 << 10;

/// Ends a ticket with a resolution.
///
/// # Errors
/// Where the ticket is none or has ended otherwise, analyses came that the caller has not read, an argument is beyond its
/// bound, or the store cannot.
pub fn resolve(shelf: &impl Shelf, id: &str, resolution: &str, analyses: Option<u32>) -> Answer<Ticket> {
    check_text("resolution", resolution, MAX_RESOLUTION)?;
    end(shelf, id, State::Resolved, resolution, analyses)
}

/// Ends a ticket here, and hands it to people.
///
/// # Errors
/// As [`resolve`].
pub fn escalate(shelf: &impl Shelf, id: &str, reason: &str, analyses: Option<u32>) -> Answer<Ticket> {
    check_text("reason", reason, MAX_REASON)?;
    end(shelf, id, State::Escalated, reason, analyses)
}

fn end(shelf: &impl Shelf, id: &str, state: State, outcome: &str, read: Option<u32>) -> Answer<Ticket> {
    let id = Id::read(id)?;
    settled(|| {
        let (entry, mut ticket) = find(shelf, &id)?;
        if !ticket.end(state, outcome, &shelf.caller(), shelf.now_ms())? {
            return Ok(ticket);
        }
        let mut steps = steps(&id, &ticket, Some(&entry))?;
        if let Some(read) = read {
            let (found, tally) = tally(shelf, &id)?;
            if tally.total != read {
                let total = tally.total;
                return Err(format!(
                    "{} has {total} analyses, and you said {read}: read them with `get_all_analysis` first",
                    id.as_str()
                )
                .into());
            }
            steps.push(Step::Check(id.tally(), When::unchanged(found.as_ref())));
        }
        shelf.transact(&steps)?;
        Ok(ticket)
    })
}
