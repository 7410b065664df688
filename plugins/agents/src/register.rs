//! The list: `agent/NAME`, each entry of which ends by the store's clock when it is not renewed.

use std::collections::BTreeSet;

use shelf::{Answer, Entry, Shelf, Step, Stop, When, check_seconds, check_size, name_of, name_part, refused, settled};

use crate::agent::{Agent, Profile, capabilities};

const PREFIX: &str = "agent/";
/// Longest description, in bytes: an answer has a hundred.
const MAX_DESCRIPTION: usize = 1 << 10;
/// Most that one does at one time.
const MAX_CAPACITY: u32 = 10_000;
/// How long one is listed, in seconds: where nothing is said, at least, at most.
const TTL: (u32, u32, u32) = (60, 1, 86_400);
/// Agents of an answer: where nothing is said, at most.
const LIMITS: (u32, u32) = (10, 100);
/// Agents that are read together.
const PAGE: u32 = 500;
/// Most pages of one call: ten thousand agents are compared, and no more.
const MAX_PAGES: usize = 20;

/// What an agent says when it registers; each is its default where it is none.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// What it can do.
    pub capabilities: Vec<String>,
    /// For others to read.
    pub description: Option<String>,
    /// How much it can do at one time.
    pub capacity: Option<u32>,
    /// How much it is doing.
    pub load: Option<u32>,
    /// How long it is listed, in seconds.
    pub ttl: Option<u32>,
}

/// Agents, the best choice first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The first of them.
    pub agents: Vec<Agent>,
    /// How many there are.
    pub total: usize,
}

fn own_key(shelf: &impl Shelf) -> Answer<String> {
    Ok(format!("{PREFIX}{}", name_part("name", &shelf.caller())?))
}

fn check_load(load: u32) -> Answer<()> {
    if load > MAX_CAPACITY { refused(format_args!("`load` is {load}: from 0 to {MAX_CAPACITY}")) } else { Ok(()) }
}

/// Puts the caller on the list.
///
/// # Errors
/// Where an argument is beyond its bound, or the store cannot.
pub fn register(shelf: &impl Shelf, said: &Registration) -> Answer<Agent> {
    let capabilities = capabilities(&said.capabilities)?;
    if capabilities.is_empty() {
        return refused("`capabilities` is empty: say in a word or more what you can do, as `research`");
    }
    let description = said.description.clone().unwrap_or_default();
    check_size("description", &description, MAX_DESCRIPTION)?;
    let capacity = said.capacity.unwrap_or(1);
    if !(1..=MAX_CAPACITY).contains(&capacity) {
        return refused(format_args!("`capacity` is {capacity}: from 1 to {MAX_CAPACITY}"));
    }
    let load = said.load.unwrap_or(0);
    check_load(load)?;
    let ttl_ms = check_seconds("ttl_seconds", said.ttl, TTL.0, TTL.1, TTL.2)?;
    let profile = Profile { capabilities, description, capacity, load, available: true, ttl_ms };
    let key = own_key(shelf)?;
    shelf.transact(&[Step::set(key.clone(), &profile, When::Always, Some(ttl_ms))?])?;
    Ok(written(shelf, &key, profile))
}

/// The caller is still there.
///
/// # Errors
/// Where it is not on the list, an argument is beyond its bound, or the store cannot.
pub fn heartbeat(shelf: &impl Shelf, load: Option<u32>, available: Option<bool>) -> Answer<Agent> {
    load.map_or(Ok(()), check_load)?;
    let key = own_key(shelf)?;
    settled(|| {
        let Some(entry) = shelf.get(&key)? else {
            return Err(Stop::from("you are not registered, or were not heard of in time: call `register_agent`"));
        };
        let before: Profile = entry.read()?;
        let (load, available) = (load.unwrap_or(before.load), available.unwrap_or(before.available));
        let profile = Profile { load, available, ..before };
        let when = When::Version(entry.version);
        shelf.transact(&[Step::set(key.clone(), &profile, when, Some(profile.ttl_ms))?])?;
        Ok(written(shelf, &key, profile))
    })
}

/// The caller as it was just written: from when and until when, by the store's clock, which decides. Where it cannot be
/// looked at, by this machine's.
fn written(shelf: &impl Shelf, key: &str, profile: Profile) -> Agent {
    let found = shelf.get(key).ok().flatten();
    let seen_at_ms = found.as_ref().map_or_else(|| shelf.now_ms(), |entry| entry.written_at_ms);
    let expires_at_ms = found.and_then(|entry| entry.expires_at_ms);
    let expires_at_ms = expires_at_ms.unwrap_or_else(|| seen_at_ms.saturating_add(profile.ttl_ms));
    Agent { name: shelf.caller(), expires_at_ms, seen_at_ms, profile }
}

/// Takes the caller off the list; whether it was on it.
///
/// # Errors
/// Where the store cannot.
pub fn deregister(shelf: &impl Shelf) -> Answer<bool> {
    let versions = shelf.transact(&[Step::Delete(own_key(shelf)?, When::Always)])?;
    Ok(versions.first().is_some_and(Option::is_some))
}

/// Those who can do all that is asked for.
///
/// # Errors
/// Where an argument is beyond its bound, or the store cannot.
pub fn find(shelf: &impl Shelf, wanted: &[String], limit: Option<u32>, unavailable: bool) -> Answer<Found> {
    let wanted = capabilities(wanted)?;
    let limit = limit.unwrap_or(LIMITS.0);
    if !(1..=LIMITS.1).contains(&limit) {
        return refused(format_args!("`limit` is {limit}: from 1 to {}", LIMITS.1));
    }
    let (mut agents, mut after) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let page = shelf.list(PREFIX, after.as_deref(), PAGE)?;
        for entry in &page.entries {
            agents.extend(listed(entry, &wanted, unavailable)?);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let total = agents.len();
    agents.sort_by(Agent::rank);
    agents.truncate(limit as usize);
    Ok(Found { agents, total })
}

fn listed(entry: &Entry, wanted: &BTreeSet<String>, unavailable: bool) -> Answer<Option<Agent>> {
    let Some(part) = entry.key.strip_prefix(PREFIX) else { return Ok(None) };
    let profile: Profile = entry.read()?;
    let fits = wanted.is_subset(&profile.capabilities) && (unavailable || profile.takes_more());
    Ok(fits.then(|| Agent {
        name: name_of(part),
        profile,
        seen_at_ms: entry.written_at_ms,
        expires_at_ms: entry.expires_at_ms.unwrap_or(u64::MAX),
    }))
}
