//! A call, as a person is asked about it: what they read, and what their answer is bound to.

use std::fmt::Write as _;

use portcullis_audit::Asking;
use portcullis_policy::{Digest, Effective, Permit, Principal, ToolDefinition};
use serde_json::{Map, Value, json};

/// Characters of the arguments that are shown, all together. Nobody reads more before they press a button.
const MAX_SHOWN: usize = 4000;
/// Of each at least these, so that many small ones do not hide what is in one.
const MIN_SHOWN: usize = 80;
/// Arguments that are shown; of more there is the number. A record of WIT has no more fields in practice.
const MAX_ARGUMENTS: usize = 32;
/// Lines of grants that are shown; of more there is the number.
const MAX_GRANTS: usize = 40;
/// Characters of one such line, and of an argument's name.
const MAX_LINE: usize = 200;

/// A call, as the person is asked about it.
pub(crate) struct Question<'a> {
    pub(crate) permit: &'a Permit,
    pub(crate) arguments: &'a Map<String, Value>,
    /// What clients are told of the tool.
    pub(crate) definition: &'a ToolDefinition,
    /// The bytes that would run.
    pub(crate) digest: Digest,
}

/// What stands for a question.
pub(super) struct Named {
    /// All of it.
    pub(super) whole: Digest,
    /// All but the arguments: what a session may remember.
    pub(super) but_arguments: Digest,
}

impl Question<'_> {
    pub(super) fn principal(&self) -> &Principal {
        self.permit.principal()
    }

    /// For the audit log.
    pub(super) fn asked(&self) -> Asking<'_> {
        Asking { principal: self.permit.principal().as_str(), tool: self.permit.tool(), digest: self.digest }
    }

    /// Who, which tool, definition and bytes, what it may reach, and the arguments, whose order means nothing.
    pub(super) fn named(&self) -> Named {
        let grants = self.permit.grants();
        let mut parts = json!([
            "portcullis confirm 1",
            self.permit.principal().in_buckets(),
            self.permit.plugin(),
            self.permit.tool(),
            self.digest,
            self.definition,
            grants.approved().as_ref(),
            grants.configured().as_ref(),
        ]);
        let but_arguments = Digest::of(parts.to_string().as_bytes());
        let mut arguments = Value::Object(self.arguments.clone());
        arguments.sort_all_objects();
        if let Some(parts) = parts.as_array_mut() {
            parts.push(arguments);
        }
        Named { whole: Digest::of(parts.to_string().as_bytes()), but_arguments }
    }

    /// The tool, the arguments, the grants: names and texts of the client in quotes, and escaped, so that nothing of them looks like the host's words.
    pub(super) fn message(&self) -> String {
        let (principal, tool, plugin) = (self.permit.principal(), self.permit.tool(), self.permit.plugin());
        let mut text = format!("May `{principal}` run the tool `{tool}` of the plugin `{plugin}`?\nArguments:");
        let share = (MAX_SHOWN / self.arguments.len().clamp(1, MAX_ARGUMENTS)).max(MIN_SHOWN);
        for (name, value) in self.arguments.iter().take(MAX_ARGUMENTS) {
            let name = Value::from(name.as_str()).to_string();
            _ = write!(text, "\n- {}: {}", shown(&name, MAX_LINE), shown(&value.to_string(), share));
        }
        more(&mut text, self.arguments.len(), MAX_ARGUMENTS);
        if self.arguments.is_empty() {
            text.push_str(" none");
        }
        let grants = reach(self.permit.grants());
        text.push_str("\nIt may use:");
        for line in grants.iter().take(MAX_GRANTS) {
            _ = write!(text, "\n- {}", shown(line, MAX_LINE));
        }
        more(&mut text, grants.len(), MAX_GRANTS);
        if grants.is_empty() {
            text.push_str(" nothing outside its sandbox");
        }
        text
    }
}

fn more(text: &mut String, count: usize, shown: usize) {
    if let Some(more) = count.checked_sub(shown).filter(|more| *more > 0) {
        _ = write!(text, "\n- and {more} more");
    }
}

/// What the call may reach at most, in a line each. Neither a directory of this machine nor a value of a variable or
/// secret is the client's to know.
fn reach(grants: &Effective) -> Vec<String> {
    // As configured, unless that goes beyond what was approved.
    let within = grants.configured().widened_over(grants.approved()).is_empty();
    let of = if within { grants.configured() } else { grants.approved() };
    let http = of.http_entries().iter().map(|entry| format!("HTTP: {}", entry.allow()));
    let secrets = grants.secrets().map(|entry| format!("secret: `{}` in requests that it sends", entry.name()));
    let files = grants.files().into_iter().map(|entry| format!("files: {}, {}", entry.guest(), entry.access()));
    let kv = grants.kv().into_iter().map(|entry| {
        let keys = if entry.prefix().is_empty() { String::new() } else { format!(", keys `{}…`", entry.prefix()) };
        format!("shared context: bucket `{}`{keys}, {}", entry.bucket(), entry.access())
    });
    let env = grants.env().map(|(name, _)| format!("variable: {name}"));
    http.chain(secrets).chain(files).chain(kv).chain(env).collect()
}

/// So much of a text, its beginning and its end, with nothing in it that a terminal or a page would obey.
fn shown(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return escaped(text.chars());
    }
    let tail = most / 4;
    let head = most - tail;
    let left_out = count - most;
    format!(
        "{}… {left_out} characters more …{}",
        escaped(text.chars().take(head)),
        escaped(text.chars().skip(count - tail))
    )
}

fn escaped(text: impl Iterator<Item = char>) -> String {
    text.fold(String::new(), |mut shown, c| {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_bounded_and_obeyed_by_nobody() {
        assert_eq!(shown("a \"b\" \u{1b}[2J\u{202e}\n\u{200b}", 80), "a \"b\" \\u{1b}[2J\\u{202e}\\n\\u{200b}");
        let long = format!("{}END", "x".repeat(1000));
        let told = shown(&long, 80);
        assert!(told.starts_with("xxx") && told.ends_with("END") && told.contains("… 923 characters more …"), "{told}");
        assert!(told.chars().count() < 120);
    }
}
