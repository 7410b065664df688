//! A plugin as whoever decides about it sees it: all that would be approved, and all that speaks against it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use portcullis_catalogue::{Review, State};
use portcullis_policy::{Grants, Limits, PluginName, Reach};
use portcullis_trust::{Difference, Line, LineKind, LockReview, Severity, escaped};
use serde_json::{Map, Value, json};

use crate::render::{Colour, paint, quoted};

/// The command that approves exactly these bytes.
pub(crate) fn approve_line(review: &Review, name: &PluginName) -> String {
    let candidate = &review.examined.candidate;
    let whole = candidate.digest().map(|digest| format!(" --review {}", digest.short())).unwrap_or_default();
    format!("portcullis approve {name} --sha256 {}{whole}", candidate.sha256.short())
}

/// The command that accepts exactly this lock.
pub(crate) fn accept_line(review: &LockReview) -> String {
    let back = if review.flagged().is_none() { "" } else { " --allow-downgrade" };
    format!("portcullis approve --lock --sha256 {}{back}", review.digest)
}

/// For `--json`.
pub(crate) fn as_data(review: &Review, name: Option<&PluginName>) -> Value {
    let Review { examined, state, .. } = review;
    let candidate = &examined.candidate;
    let inspection = &examined.inspection;
    let left_out = inspection.definitions.left_out.iter();
    let reach = |import: &String| json!({ "name": import, "reach": Reach::of(import), "granted": Reach::of(import).granted(&candidate.grants) });
    let mut data = json!({
        "source": candidate.source,
        "digest": candidate.sha256,
        "review": candidate.digest().ok(),
        "size": candidate.size,
        "mapping": candidate.mapping,
        "state": name.map(|_| state.as_str()),
        "tools": inspection.definitions.tools.iter().map(|tool| &tool.definition).collect::<Vec<_>>(),
        "leftOut": left_out.map(|f| json!({ "function": f.function, "reason": f.reason })).collect::<Vec<_>>(),
        "imports": inspection.description.imports,
        "reach": candidate.imports.iter().map(reach).collect::<Vec<_>>(),
        "requests": inspection.description.requests,
        "grants": candidate.grants,
        "limits": candidate.limits,
        "toolLimits": candidate.tool_limits,
        "confirm": candidate.confirm,
        "approve": name.filter(|_| examined.refused.is_none()).map(|name| approve_line(review, name)),
    });
    if let Some(data) = data.as_object_mut() {
        data.extend(against(review));
    }
    data
}

/// What speaks against a plugin, for `--json`.
pub(crate) fn against(review: &Review) -> Map<String, Value> {
    let Review { examined, findings, .. } = review;
    let findings = findings.iter().map(|(tool, finding)| json!({ "tool": tool, "finding": finding }));
    let refused = examined.refused.as_ref();
    Map::from_iter([
        ("warnings".to_owned(), json!(examined.inspection.description.warnings)),
        ("findings".to_owned(), findings.collect()),
        ("refused".to_owned(), json!(refused.map(|refusal| &refusal.reason))),
        ("mend".to_owned(), json!(refused.and_then(|refusal| refusal.mend.as_ref()))),
    ])
}

