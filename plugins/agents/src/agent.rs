//! An agent, and which of two is the better choice.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeSet,
};

use serde::{Deserialize, Serialize};
use shelf::{Answer, refused};

/// Most capabilities of one, and most that are asked for.
const MAX_CAPABILITIES: usize = 32;
/// Longest, in bytes.
const MAX_CAPABILITY: usize = 64;

/// What an agent says of itself, and the list keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// What it can do, in small letters.
    pub capabilities: BTreeSet<String>,
    /// For others to read.
    pub description: String,
    /// How much it can do at one time: at least 1.
    pub capacity: u32,
    /// How much it is doing.
    pub load: u32,
    /// Whether it takes more.
    pub available: bool,
    /// How long it is listed after it was heard of.
    pub ttl_ms: u64,
}

impl Profile {
    /// Whether it takes more, and can.
    pub fn takes_more(&self) -> bool {
        self.available && self.load < self.capacity
    }

    fn free(&self) -> u32 {
        self.capacity.saturating_sub(self.load)
    }

    /// The better choice is the lesser one. The share of what is free is compared without rounding.
    fn rank(&self, other: &Self) -> Ordering {
        let share = |one: &Self, two: &Self| u64::from(one.free()) * u64::from(two.capacity);
        (Reverse(self.takes_more()).cmp(&Reverse(other.takes_more())))
            .then_with(|| share(other, self).cmp(&share(self, other)))
            .then_with(|| other.free().cmp(&self.free()))
            .then_with(|| self.capabilities.len().cmp(&other.capabilities.len()))
    }
}

/// An agent as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub profile: Profile,
    /// When it was heard of.
    pub seen_at_ms: u64,
    /// When it will be gone.
    pub expires_at_ms: u64,
}

impl Agent {
    /// The better choice is the lesser one; no two are equal but of one name.
    pub(crate) fn rank(&self, other: &Self) -> Ordering {
        self.profile.rank(&other.profile).then_with(|| self.name.cmp(&other.name))
    }
}

/// The words in one spelling, each once.
pub(crate) fn capabilities(words: &[String]) -> Answer<BTreeSet<String>> {
    if words.len() > MAX_CAPABILITIES {
        return refused(format_args!("{} capabilities: at most {MAX_CAPABILITIES}", words.len()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    let fits = |word: &str| (1..=MAX_CAPABILITY).contains(&word.len()) && word.chars().all(plain);
    if words.iter().any(|word| !fits(word)) {
        return refused(format_args!(
            "a capability has 1 to {MAX_CAPABILITY} letters, digits, `-`, `_`, `.`, `:` and `/`, as `research` or `lang:fr`"
        ));
    }
    Ok(words.iter().map(|word| word.to_ascii_lowercase()).collect())
}
