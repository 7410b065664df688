//! Looking at tickets.

use shelf::{Answer, Entry, Shelf, check_name, refused};

use crate::{
    analysing::{Tally, tally},
    keys::{Id, in_state},
    opening::{Line, find},
    ticket::{State, Ticket},
};

/// Tickets of an answer: where nothing is said, at most. All their tallies are read at once.
const LIMITS: (u32, u32) = (20, 50);
/// Longest `after`: an id.
const MAX_AFTER: usize = 64;

/// How a ticket stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub id: String,
    /// What it is about.
    pub subject: String,
    /// How it stands.
    pub state: State,
    /// Who has analysed it.
    pub analysts: Vec<String>,
    /// Since when it stands so.
    pub since_ms: u64,
}

/// How tickets stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// In the order of their ids.
    pub tickets: Vec<Standing>,
    /// What to list after next.
    pub next: Option<String>,
}

/// A ticket.
///
/// # Errors
/// Where there is none, or the store cannot.
pub fn get(shelf: &impl Shelf, id: &str) -> Answer<Ticket> {
    let (_, ticket) = find(shelf, &Id::read(id)?).map_err(String::from)?;
    Ok(ticket)
}

/// How one ticket stands, or those in a state.
///
/// # Errors
/// Where neither or both are named, the ticket is none, an argument is beyond its bound, or the store cannot.
pub fn status(
    shelf: &impl Shelf,
    id: Option<&str>,
    state: Option<State>,
    after: Option<&str>,
    limit: Option<u32>,
) -> Answer<Status> {
    match (id, state) {
        (Some(id), None) => one(shelf, &Id::read(id)?),
        (None, Some(state)) => many(shelf, state, after, limit),
        (Some(_), Some(_)) | (None, None) => refused("name either a `ticket_id` or a `state`"),
    }
}

fn one(shelf: &impl Shelf, id: &Id) -> Answer<Status> {
    let (_, ticket) = find(shelf, id).map_err(String::from)?;
    let (_, tally) = tally(shelf, id).map_err(String::from)?;
    let since_ms = ticket.since_ms();
    let Ticket { id, subject, state, .. } = ticket;
    let standing = Standing { id, subject, state, analysts: tally.analysts, since_ms };
    Ok(Status { tickets: vec![standing], next: None })
}

fn many(shelf: &impl Shelf, state: State, after: Option<&str>, limit: Option<u32>) -> Answer<Status> {
    let limit = limit.unwrap_or(LIMITS.0);
    if !(1..=LIMITS.1).contains(&limit) {
        return refused(format_args!("`limit` is {limit}: from 1 to {}", LIMITS.1));
    }
    if let Some(after) = after {
        check_name("after", after, MAX_AFTER)?;
    }
    let prefix = in_state(state);
    let bare = |key: &str| key.strip_prefix(&prefix).unwrap_or(key).to_owned();
    let after = after.map(|after| format!("{prefix}{after}"));
    let page = shelf.list(&prefix, after.as_deref(), limit)?;
    let ids = page.entries.iter().map(|entry| Id::read(&bare(&entry.key)).map(|id| id.tally()));
    let tallies = match page.entries.is_empty() {
        true => Vec::new(),
        false => shelf.get_many(&ids.collect::<Answer<Vec<_>>>()?)?,
    };
    let mut tickets = Vec::new();
    for (entry, tally) in page.entries.iter().zip(tallies) {
        let Line { subject, since_ms } = entry.read()?;
        let tally: Tally = tally.as_ref().map(Entry::read).transpose()?.unwrap_or_default();
        tickets.push(Standing { id: bare(&entry.key), subject, state, analysts: tally.analysts, since_ms });
    }
    Ok(Status { tickets, next: page.next.as_deref().map(bare) })
}