/// For people. Everything that is not the host's own word is escaped.
pub(crate) fn as_text(review: &Review, name: Option<&PluginName>) -> String {
    let Review { examined, state, approved, difference, .. } = review;
    let candidate = &examined.candidate;
    let inspection = &examined.inspection;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let (source, digest, size) = (escaped(&candidate.source), candidate.sha256, candidate.size);
    _ = writeln!(text, "{source}\nsha256 {digest}, {size} bytes");
    if let Ok(whole) = candidate.digest() {
        _ = writeln!(text, "review {whole}, of all that would be approved");
    }
    if name.is_some() {
        _ = writeln!(text, "{}", standing(state, approved.as_ref().map(|approved| approved.sha256.short())));
    }
    _ = writeln!(text, "\nTools");
    for tool in &inspection.definitions.tools {
        let definition = &tool.definition;
        _ = writeln!(text, "  {}", definition.name);
        for line in definition.description.iter().flat_map(|description| quoted(description)) {
            _ = writeln!(text, "      {line}");
        }
        let schema = |schema| serde_json::to_string(schema).unwrap_or_default();
        _ = writeln!(text, "      takes {}", escaped(&schema(&definition.input_schema)));
        _ = writeln!(text, "      gives {}", escaped(&schema(&definition.output_schema)));
    }
    for left_out in &inspection.definitions.left_out {
        _ = writeln!(text, "  no tool: {}: {}", escaped(&left_out.function), escaped(&left_out.reason));
    }
    imports(&mut text, &candidate.imports, &candidate.grants);
    if let Some(requests) = &inspection.description.requests {
        _ = writeln!(text, "\nStated needs");
        needs(&mut text, requests);
    }
    _ = writeln!(text, "\nGrants of the configuration");
    grants(&mut text, &candidate.grants);
    limits(&mut text, &candidate.limits, &candidate.tool_limits);
    for (function, confirm) in &candidate.confirm {
        _ = writeln!(text, "  {}: a person is asked, {}", escaped(function), confirm.as_str());
    }
    text += &against_text(review);
    let Some(name) = name else { return text };
    match difference {
        _ if examined.refused.is_some() => {
            _ = writeln!(text, "\nIt cannot be approved as it is.");
            if let Some(mend) = examined.refused.as_ref().and_then(|refusal| refusal.mend.as_ref()) {
                _ = writeln!(text, "{} {}", paint(Colour::Plain, "hint:"), escaped(mend));
            }
        }
        Some(difference) if !difference.widens() => {}
        Some(_) => {
            _ = writeln!(text, "\nWhat differs from what was approved: portcullis diff {name}");
            _ = writeln!(text, "To approve it: {}", approve_line(review, name));
        }
        None => _ = writeln!(text, "\nTo approve it: {}", approve_line(review, name)),
    }
    text
}

/// What speaks against a plugin, for people: what refuses it first.
pub(crate) fn against_text(review: &Review) -> String {
    let Review { examined, findings, .. } = review;
    let mut text = String::new();
    let warnings = examined.inspection.description.warnings.iter();
    let warnings = warnings.map(|warning| (Severity::Warn, escaped(warning).to_string()));
    // Where a rule refuses, the finding says so.
    let by_rule = findings.iter().any(|(_, finding)| finding.severity == Severity::Reject);
    let refused = examined
        .refused
        .iter()
        .filter(|_| !by_rule)
        .map(|refusal| (Severity::Reject, escaped(&refusal.reason).to_string()));
    let found = findings.iter().map(|(tool, finding)| {
        // The rules have escaped what they show.
        (finding.severity, format!("{tool}: {}: {} ({})", finding.place, finding.detail, finding.rule))
    });
    let (rejected, warned): (Vec<_>, Vec<_>) =
        refused.chain(found).chain(warnings).partition(|(severity, _)| *severity == Severity::Reject);
    for (severity, what) in rejected.into_iter().chain(warned) {
        let (word, colour) = match severity {
            Severity::Reject => ("refused", Colour::Red),
            Severity::Warn => ("warning", Colour::Yellow),
        };
        _ = writeln!(text, "\n{} {what}", paint(colour, &format!("{word}:")));
    }
    text
}

/// What an operator is asked about: what differs from what was approved, or everything where nothing does.
pub(crate) fn question_text(review: &Review, name: &PluginName) -> String {
    match &review.difference {
        Some(difference) if !difference.is_empty() => {
            format!("{}{}", difference_text(difference), against_text(review))
        }
        Some(_) | None => as_text(review, Some(name)),
    }
}

/// What differs from what was approved, widening first.
pub(crate) fn difference_text(difference: &Difference) -> String {
    painted(&difference.lines())
}

/// What accepting a lock changes, plugin by plugin.
pub(crate) fn lock_text(review: &LockReview) -> String {
    painted(&review.lines())
}

