//! What accepting a lock changes, as lines for people: every value of a block that comes or goes, and of one that
//! changes every value that is another. Nothing is left out, whatever fields a block has: it is compared as JSON.

use std::collections::BTreeSet;

use portcullis_policy::{Change, Confirm, PluginName};
use serde_json::Value;

use super::{Line, LineKind};
use crate::{Approval, LockReview, show::escaped};

impl LockReview {
    /// The whole of it, plugin by plugin; of each what widens first. A line that begins with spaces belongs to the one
    /// before.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Lines(Vec::new());
        if let Some(why) = &self.starts_over {
            lines.add(LineKind::Info, format!("nothing counts as accepted: {}", escaped(&why.to_string())));
        }
        let back = |plugin: &PluginName| match (self.downgrades.contains(plugin), &self.starts_over) {
            (false, _) => "",
            (true, None) => ", a downgrade: newer bytes were approved",
            (true, Some(_)) => ", perhaps a downgrade: which of the bytes were approved last is not known",
        };
        for (plugin, block) in &self.added {
            lines.add(LineKind::Widening, format!("+ {plugin}: {}{}", head(block), back(plugin)));
            lines.whole(LineKind::Widening, block);
        }
        for (plugin, (old, new)) in &self.changed {
            lines.add(LineKind::Change, format!("~ {plugin}: {}{}", head(new), back(plugin)));
            for change in widened(old, new) {
                lines.add(LineKind::Widening, format!("    wider: {}", escaped(&change)));
            }
            lines.between("", &json(old), &json(new));
        }
        for (plugin, block) in &self.removed {
            lines.add(LineKind::Narrowing, format!("- {plugin}: {}", head(block)));
        }
        lines.0
    }
}

fn head(block: &Approval) -> String {
    format!("{} sha256 {}", escaped(&block.source), block.sha256)
}

/// An approval is plain data, which has a form as JSON.
fn json(block: &Approval) -> Value {
    serde_json::to_value(block).unwrap_or_default()
}

/// What of grants and limits is wider than accepted, also of single functions.
fn widened(old: &Approval, new: &Approval) -> Vec<String> {
    let shown = |changes: Vec<Change>| changes.into_iter().map(|change| change.to_string());
    let mut all: Vec<_> = shown(new.grants.widened_over(&old.grants)).collect();
    all.extend(shown(new.limits.widened_over(&old.limits)));
    for function in old.tool_limits.keys().chain(new.tool_limits.keys()).collect::<BTreeSet<_>>() {
        let of = |block: &Approval| block.tool_limits.get(function).unwrap_or(&block.limits).clone();
        all.extend(shown(of(new).widened_over(&of(old))).map(|change| format!("{function}: {change}")));
    }
    for (function, asked) in &old.confirm {
        let wider = Confirm::widened_over(new.confirm.get(function).copied(), Some(*asked));
        all.extend(wider.map(|change| format!("{function}: {change}")));
    }
    all
}

struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, kind: LineKind, text: String) {
        self.0.push(Line { kind, text });
    }

    /// Every value of a block.
    fn whole(&mut self, kind: LineKind, block: &Approval) {
        let mut all = Vec::new();
        leaves("", &json(block), &mut all);
        for (path, value) in all {
            self.add(kind, format!("    {path}: {value}"));
        }
    }

    /// Every value that is in one of the two alone, or another in each.
    fn between(&mut self, path: &str, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                    let missing = Value::Null;
                    let (old, new) = (old.get(key).unwrap_or(&missing), new.get(key).unwrap_or(&missing));
                    self.between(&below(path, key), old, new);
                }
            }
            (Value::Array(old), Value::Array(new)) => {
                let gone: Vec<_> = old.iter().filter(|entry| !new.contains(entry)).collect();
                let come: Vec<_> = new.iter().filter(|entry| !old.contains(entry)).collect();
                if gone.is_empty() && come.is_empty() {
                    // Another order, or one entry more than once.
                    let (old, new) = (Value::Array(old.clone()), Value::Array(new.clone()));
                    self.add(LineKind::Change, format!("    {path}: {} → {}", plain(&old), plain(&new)));
                }
                come.into_iter()
                    .for_each(|entry| self.add(LineKind::Widening, format!("    + {path}: {}", plain(entry))));
                gone.into_iter()
                    .for_each(|entry| self.add(LineKind::Narrowing, format!("    - {path}: {}", plain(entry))));
            }
            (Value::Null, new) => self.side(LineKind::Widening, '+', path, new),
            (old, Value::Null) => self.side(LineKind::Narrowing, '-', path, old),
            (old, new) => self.add(LineKind::Change, format!("    {path}: {} → {}", plain(old), plain(new))),
        }
    }

    fn side(&mut self, kind: LineKind, sign: char, path: &str, value: &Value) {
        let mut all = Vec::new();
        leaves(path, value, &mut all);
        for (path, value) in all {
            self.add(kind, format!("    {sign} {path}: {value}"));
        }
    }
}

/// The values in `value` that hold no others, each with its path; an empty list or object is one itself.
fn leaves(path: &str, value: &Value, all: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(key, member)| leaves(&below(path, key), member, all));
        }
        Value::Array(entries) if !entries.is_empty() => {
            all.extend(entries.iter().map(|entry| (path.to_owned(), plain(entry))));
        }
        Value::Object(_) | Value::Array(_) => all.push((path.to_owned(), "none".to_owned())),
        value => all.push((path.to_owned(), plain(value))),
    }
}

