//! Values and who may write them: all of `read_context` and its neighbours, over a shelf.
//!
//! `shared/KEY` and `agent/NAME/KEY` are the keys of the bucket, and its values are the JSON texts themselves, so that
//! operators and clients that read resources find them as they were written.

use serde::{Deserialize, de::IgnoredAny};
use shelf::{
    Answer, Entry, SECOND_MS, Share, Shelf, Step, Stop, When, check_name, check_size, name_part, refused, settled,
};

/// Longest value in bytes: an answer is at most 1 MiB, and JSON within JSON may double.
pub const MAX_VALUE: usize = 256 << 10;
/// Longest key in bytes: with an agent's name it fits into the store's 512.
pub const MAX_KEY: usize = 200;
/// Longest time to live: a year.
const MAX_TTL: u32 = 31_536_000;
/// What one writer may keep, of the bucket: one part of so many. In `plugins/portcullis.toml` fewer principals than that
/// write.
const PARTS: u64 = 16;
/// Entries of a value: itself, and that of its writer's share.
const ENTRIES: u64 = 2;
/// Bytes of the number that says how large a value is.
const MAX_DIGITS: usize = 8;
/// What a writer may do whose share is used up.
const HINT: &str = "delete values of yours that nobody needs, write less, or give values a `ttl_seconds`";
/// Keys of a page where nothing is said, and at most.
const LIMITS: (u32, u32) = (50, 100);
/// The key where none is said.
const MAIN: &str = "main";

/// A key, and in whose area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The agent; none for the shared area.
    pub agent: Option<String>,
    /// The key; `main` where there is none.
    pub key: Option<String>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its key.
    pub key: String,
    /// JSON.
    pub value: String,
    /// Of the write that left it so.
    pub version: u64,
    /// Whose write that was.
    pub writer: String,
    /// When.
    pub written_at_ms: u64,
    /// From when on it is gone.
    pub expires_at_ms: Option<u64>,
}

/// A value that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// By whom.
    pub writer: String,
}

/// A value in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Of the write that left it so.
    pub version: u64,
    /// Whose write that was.
    pub writer: String,
    /// Its length.
    pub bytes: usize,
    /// When.
    pub written_at_ms: u64,
    /// From when on it is gone.
    pub expires_at_ms: Option<u64>,
}

/// Keys in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What there is.
    pub items: Vec<Listed>,
    /// What to list after next.
    pub next: Option<String>,
}

/// What became of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Of the deletion; none where there was nothing.
    pub version: Option<u64>,
    /// Who asked.
    pub writer: String,
}

/// The value at an address.
///
/// # Errors
/// Where the address is none, what stands there is no JSON, or the store cannot.
pub fn read(shelf: &impl Shelf, address: &Address) -> Answer<Option<Item>> {
    let Place { area, key } = Place::of(address)?;
    let Some(entry) = shelf.get(&format!("{area}{key}"))? else { return Ok(None) };
    let Entry { version, writer, written_at_ms, expires_at_ms, .. } = entry;
    let value = match String::from_utf8(entry.value) {
        Ok(value) if is_json(&value) => value,
        Ok(_) | Err(_) => return refused(format_args!("what `{writer}` wrote at `{key}` by other means is no JSON")),
    };
    Ok(Some(Item { key, value, version, writer, written_at_ms, expires_at_ms }))
}

/// Writes a value.
///
/// # Errors
/// Where the area is another agent's, the value is no JSON or too long, another version stands there, or the store cannot.
pub fn write(
    shelf: &impl Shelf,
    address: &Address,
    value: &str,
    if_version: Option<u64>,
    ttl: Option<u32>,
) -> Answer<Written> {
    let place = Place::of(address)?;
    let writer = place.writer(shelf, address)?;
    check_size("value", value, MAX_VALUE)?;
    if !is_json(value) {
        return refused("`value` must be JSON as text: put a plain text in quotes, as \"\\\"so\\\"\"");
    }
    if let Some(seconds) = ttl.filter(|seconds| !(1..=MAX_TTL).contains(seconds)) {
        return refused(format_args!("`ttl_seconds` is {seconds}: from 1 to {MAX_TTL}, or left out"));
    }
    let ttl_ms = ttl.map(|seconds| u64::from(seconds) * SECOND_MS);
    let (share, thing) = (share(&writer)?, place.thing());
    let bytes = place.whole().len() + value.len() + share.key(&thing).len() + MAX_DIGITS;
    let version = settled(|| {
        let found = place.find(shelf, if_version)?;
        // What somebody else wrote there is not kept for them any more.
        let others = found.as_ref().filter(|entry| entry.writer != writer).map(|entry| &entry.writer);
        let others = others.map(|other| Ok::<_, String>(self::share(other)?.remove(&thing))).transpose()?;
        let mut steps = vec![
            Step::Set(place.whole(), value.into(), When::unchanged(found.as_ref()), ttl_ms),
            share.add(&thing, bytes, ttl_ms),
            share.admit(shelf, Some(&thing), (1, bytes), HINT)?,
        ];
        steps.extend(others);
        Ok(shelf.transact(&steps)?.first().copied().flatten())
    })?;
    let version = version.unwrap_or_default();
    Ok(Written { key: place.key, version, writer })
}