/// The same for `--json`.
pub(crate) fn lock_data(review: &LockReview) -> Value {
    let changed =
        review.changed.iter().map(|(plugin, (old, new))| (plugin.to_string(), json!({ "old": old, "new": new })));
    json!({
        "lock": review.digest,
        "differs": !review.is_empty(),
        "added": review.added,
        "changed": changed.collect::<Map<_, _>>(),
        "removed": review.removed,
        "downgrades": review.downgrades,
        "startsOver": review.starts_over.as_ref().map(ToString::to_string),
        "lines": review.lines().into_iter().map(|line| line.text).collect::<Vec<_>>(),
        "approve": (!review.is_empty()).then(|| accept_line(review)),
    })
}

fn painted(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let colour = match line.kind {
            LineKind::Widening => Colour::Red,
            LineKind::Change => Colour::Yellow,
            LineKind::Narrowing => Colour::Green,
            LineKind::Info => Colour::Plain,
        };
        _ = writeln!(text, "{}", paint(colour, &line.text));
    }
    text
}

fn standing(state: &State, approved: Option<String>) -> String {
    let approved = approved.map(|digest| format!("; approved are the bytes {digest}")).unwrap_or_default();
    match state.reason() {
        Some(reason) => format!("{}: {}{approved}", state.as_str(), escaped(reason)),
        None => format!("{}{approved}", state.as_str()),
    }
}

fn imports(text: &mut String, imports: &BTreeSet<String>, grants: &Grants) {
    let mut groups: BTreeMap<Reach, Vec<&String>> = BTreeMap::new();
    for import in imports {
        groups.entry(Reach::of(import)).or_default().push(import);
    }
    _ = writeln!(text, "\nImports, by what they could reach");
    for (reach, imports) in groups {
        _ = writeln!(text, "  {}: {}", reach.as_str(), reach.granted(grants));
        for import in imports {
            _ = writeln!(text, "      {}", escaped(import));
        }
    }
}

fn needs(text: &mut String, requests: &Value) {
    let lists = requests.as_object().into_iter().flatten();
    for (kind, entry) in
        lists.flat_map(|(kind, list)| list.as_array().into_iter().flatten().map(move |entry| (kind, entry)))
    {
        let reason = entry.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
        let rest = entry.as_object().into_iter().flatten().filter(|(key, _)| *key != "reason");
        let shown: Vec<_> = rest
            .map(|(key, value)| match value.as_str() {
                Some(text) => format!("{key} {text}"),
                None => format!("{key} {value}"),
            })
            .collect();
        _ = writeln!(text, "  {}: {}: {}", escaped(kind), escaped(&shown.join(", ")), escaped(reason));
    }
}

fn grants(text: &mut String, grants: &Grants) {
    let given = serde_json::to_value(grants).unwrap_or_default();
    let mut any = false;
    for (kind, entries) in given.as_object().into_iter().flatten() {
        let entries: Vec<_> = match entries {
            Value::Array(list) => list.iter().map(plain).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| format!("{key} = {}", plain(value))).collect(),
            other => vec![plain(other)],
        };
        for entry in entries {
            any = true;
            _ = writeln!(text, "  {kind}: {}", escaped(&entry));
        }
    }
    if !any {
        _ = writeln!(text, "  none");
    }
}

fn limits(text: &mut String, limits: &Limits, of_tools: &BTreeMap<String, Limits>) {
    _ = writeln!(text, "\nLimits of a call");
    let shown = |limits: &Limits| {
        let given = serde_json::to_value(limits).unwrap_or_default();
        let pairs = given.as_object().into_iter().flatten().map(|(key, value)| format!("{key} {}", plain(value)));
        pairs.collect::<Vec<_>>().join(", ")
    };
    _ = writeln!(text, "  {}", shown(limits));
    for (function, limits) in of_tools {
        _ = writeln!(text, "  {}: {}", escaped(function), shown(limits));
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
