//! A difference as lines for people: what widens first. Everything that is not Portcullis's own word is escaped.

use std::fmt::Write as _;

use portcullis_policy::Change;
use serde_json::Value;

use super::{CarrierChange, Difference, ToolChange, WordKind};
use crate::show::escaped;

/// What a line is about. Lines stand in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// More than was approved is asked for.
    Widening,
    /// Something is another.
    Change,
    /// Less than was approved is left.
    Narrowing,
    /// Worth knowing.
    Info,
}

/// One line, without a line feed in it. A line that begins with spaces belongs to the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is about.
    pub kind: LineKind,
    /// What it says.
    pub text: String,
}

impl Difference {
    /// The difference for people, in the order of [`LineKind`].
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Lines::default();
        self.widenings(&mut lines);
        self.changes(&mut lines);
        self.narrowings(&mut lines);
        if let Some(source) = &self.source {
            let (old, new) = (escaped(&source.old), escaped(&source.new));
            lines.add(LineKind::Info, format!("source: {old} → {new}"));
        }
        lines.0
    }

    fn widenings(&self, lines: &mut Lines) {
        let kind = LineKind::Widening;
        lines.all(kind, "+ ", &self.widened);
        for (function, changes) in &self.tools_widened {
            lines.all(kind, &format!("+ {}: ", escaped(function)), changes);
        }
        for import in &self.imports_added {
            lines.add(kind, format!("+ import: {}", escaped(import)));
        }
        for (name, definition) in &self.tools.added {
            lines.add(kind, format!("+ tool: {name}"));
            lines.add(kind, format!("    {}", shown(definition)));
        }
    }

    fn changes(&self, lines: &mut Lines) {
        let kind = LineKind::Change;
        for (name, change) in &self.tools.renamed {
            let was = change.was.as_ref().map(ToString::to_string).unwrap_or_default();
            lines.add(kind, format!("~ tool: {was} → {name}"));
            lines.tool(change);
        }
        for (name, change) in &self.tools.changed {
            lines.add(kind, format!("~ tool: {name}"));
            lines.tool(change);
        }
        if let Some(bytes) = &self.bytes {
            let (old, new) = (bytes.old, bytes.new);
            lines.add(
                kind,
                format!("~ bytes: {} ({} bytes) → {} ({} bytes)", old.sha256, old.size, new.sha256, new.size),
            );
        }
        if let Some(mapping) = &self.mapping {
            let what = "~ this Portcullis maps WIT to JSON differently";
            lines.add(kind, format!("{what}: version {} → {}", mapping.old, mapping.new));
        }
    }

    fn narrowings(&self, lines: &mut Lines) {
        let kind = LineKind::Narrowing;
        lines.all(kind, "- ", &self.narrowed);
        for (function, changes) in &self.tools_narrowed {
            lines.all(kind, &format!("- {}: ", escaped(function)), changes);
        }
        for import in &self.imports_removed {
            lines.add(kind, format!("- import: {}", escaped(import)));
        }
        for name in &self.tools.removed {
            lines.add(kind, format!("- tool: {name}"));
        }
    }
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, kind: LineKind, text: String) {
        self.0.push(Line { kind, text });
    }

    fn all(&mut self, kind: LineKind, before: &str, changes: &[Change]) {
        for change in changes {
            self.add(kind, format!("{before}{}", escaped(&change.to_string())));
        }
    }

    fn tool(&mut self, change: &ToolChange) {
        let kind = LineKind::Change;
        if let Some(function) = &change.function {
            self.add(kind, format!("    function: {} → {}", escaped(&function.old), escaped(&function.new)));
        }
        for carrier in &change.carriers {
            self.add(kind, format!("    {}: {}", carrier.place, compared(carrier)));
        }
        if change.more > 0 {
            self.add(kind, format!("    and {} more", change.more));
        }
        if let (Some(digest), true) = (&change.sha256, change.carriers.is_empty()) {
            let shown = |digest: Option<portcullis_policy::Digest>| {
                digest.map_or_else(|| "a definition without canonical form".to_owned(), |digest| digest.to_string())
            };
            let (old, new) = (shown(digest.old), shown(digest.new));
            self.add(kind, format!("    definition, whose approved text is not at hand: {old} → {new}"));
        }
    }
}

/// `[-old-]{+new+}`, as `git diff --word-diff` has it.
fn compared(carrier: &CarrierChange) -> String {
    if carrier.words.is_empty() {
        return match (&carrier.old, &carrier.new) {
            (Some(old), Some(new)) => format!("{} → {}", shown(old), shown(new)),
            (Some(old), None) => format!("[-{}-]", shown(old)),
            (None, Some(new)) => format!("{{+{}+}}", shown(new)),
            (None, None) => String::new(),
        };
    }
    let mut text = String::new();
    for word in &carrier.words {
        let words = escaped(&word.text);
        // Writing to a string cannot fail.
        let _ = match word.kind {
            WordKind::Same => write!(text, "{words}"),
            WordKind::Removed => write!(text, "[-{words}-]"),
            WordKind::Added => write!(text, "{{+{words}+}}"),
        };
    }
    text
}

fn shown(value: &Value) -> String {
    escaped(&value.to_string()).to_string()
}