/// The keys of an area.
///
/// # Errors
/// Where an argument is beyond its bound, or the store cannot.
pub fn list(
    shelf: &impl Shelf,
    agent: Option<&str>,
    prefix: Option<&str>,
    after: Option<&str>,
    limit: Option<u32>,
) -> Answer<Page> {
    let area = area(agent)?;
    let prefix = prefix.unwrap_or_default();
    check_size("prefix", prefix, MAX_KEY)?;
    let limit = limit.unwrap_or(LIMITS.0);
    if !(1..=LIMITS.1).contains(&limit) {
        return refused(format_args!("`limit` is {limit}: from 1 to {}", LIMITS.1));
    }
    if let Some(after) = after {
        check_name("after", after, MAX_KEY)?;
    }
    let after = after.map(|after| format!("{area}{after}"));
    let page = shelf.list(&format!("{area}{prefix}"), after.as_deref(), limit)?;
    let bare = |key: &str| key.strip_prefix(&area).unwrap_or(key).to_owned();
    let listed = |entry: Entry| Listed {
        key: bare(&entry.key),
        version: entry.version,
        writer: entry.writer,
        bytes: entry.value.len(),
        written_at_ms: entry.written_at_ms,
        expires_at_ms: entry.expires_at_ms,
    };
    Ok(Page { next: page.next.as_deref().map(bare), items: page.entries.into_iter().map(listed).collect() })
}

/// Deletes a value.
///
/// # Errors
/// Where the area is another agent's, another version stands there, or the store cannot.
pub fn delete(shelf: &impl Shelf, address: &Address, if_version: Option<u64>) -> Answer<Deleted> {
    let place = Place::of(address)?;
    let writer = place.writer(shelf, address)?;
    if if_version == Some(0) {
        return refused("`if_version` is 0, which stands for no value: there is nothing to delete then");
    }
    let version = settled(|| {
        let Some(found) = place.find(shelf, if_version)? else { return Ok(None) };
        let steps =
            [Step::Delete(place.whole(), When::Version(found.version)), share(&found.writer)?.remove(&place.thing())];
        Ok(shelf.transact(&steps)?.first().copied().flatten())
    })?;
    Ok(Deleted { version, writer })
}

/// What somebody keeps, in the shared area and in its own.
fn share(writer: &str) -> Answer<Share> {
    Share::of("kept", writer, PARTS, ENTRIES)
}

fn is_json(text: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    IgnoredAny::deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

/// What the keys of an area begin with.
fn area(agent: Option<&str>) -> Answer<String> {
    Ok(match agent {
        None => "shared/".to_owned(),
        Some(agent) => format!("agent/{}/", name_part("agent_id", agent)?),
    })
}

struct Place {
    area: String,
    key: String,
}

impl Place {
    fn of(address: &Address) -> Answer<Self> {
        let key = address.key.as_deref().unwrap_or(MAIN);
        check_name("key", key, MAX_KEY)?;
        Ok(Self { area: area(address.agent.as_deref())?, key: key.to_owned() })
    }

    fn whole(&self) -> String {
        format!("{}{}", self.area, self.key)
    }

    /// Who calls, who must be whose area it is.
    fn writer(&self, shelf: &impl Shelf, address: &Address) -> Answer<String> {
        let caller = shelf.caller();
        match &address.agent {
            Some(agent) if *agent != caller => refused(format_args!(
                "the area of `{agent}` is written by that agent alone, and you are `{caller}`: leave `agent_id` out to \
                 write in the shared area"
            )),
            Some(_) | None => Ok(caller),
        }
    }

    /// What it is called in a share: nobody writes in two areas of agents.
    fn thing(&self) -> String {
        let area = self.area.split('/').next().unwrap_or_default();
        format!("{area}/{}", self.key)
    }

    /// What stands there, and the sentence where it is not what was said.
    fn find(&self, shelf: &impl Shelf, if_version: Option<u64>) -> Result<Option<Entry>, Stop> {
        let found = shelf.get(&self.whole())?;
        let version = found.as_ref().map_or(0, |entry| entry.version);
        match if_version {
            Some(said) if said != version => Err(Stop::Refused(self.conflict(if_version, found.as_ref()))),
            Some(_) | None => Ok(found),
        }
    }

    fn conflict(&self, if_version: Option<u64>, found: Option<&Entry>) -> String {
        let (key, asked) = (&self.key, if_version.unwrap_or_default());
        match found {
            None => format!(
                "nothing was done: there is no value at `{key}`, and you said version {asked}. It was deleted or has \
                 expired: pass `if_version` 0 to write it anew"
            ),
            Some(Entry { version, writer, .. }) if asked == 0 => format!(
                "nothing was done: there is a value at `{key}` already, of version {version} by `{writer}`. Read it, and \
                 write with `if_version` {version}"
            ),
            Some(Entry { version, writer, .. }) => format!(
                "nothing was done: `{key}` has version {version} by `{writer}` now, and you said {asked}. Read it again, \
                 put both together, and write with `if_version` {version}"
            ),
        }
    }
}
