//! The rules that refuse: which characters may stand where, and how long a description may be.
//!
//! A description may have line feeds, tabs, and the joiners and selectors that emoji and scripts need. Anything else that
//! is a key or a string has none of them.

use crate::definition::characters::{Class, classes};
use crate::definition::place::Place;
use crate::definition::{Findings, Severity};
use crate::show::escaped;

/// Longest description, in bytes (`THREATS.md`, "Definitions and bytes"; the longest of 755 real tools is below it).
pub const MAX_DESCRIPTION_BYTES: usize = 4 << 10;
/// Characters shown on either side of the one that is refused.
const CONTEXT: usize = 16;

/// What a class of characters is to a rule.
struct Rule {
    name: &'static str,
    what: &'static str,
    /// In a description; elsewhere it is always refused.
    in_description: Option<Severity>,
}

/// Checks a key.
pub(super) fn key(key: &str, place: &Place<'_>, findings: &mut Findings) {
    characters(key, false, place, findings);
}

/// Checks a string, by the key that it stands under.
pub(super) fn text(text: &str, place: &Place<'_>, findings: &mut Findings) {
    let description = place.key() == Some("description");
    characters(text, description, place, findings);
    if text.len() > MAX_DESCRIPTION_BYTES {
        let detail = format!("{} bytes, more than {MAX_DESCRIPTION_BYTES}", text.len());
        if description {
            findings.add(place, Severity::Reject, "long-description", detail);
        } else {
            findings.add(place, Severity::Warn, "long-text", detail);
        }
    }
}

/// One finding for each rule that the text breaks, for its first character that does.
fn characters(text: &str, description: bool, place: &Place<'_>, findings: &mut Findings) {
    let mut seen: Vec<(&'static str, usize)> = Vec::new();
    let mut first = Vec::new();
    for (at, (c, class)) in classes(text).enumerate() {
        let Some(rule) = rule(class) else { continue };
        let severity = if description { rule.in_description } else { Some(Severity::Reject) };
        let Some(severity) = severity else { continue };
        match seen.iter_mut().find(|(name, _)| *name == rule.name) {
            Some((_, count)) => *count += 1,
            None => {
                seen.push((rule.name, 1));
                first.push((rule, severity, at, c));
            }
        }
    }
    for ((rule, severity, at, c), (_, count)) in first.into_iter().zip(seen) {
        let context: String = text.chars().skip(at.saturating_sub(CONTEXT)).take(2 * CONTEXT).collect();
        let times = if count == 1 { String::new() } else { format!(", {count} times") };
        let detail = format!("{} (U+{:04X}){times}: `{}`", rule.what, u32::from(c), escaped(&context));
        findings.add(place, severity, rule.name, detail);
    }
}

fn rule(class: Class) -> Option<Rule> {
    let rule = |name, what, in_description| Some(Rule { name, what, in_description });
    let reject = Some(Severity::Reject);
    match class {
        Class::Plain => None,
        Class::LineFeed | Class::Tab => rule("control-character", "a control character", None),
        Class::InSequence => rule("invisible-character", "an invisible character outside a description", None),
        Class::Control => rule("control-character", "a control character", reject),
        Class::Bidi => rule("text-direction", "a character that changes the order of text", reject),
        Class::Tag => rule("tag-character", "a tag character", reject),
        Class::Selector => rule("variation-selector", "a variation selector without an emoji", reject),
        Class::Invisible => rule("invisible-character", "an invisible character", reject),
        Class::Noncharacter => rule("noncharacter", "a code point that is no character", reject),
        // Seen, if only as a box: a description may name them, but what they look like differs from font to font.
        Class::PrivateUse => rule("private-use", "a private-use character", Some(Severity::Warn)),
        Class::Unassigned => rule("unassigned", "a character newer than this Portcullis", Some(Severity::Warn)),
    }
}
