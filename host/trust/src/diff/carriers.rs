//! Which parts of two definitions differ, and how, word by word.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::canonical::MAX_DEPTH;
use crate::definition::place::{Place, Segment};

/// Most parts of one definition that are said; the rest is counted. A person reads them.
const MAX_CARRIERS: usize = 500;
/// Steps that the comparisons of words of one plugin may take: each takes at most the product of the numbers of words.
/// It is enough for some twenty-five texts of 4 KiB of which no word is the same.
const MAX_STEPS: usize = 50_000_000;

/// A part of a definition that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CarrierChange {
    /// Where, as `$.inputSchema.properties.x.description`. Escaped.
    pub place: String,
    /// What was approved; missing where the part is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is now; missing where the part is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
    /// For two texts: both, word by word. Empty where that would take too long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
}

/// A run of words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Word {
    /// Where it stands.
    pub kind: WordKind,
    /// The words, with the white space between them.
    pub text: String,
}

/// In which of two texts a run of words stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordKind {
    /// In both.
    Same,
    /// In the approved one.
    Removed,
    /// In the present one.
    Added,
}

/// What is left of [`MAX_STEPS`].
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_STEPS)
    }
}

/// The differing parts of two definitions, as they are found.
pub(super) struct Carriers<'b> {
    budget: &'b mut Budget,
    found: Vec<CarrierChange>,
    more: usize,
}

impl<'b> Carriers<'b> {
    pub(super) fn new(budget: &'b mut Budget) -> Self {
        Self { budget, found: Vec::new(), more: 0 }
    }

    pub(super) fn compare(&mut self, old: &Value, new: &Value) {
        // The parts of the deepest object are one level below it.
        self.values(&mut Place::default(), MAX_DEPTH + 1, old, new);
    }

    pub(super) fn finish(self) -> (Vec<CarrierChange>, usize) {
        (self.found, self.more)
    }

    fn values<'a>(&mut self, place: &mut Place<'a>, depth: usize, old: &'a Value, new: &'a Value) {
        let Some(below) = depth.checked_sub(1) else { return self.add(place, Some(old), Some(new)) };
        match (old, new) {
            (Value::Object(olds), Value::Object(news)) => {
                let keys: BTreeSet<&String> = olds.keys().chain(news.keys()).collect();
                for key in keys {
                    self.part(place, below, Segment::Key(key), olds.get(key), news.get(key));
                }
            }
            (Value::Array(olds), Value::Array(news)) => {
                for index in 0..olds.len().max(news.len()) {
                    self.part(place, below, Segment::Index(index), olds.get(index), news.get(index));
                }
            }
            // Spellings of one number are one number (RFC 8785, section 3.2.2.3).
            (Value::Number(old), Value::Number(new)) if old.as_f64() == new.as_f64() => {}
            (old, new) if old == new => {}
            (old, new) => self.add(place, Some(old), Some(new)),
        }
    }

    fn part<'a>(
        &mut self,
        place: &mut Place<'a>,
        depth: usize,
        segment: Segment<'a>,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
    ) {
        place.push(segment);
        match (old, new) {
            (Some(old), Some(new)) => self.values(place, depth, old, new),
            (old, new) => self.add(place, old, new),
        }
        place.pop();
    }

    fn add(&mut self, place: &Place<'_>, old: Option<&Value>, new: Option<&Value>) {
        if self.found.len() == MAX_CARRIERS {
            self.more += 1;
            return;
        }
        let words = match (old, new) {
            (Some(Value::String(old)), Some(Value::String(new))) => self.words(old, new),
            _ => Vec::new(),
        };
        self.found.push(CarrierChange { place: place.to_string(), old: old.cloned(), new: new.cloned(), words });
    }

    fn words(&mut self, old: &str, new: &str) -> Vec<Word> {
        // Words and the white space between them are at most twice the words.
        let count = |text: &str| 2 * text.split_whitespace().count() + 1;
        let Some(left) = self.budget.0.checked_sub(count(old).saturating_mul(count(new))) else { return Vec::new() };
        self.budget.0 = left;
        let mut words: Vec<Word> = Vec::new();
        for change in TextDiff::from_words(old, new).iter_all_changes() {
            let kind = match change.tag() {
                ChangeTag::Equal => WordKind::Same,
                ChangeTag::Delete => WordKind::Removed,
                ChangeTag::Insert => WordKind::Added,
            };
            match words.last_mut() {
                Some(last) if last.kind == kind => last.text.push_str(change.value()),
                _ => words.push(Word { kind, text: change.value().to_owned() }),
            }
        }
        words
    }
}
