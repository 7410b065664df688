//! Differences of small plugins, as people see them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_policy::{Digest, Grants, Limits, PluginName, ToolName};
use serde_json::{Value, json};

use super::*;
use crate::canonical::definition_digest;
use crate::{Approval, ApprovedTool, Candidate, Definition};

struct Pair {
    approved: Approval,
    definitions: BTreeMap<ToolName, Value>,
    candidate: Candidate,
}

fn tool(name: &str) -> ToolName {
    ToolName::new(name).unwrap()
}

fn grants(http: Value) -> Grants {
    serde_json::from_value(json!({ "http": http })).unwrap()
}

fn read() -> Value {
    json!({
        "name": "read",
        "description": "Reads one line of a file.",
        "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    })
}

/// A plugin that is approved as it is, after `change`.
fn pair(change: impl FnOnce(&mut Candidate)) -> Pair {
    let other = json!({"name": "other", "description": "Another.", "inputSchema": {"type": "object"}});
    let candidate = Candidate {
        plugin: PluginName::new("p").unwrap(),
        source: "p.wasm".to_owned(),
        sha256: Digest::of(b"old"),
        size: 3,
        mapping: 1,
        tools: [("read", "a:b/c#read", read()), ("other", "a:b/c#other", other)]
            .into_iter()
            .map(|(name, function, json)| (tool(name), Definition { function: function.to_owned(), json }))
            .collect(),
        imports: ["wasi:io/streams@0.2.0".to_owned()].into(),
        grants: grants(json!(["GET https://a.example/**", "GET https://b.example/**"])),
        limits: Limits::default(),
        tool_limits: BTreeMap::new(),
        confirm: BTreeMap::new(),
    };
    let approved = Approval {
        source: candidate.source.clone(),
        sha256: candidate.sha256,
        size: candidate.size,
        mapping: candidate.mapping,
        approved_by: "alice".to_owned(),
        approved_at: "2026-11-21T12:00:00Z".to_owned(),
        imports: candidate.imports.clone(),
        tools: candidate
            .tools
            .iter()
            .map(|(name, definition)| {
                let sha256 = definition_digest(&definition.json).unwrap();
                (name.clone(), ApprovedTool { function: definition.function.clone(), sha256 })
            })
            .collect(),
        grants: candidate.grants.clone(),
        limits: candidate.limits.clone(),
        tool_limits: candidate.tool_limits.clone(),
        confirm: candidate.confirm.clone(),
    };
    let definitions = candidate.tools.iter().map(|(name, tool)| (name.clone(), tool.json.clone())).collect();
    let mut pair = Pair { approved, definitions, candidate };
    change(&mut pair.candidate);
    pair
}

fn difference(pair: &Pair) -> Difference {
    Difference::between(&pair.approved, &pair.definitions, &pair.candidate)
}

fn check(widens: bool, change: impl FnOnce(&mut Candidate), expected: &[&str]) {
    let difference = difference(&pair(change));
    let lines: Vec<Line> = difference.lines();
    let shown: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(shown, expected);
    assert_eq!(difference.widens(), widens, "{shown:?}");
    assert_eq!(difference.is_empty(), expected.is_empty(), "{shown:?}");
    assert!(lines.is_sorted_by_key(|line| line.kind), "{lines:?}");
    assert!(serde_json::to_value(&difference).is_ok());
}

fn edit(candidate: &mut Candidate, name: &str, change: impl FnOnce(&mut Value)) {
    change(&mut candidate.tools.get_mut(&tool(name)).unwrap().json);
}

fn rename(candidate: &mut Candidate, from: &str, to: &str) {
    let mut definition = candidate.tools.remove(&tool(from)).unwrap();
    definition.json["name"] = json!(to);
    candidate.tools.insert(tool(to), definition);
}

#[test]
fn nothing_differs() {
    check(false, |_| {}, &[]);
    // Another spelling of the same definition.
    check(
        false,
        |candidate| edit(candidate, "read", |json| *json = serde_json::from_value(sorted(json)).unwrap()),
        &[],
    );
}

fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().sort_keys();
    value
}

#[test]
fn a_word_is_shown() {
    let change = |candidate: &mut Candidate| {
        edit(candidate, "read", |json| json["description"] = json!("Reads every line of a file."));
    };
    let expected = ["~ tool: read", "    $.description: Reads [-one-]{+every+} line of a file."];
    check(true, change, &expected);
}

#[test]
fn every_part_of_a_definition_is_shown_by_its_place() {
    let change = |candidate: &mut Candidate| {
        edit(candidate, "read", |json| {
            json["inputSchema"]["properties"]["path"] = json!({"type": "string", "maxLength": 9});
            json["inputSchema"]["properties"]["sidenote"] = json!({"type": "string"});
            json["inputSchema"]["required"] = json!(["path", "sidenote"]);
            json["description"] = Value::Null;
            json.as_object_mut().unwrap().insert("_meta".into(), json!({"a b": [1.5]}));
        });
    };
    let expected = [
        "~ tool: read",
        r#"    $._meta: {+{"a b":[1.5]}+}"#,
        r#"    $.description: "Reads one line of a file." → null"#,
        "    $.inputSchema.properties.path.maxLength: {+9+}",
        r#"    $.inputSchema.properties.sidenote: {+{"type":"string"}+}"#,
        r#"    $.inputSchema.required[1]: {+"sidenote"+}"#,
    ];
    check(true, change, &expected);
    let change = |candidate: &mut Candidate| {
        edit(candidate, "read", |json| {
            json["inputSchema"].as_object_mut().unwrap().shift_remove("required");
        });
    };
    check(true, change, &["~ tool: read", r#"    $.inputSchema.required: [-["path"]-]"#]);
}

#[test]
fn tools_come_go_and_are_renamed() {
    check(false, |candidate| drop(candidate.tools.remove(&tool("other"))), &["- tool: other"]);
    let added = |candidate: &mut Candidate| {
        let json = json!({"name": "new"});
        candidate.tools.insert(tool("new"), Definition { function: "a:b/c#new".to_owned(), json });
    };
    check(true, added, &["+ tool: new", r#"    {"name":"new"}"#]);
    let renamed = |candidate: &mut Candidate| rename(candidate, "read", "load");
    check(true, renamed, &["~ tool: read → load", "    $.name: [-read-]{+load+}"]);
    let both = |candidate: &mut Candidate| {
        rename(candidate, "read", "load");
        candidate.tools.get_mut(&tool("load")).unwrap().function = "a:b/c#load".to_owned();
    };
    let expected = ["~ tool: read → load", "    function: a:b/c#read → a:b/c#load", "    $.name: [-read-]{+load+}"];
    check(true, both, &expected);
    let swapped = |candidate: &mut Candidate| {
        candidate.tools.get_mut(&tool("read")).unwrap().function = "a:b/c#write".to_owned();
    };
    check(true, swapped, &["~ tool: read", "    function: a:b/c#read → a:b/c#write"]);
}

#[test]
fn what_widens_comes_first() {
    let change = |candidate: &mut Candidate| {
        candidate.source = "q.wasm".to_owned();
        candidate.sha256 = Digest::of(b"newer");
        candidate.size = 5;
        candidate.mapping = 2;
        candidate.imports = ["wasi:http/outgoing-handler@0.2.0".to_owned()].into();
        candidate.grants = grants(json!(["GET https://a.example/**", "GET https://c.example/**"]));
        candidate.limits.deadline = Duration::from_secs(60);
        candidate.limits.concurrency = 1;
        candidate.tools.remove(&tool("other"));
    };
    let bytes = format!("~ bytes: {} (3 bytes) → {} (5 bytes)", Digest::of(b"old"), Digest::of(b"newer"));
    let expected = [
        "+ http: GET https://c.example/**",
        "+ deadline: 15s → 1m",
        "+ import: wasi:http/outgoing-handler@0.2.0",
        &bytes,
        "~ this Portcullis maps WIT to JSON differently: version 1 → 2",
        "- http: GET https://b.example/**",
        "- concurrency: 16 → 1",
        "- import: wasi:io/streams@0.2.0",
        "- tool: other",
        "source: p.wasm → q.wasm",
    ];
    check(true, change, &expected);
}

#[test]
fn each_widening_alone_needs_approval() {
    let widens = |change: fn(&mut Candidate)| assert!(difference(&pair(change)).widens());
    widens(|candidate| candidate.sha256 = Digest::of(b"x"));
    widens(|candidate| candidate.size += 1);
    widens(|candidate| candidate.mapping += 1);
    widens(|candidate| candidate.imports.extend(["x".to_owned()]));
    widens(|candidate| candidate.limits.fuel = None);
    widens(|candidate| {
        let limits = Limits { deadline: Duration::from_secs(20), ..Limits::default() };
        candidate.tool_limits.insert("a:b/c#read".to_owned(), limits);
    });
    widens(|candidate| edit(candidate, "read", |json| json["x"] = json!(u64::MAX)));
    let narrows = |change: fn(&mut Candidate)| {
        let difference = difference(&pair(change));
        assert!(!difference.is_empty() && !difference.widens());
    };
    narrows(|candidate| candidate.grants = Grants::default());
    narrows(|candidate| candidate.limits.output = 1);
    narrows(|candidate| candidate.source = "elsewhere.wasm".to_owned());
    narrows(|candidate| {
        let limits = Limits { deadline: Duration::from_secs(2), ..Limits::default() };
        candidate.tool_limits.insert("a:b/c#read".to_owned(), limits);
    });
}

/// A function's own limit that is gone leaves it the plugin's.
#[test]
fn limits_of_functions_are_compared_as_they_apply() {
    let strict = Limits { deadline: Duration::from_secs(2), ..Limits::default() };
    let mut pair = pair(|_| {});
    pair.approved.tool_limits.insert("f".to_owned(), strict);
    let lines = difference(&pair).lines();
    assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["+ f: deadline: 2s → 15s"]);
}

#[test]
fn a_definition_that_is_not_at_hand_is_compared_by_digest() {
    let mut pair = pair(|candidate| edit(candidate, "read", |json| json["title"] = json!("T")));
    pair.definitions.clear();
    let lines = difference(&pair).lines();
    assert!(difference(&pair).widens());
    assert!(lines[1].text.contains("not at hand"), "{lines:?}");
}

#[test]
fn nothing_is_shown_raw() {
    let hostile = "a\u{1b}[2J\u{202e}b\r\n\u{9b}c\u{200b}";
    let pair = pair(|candidate| {
        candidate.source = hostile.to_owned();
        candidate.imports.insert(hostile.to_owned());
        candidate.tool_limits.insert(hostile.to_owned(), Limits { output: 5, ..Limits::default() });
        edit(candidate, "read", |json| {
            json["description"] = json!(format!("Reads {hostile} one line"));
            json[hostile] = json!({hostile: [hostile]});
        });
        let json = json!({"name": "new", "title": hostile});
        candidate.tools.insert(tool("new"), Definition { function: hostile.to_owned(), json });
        candidate.tools.get_mut(&tool("other")).unwrap().function = hostile.to_owned();
    });
    let lines = difference(&pair).lines();
    assert!(lines.len() > 8, "{lines:?}");
    for line in lines {
        assert_eq!(crate::show::escaped(&line.text).to_string(), line.text);
    }
}

/// Texts that have no word in common, at the largest size: shown whole instead of word by word.
#[test]
fn the_largest_definitions_take_no_square() {
    let text = |word: &str| (0..60_000).map(|n| format!("{word}{} ", n % 10)).collect::<String>();
    let mut pair = pair(|candidate| edit(candidate, "read", |json| json["x"] = json!(text("b"))));
    pair.definitions.get_mut(&tool("read")).unwrap()["x"] = json!(text("a"));
    let found = difference(&pair);
    let change = &found.tools.changed[&tool("read")];
    assert_eq!(change.carriers.len(), 1);
    assert!(change.carriers[0].words.is_empty());
    let many: Vec<u32> = (0..50_000).collect();
    pair.definitions.get_mut(&tool("read")).unwrap()["x"] = json!(many);
    pair.candidate.tools.get_mut(&tool("read")).unwrap().json["x"] = json!(vec![-1; 50_000]);
    let found = difference(&pair);
    assert!(found.tools.changed[&tool("read")].more > 40_000);
    let unique: BTreeSet<_> = found.lines().into_iter().map(|line| line.text).collect();
    assert!(unique.iter().any(|line| line.starts_with("    and ")), "the rest is counted");
}

/// A grant that is taken away makes hints milder, which is no matter of approval; any other hint is.
#[test]
fn hints_wait_unless_narrower_grants_alone_have_changed_them() {
    let hints = |read_only: bool, open_world: bool| json!({ "readOnlyHint": read_only, "destructiveHint": !read_only, "openWorldHint": open_world });
    let (http, none) = (json!(["GET https://a.example/**"]), json!([]));
    let check = |approved: (&Value, Value), present: (&Value, Value), widens: bool| {
        let mut pair = pair(|candidate| candidate.grants = grants(present.0.clone()));
        pair.approved.grants = grants(approved.0.clone());
        for (hints, definition) in [
            (&approved.1, pair.definitions.get_mut(&tool("read")).unwrap()),
            (&present.1, &mut pair.candidate.tools.get_mut(&tool("read")).unwrap().json),
        ] {
            definition["annotations"] = hints.clone();
        }
        let sha256 = definition_digest(&pair.definitions[&tool("read")]).unwrap();
        pair.approved.tools.get_mut(&tool("read")).unwrap().sha256 = sha256;
        let difference = difference(&pair);
        assert_eq!(difference.widens(), widens, "{approved:?} {present:?}: {:?}", difference.lines());
    };
    let (strict, mild) = (hints(false, true), hints(true, false));
    check((&http, strict.clone()), (&none, mild.clone()), false);
    // Beside an operator's own that stays as it was.
    check((&http, strict.clone()), (&none, hints(false, false)), false);
    check((&http, strict.clone()), (&none, strict.clone()), false);
    check((&none, hints(false, false)), (&none, mild.clone()), true);
    check((&none, mild.clone()), (&none, strict.clone()), true);
    check((&none, mild.clone()), (&http, strict.clone()), true);
    check((&http, strict), (&http, mild), true);
}