fn below(path: &str, key: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{}", escaped(key))
}

fn plain(value: &Value) -> String {
    match value.as_str() {
        Some(text) => escaped(text).to_string(),
        None => escaped(&value.to_string()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portcullis_policy::Digest;
    use serde_json::json;

    use super::*;
    use crate::samples::{approval, grants, name};

    fn block() -> Approval {
        let mut block = Approval { grants: grants(), ..approval("alpha") };
        block.tool_limits.insert("one".to_owned(), block.limits.clone());
        block
    }

    fn review(added: Option<&Approval>, changed: Option<(&Approval, &Approval)>) -> LockReview {
        LockReview {
            digest: Digest::of(b""),
            added: added.map(|block| (name("alpha"), block.clone())).into_iter().collect(),
            changed: changed.map(|(old, new)| (name("alpha"), (old.clone(), new.clone()))).into_iter().collect(),
            removed: BTreeMap::new(),
            downgrades: BTreeSet::new(),
            starts_over: None,
        }
    }

    fn texts(review: &LockReview) -> Vec<String> {
        review.lines().into_iter().map(|line| line.text).collect()
    }

    /// The paths to every value of `value` that holds no others.
    fn paths(value: &Value, at: &str) -> Vec<String> {
        match value {
            Value::Object(members) => members
                .iter()
                .flat_map(|(key, member)| paths(member, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))))
                .collect(),
            Value::Array(entries) => {
                entries.iter().enumerate().flat_map(|(index, entry)| paths(entry, &format!("{at}/{index}"))).collect()
            }
            _ => vec![at.to_owned()],
        }
    }

    /// Values in the place of `value` of which one at least fits wherever it stands.
    fn others(value: &Value) -> Vec<Value> {
        match value {
            Value::Number(number) => vec![json!(number.as_u64().unwrap_or_default() + 1)],
            Value::String(text) => ["read-write", "read", "192.168.0.0/16", "4MiB"]
                .iter()
                .filter(|other| *other != text)
                .map(|other| json!(other))
                .chain([
                    json!(Digest::of(text.as_bytes())),
                    json!(format!("{text}x")),
                    json!("GET https://other.example/"),
                ])
                .collect(),
            other => panic!("{other}"),
        }
    }

    /// H1: whatever field of a block is another, a line of the review is another and says so.
    #[test]
    fn every_field_of_a_block_is_shown() {
        let old = block();
        let whole = json(&old);
        let shown = texts(&review(Some(&old), None));
        let paths = paths(&whole, "");
        assert!(paths.len() > 30, "{paths:?}");
        for path in paths {
            let mutated = others(whole.pointer(&path).expect(&path)).into_iter().filter_map(|other| {
                let mut whole = whole.clone();
                *whole.pointer_mut(&path).expect(&path) = other;
                serde_json::from_value::<Approval>(whole).ok().filter(|new| *new != old)
            });
            let mutated: Vec<_> = mutated.collect();
            assert!(!mutated.is_empty(), "{path} was never another");
            for new in mutated {
                let again = texts(&review(Some(&new), None));
                assert_ne!(again, shown, "{path} of a block that comes");
                let said = texts(&review(None, Some((&old, &new))));
                let field = path.split('/').nth(1).expect("a field");
                assert!(
                    said.iter().skip(1).any(|line| line.contains(field)),
                    "{path} of a block that changes: {said:#?}"
                );
            }
        }
        // A tool that another name runs, an entry less, another order.
        let mut new = old.clone();
        new.tools.values_mut().next().expect("a tool").function = "trap".to_owned();
        let said = texts(&review(None, Some((&old, &new))));
        assert!(said.contains(&"    tools.alpha_one.function: example:alpha/tools#one → trap".to_owned()), "{said:#?}");
        let mut new = old.clone();
        new.tool_limits.clear();
        let said = texts(&review(None, Some((&old, &new))));
        assert!(said.iter().any(|line| line.starts_with("    - tool-limits.one.memory: ")), "{said:#?}");
        new = Approval {
            limits: portcullis_policy::Limits { memory: old.limits.memory * 2, ..old.limits.clone() },
            ..old.clone()
        };
        let said = texts(&review(None, Some((&old, &new))));
        assert!(said.get(1).is_some_and(|line| line.starts_with("    wider: memory: ")), "{said:#?}");
    }

    /// H5: a value is one line, whatever it holds.
    #[test]
    fn no_value_makes_a_line_of_its_own() {
        let hostile = "x\n+ other: approved\u{1b}[2J\u{3164}\u{34f}";
        let mut bad = Approval {
            source: hostile.to_owned(),
            approved_by: hostile.to_owned(),
            approved_at: hostile.to_owned(),
            ..block()
        };
        bad.imports.insert(hostile.to_owned());
        bad.tool_limits.insert(hostile.to_owned(), bad.limits.clone());
        for review in [review(Some(&bad), None), review(None, Some((&block(), &bad)))] {
            for line in texts(&review) {
                assert!(!line.contains(['\n', '\u{1b}', '\u{3164}', '\u{34f}']), "{line:?}");
                assert_eq!(escaped(&line).to_string(), line);
            }
        }
    }
}
