//! The rules over a whole tool definition: what is refused, and what a reader is warned of.
//!
//! Every key and every string is read, whatever keyword it stands under. What is refused is a matter of characters and
//! sizes alone (`THREATS.md`, "Definitions and bytes"); words only warn, and finding none proves nothing.

pub(crate) mod characters;
mod names;
pub(crate) mod place;
mod structure;
mod words;

use portcullis_policy::{PluginName, ToolName};
use serde::Serialize;
use serde_json::Value;

pub use names::ToolNames;
use place::{Place, Segment};
pub use structure::MAX_DESCRIPTION_BYTES;

use crate::canonical;

/// Most findings of each severity for one definition; the rest is counted. A person reads them.
pub const MAX_FINDINGS: usize = 50;

/// What follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The plugin is not served.
    Reject,
    /// It is shown to whoever approves.
    Warn,
}

/// One thing in a definition that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What follows.
    pub severity: Severity,
    /// Which rule, in kebab-case. Stable.
    pub rule: &'static str,
    /// Where, as `$.inputSchema.properties.x.description`; `$` is the definition itself. Escaped and bounded.
    pub place: String,
    /// What was found, for people. Escaped and bounded.
    pub detail: String,
}

/// What the rules say of the tool `name` of `plugin`: what is refused first, then in the order of places, which is that
/// of sorted keys. At most [`MAX_FINDINGS`] of each severity, with one more (`more-findings`) that counts the rest.
///
/// `names` holds the tools of all plugins, for descriptions that speak of another plugin's tool.
pub fn examine(plugin: &PluginName, name: &ToolName, definition: &Value, names: &ToolNames) -> Vec<Finding> {
    let mut findings = Findings::default();
    let place = Place::default();
    // The walk below recurses, so depth comes first.
    if let Err(error) = canonical::check_value(definition) {
        findings.add(&place, Severity::Reject, "not-canonical", error.to_string());
        return findings.finish();
    }
    if definition.get("name").and_then(Value::as_str) != Some(name.as_str()) {
        findings.add(&place, Severity::Reject, "name", format!("a definition that is not that of `{name}`"));
    }
    let mut walk = Walk { findings, words: words::Words::new(plugin, names), place };
    walk.value(definition);
    walk.findings.finish()
}

struct Walk<'a> {
    findings: Findings,
    words: words::Words<'a>,
    place: Place<'a>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, value: &'a Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                structure::text(text, &self.place, &mut self.findings);
                self.words.text(text, &self.place, &mut self.findings);
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.below(Segment::Index(index), item);
                }
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(key, _)| key.as_str());
                for (key, member) in members {
                    self.place.push(Segment::Key(key));
                    structure::key(key, &self.place, &mut self.findings);
                    self.words.key(key, &self.place, &mut self.findings);
                    self.place.pop();
                    self.below(Segment::Key(key), member);
                }
            }
        }
    }

    fn below(&mut self, segment: Segment<'a>, value: &'a Value) {
        self.place.push(segment);
        self.value(value);
        self.place.pop();
    }
}

/// Findings as they come in, bounded.
#[derive(Default)]
pub(crate) struct Findings {
    rejected: Kept,
    warned: Kept,
}

#[derive(Default)]
struct Kept {
    findings: Vec<Finding>,
    more: usize,
}

impl Findings {
    fn add(&mut self, place: &Place<'_>, severity: Severity, rule: &'static str, detail: String) {
        let kept = match severity {
            Severity::Reject => &mut self.rejected,
            Severity::Warn => &mut self.warned,
        };
        if kept.findings.len() < MAX_FINDINGS {
            kept.findings.push(Finding { severity, rule, place: place.to_string(), detail });
        } else {
            kept.more += 1;
        }
    }

    fn finish(self) -> Vec<Finding> {
        let mut all = Vec::new();
        for (severity, kept) in [(Severity::Reject, self.rejected), (Severity::Warn, self.warned)] {
            all.extend(kept.findings);
            if kept.more > 0 {
                let (place, detail) = (Place::default().to_string(), format!("and {} more", kept.more));
                all.push(Finding { severity, rule: "more-findings", place, detail });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
