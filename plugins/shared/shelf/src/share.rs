//! How much of a bucket one principal may fill, so that nobody stops it for the others.
//!
//! What a principal keeps is listed below `KIND/NAME/`, an entry for each thing, which says its bytes and lives as long.
//! `gate/KIND/NAME` changes with each thing that is added, so that two calls of one principal do not both take the last room.

use crate::{Answer, Entry, Fault, Shelf, Step, Stop, Usage, When, name_part};

/// How long a gate stays after it was used: longer than any call.
const GATE_MS: u64 = 3_600_000;
/// Entries that are added up together: the most of a page.
const PAGE: u32 = 1_000;
/// One part of so many of a bucket is kept for finishing what was begun: nothing is added to a bucket that is fuller.
const RESERVE: u64 = 8;
/// What a bucket holds where its operator says nothing, as the host has it: for where a grant does not let it be asked.
const DEFAULT: Usage = Usage { entries: 0, bytes: 0, max_entries: 100_000, max_bytes: 64 << 20 };

/// What a principal may keep of one kind: a part of the bucket.
#[derive(Clone, Debug)]
pub struct Share {
    things: String,
    gate: String,
    parts: u64,
    entries: u64,
}

/// How much is kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// What, in the order of names, each with its bytes.
    pub things: Vec<(String, u64)>,
    /// Of all of them.
    pub bytes: u64,
}

/// What a share holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Things.
    pub things: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Share {
    /// The share of `who`: one of `parts` of the bucket's bytes, and of its entries, of which each thing takes `entries`.
    ///
    /// # Errors
    /// Where the name is too long for a key.
    pub fn of(kind: &str, who: &str, parts: u64, entries: u64) -> Answer<Self> {
        let name = name_part("name", who)?;
        Ok(Self { things: format!("{kind}/{name}/"), gate: format!("gate/{kind}/{name}"), parts, entries })
    }

    /// The key of a thing's entry.
    pub fn key(&self, thing: &str) -> String {
        format!("{}{thing}", self.things)
    }

    /// Writes down a thing of so many bytes, which lives so long.
    pub fn add(&self, thing: &str, bytes: usize, ttl_ms: Option<u64>) -> Step {
        Step::Set(self.key(thing), bytes.to_string().into_bytes(), When::Always, ttl_ms)
    }

    /// Crosses a thing out.
    pub fn remove(&self, thing: &str) -> Step {
        Step::Delete(self.key(thing), When::Always)
    }

    /// What is kept.
    ///
    /// # Errors
    /// Where the store cannot.
    pub fn kept(&self, shelf: &impl Shelf) -> Result<Kept, Fault> {
        let (mut kept, mut after) = (Kept::default(), None::<String>);
        loop {
            let page = shelf.list(&self.things, after.as_deref(), PAGE)?;
            for entry in &page.entries {
                let Some(thing) = entry.key.strip_prefix(&self.things) else { continue };
                let bytes: u64 = entry.read()?;
                kept.bytes = kept.bytes.saturating_add(bytes);
                kept.things.push((thing.to_owned(), bytes));
            }
            after = page.next;
            if after.is_none() {
                return Ok(kept);
            }
        }
    }

    /// The most that it holds, of a bucket like this.
    pub fn most(&self, usage: Option<Usage>) -> Most {
        let Usage { max_entries, max_bytes, .. } = usage.unwrap_or(DEFAULT);
        let part = |whole: u64, by: u64| whole.checked_div(by).unwrap_or(whole).max(1);
        Most { things: part(max_entries, self.parts.saturating_mul(self.entries)), bytes: part(max_bytes, self.parts) }
    }

    /// Whether so many things more, of so many bytes together, have room; `replaced` is what they take the place of. Gives
    /// the step that goes into the transaction that writes them.
    ///
    /// # Errors
    /// The sentence with `hint`, what the caller may do, where the share is used up; [`Fault::Full`] where only the reserve
    /// is left; and where the store cannot.
    pub fn admit(
        &self,
        shelf: &impl Shelf,
        replaced: Option<&str>,
        (things, bytes): (usize, usize),
        hint: &str,
    ) -> Result<Step, Stop> {
        // Before the rest: what is added after this changes it.
        let gate = shelf.get(&self.gate)?;
        let kept = self.kept(shelf)?;
        let usage = shelf.usage()?;
        let most = self.most(usage);
        let before = kept.things.iter().find(|(thing, _)| Some(thing.as_str()) == replaced);
        let (held, was) = (kept.things.len() as u64, before.map_or(0, |(_, bytes)| *bytes));
        let held = held.saturating_sub(u64::from(before.is_some())).saturating_add(things as u64);
        let sum = kept.bytes.saturating_sub(was).saturating_add(bytes as u64);
        // What gets no larger is no fault of this call.
        if sum > kept.bytes || held > kept.things.len() as u64 {
            if held > most.things || sum > most.bytes {
                return Err(format!(
                    "nothing was done: this would be {held} of at most {} that you may keep here, and {sum} of at most {} \
                     bytes: {hint}",
                    most.things, most.bytes
                )
                .into());
            }
            if usage.is_some_and(|usage| usage.is_short(bytes as u64)) {
                return Err(Fault::Full.into());
            }
        }
        Ok(Step::Set(self.gate.clone(), Vec::new(), When::unchanged(gate.as_ref()), Some(GATE_MS)))
    }
}

impl Usage {
    /// Whether with so many bytes more only the reserve is left, or less.
    pub fn is_short(&self, bytes: u64) -> bool {
        let most = |max: u64| max.saturating_sub(max / RESERVE);
        self.bytes.saturating_add(bytes) > most(self.max_bytes) || self.entries >= most(self.max_entries)
    }
}

/// The bytes that an entry takes.
pub fn size(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}
