//! Small plugins for the tests of this crate.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{Digest, Grants, Limits, PluginName, ToolName};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{Approval, ApprovedTool, Candidate, Definition};

pub(crate) fn name(text: &str) -> PluginName {
    PluginName::new(text).expect("a name")
}

fn imports() -> BTreeSet<String> {
    ["wasi:io/error@0.2.0", "wasi:cli/environment@0.2.0"].map(str::to_owned).into()
}

/// An approval of a plugin of that name.
pub(crate) fn approval(plugin: &str) -> Approval {
    let tool = |n: &str| {
        let tool = ToolName::new(format!("{plugin}_{n}")).expect("a name");
        let function = format!("example:{plugin}/tools#{n}");
        (tool, ApprovedTool { function, sha256: Digest::of(format!("{plugin} {n}").as_bytes()) })
    };
    Approval {
        source: format!("plugins/{plugin}.wasm"),
        sha256: Digest::of(plugin.as_bytes()),
        size: 4096,
        mapping: 1,
        approved_by: "alice".to_owned(),
        approved_at: "2026-11-21T12:00:00Z".to_owned(),
        imports: imports(),
        tools: [tool("one"), tool("two")].into(),
        grants: Grants::default(),
        limits: Limits::default(),
        tool_limits: BTreeMap::new(),
        confirm: BTreeMap::new(),
    }
}

/// The bytes of a version of a plugin.
pub(crate) fn bytes(plugin: &str, version: u64) -> Vec<u8> {
    format!("component {plugin} version {version}").into_bytes()
}

/// A version of a plugin as it is configured.
pub(crate) fn candidate(plugin: &str, version: u64) -> Candidate {
    let bytes = bytes(plugin, version);
    let tool = ToolName::new(format!("{plugin}_one")).expect("a name");
    let json = json!({
        "name": tool.as_str(),
        "description": format!("What version {version} does."),
        "inputSchema": { "type": "object" },
    });
    Candidate {
        plugin: name(plugin),
        source: format!("plugins/{plugin}.wasm"),
        sha256: Digest::of(&bytes),
        size: bytes.len() as u64,
        mapping: 1,
        tools: [(tool, Definition { function: format!("example:{plugin}/tools#one"), json })].into(),
        imports: imports(),
        grants: Grants::default(),
        limits: Limits::default(),
        tool_limits: BTreeMap::new(),
        confirm: BTreeMap::new(),
    }
}

/// Grants of every kind, as an operator writes them.
pub(crate) fn grants() -> Grants {
    serde_json::from_value(json!({
        "http": ["GET https://api.example/v1/**", { "allow": "GET,POST https://intranet.example/**", "private": ["10.0.0.0/8"] }],
        "deny": ["GET https://api.example/v1/secret/**"],
        "secrets": [{ "name": "api", "header": "X-Api-Key", "to": "https://api.example" }],
        "files": [{ "host": "./data", "guest": "/data", "access": "read-write", "quota": "3MiB" }],
        "env": { "UNITS": "metric", "TEXT": "\"two\"\nlines\t\u{202e}\u{7f}\\" },
        "kv": [{ "bucket": "agent-{principal}", "prefix": "a \"b\"/", "access": "read" }],
    }))
    .expect("grants")
}

/// Some grants: of random texts, those that can be read.
pub(crate) fn any_grants() -> impl Strategy<Value = Grants> {
    let url = ("https?", "([a-zA-Z0-9]{1,5}|\\*\\*?|ü)\\.(example|Example)(:[0-9]{1,5})?", "(/[a-z*%é{}~-]{0,4}){1,3}");
    let pattern = (select(vec!["GET", "POST,GET", "*", "X-Y"]), url)
        .prop_map(|(methods, (scheme, host, path))| format!("{methods} {scheme}://{host}{path}"));
    let range = select(vec!["10.0.0.0/8", "10.1.2.3", "192.168.0.0/16", "fc00::/7", "fd00::1"]);
    let access = || select(vec!["read", "read-write"]);
    let entry = prop_oneof![
        4 => pattern.clone().prop_map(|text| ("http", json!(text))),
        2 => (pattern.clone(), vec(range, 0..3))
            .prop_map(|(allow, private)| ("http", json!({ "allow": allow, "private": private }))),
        2 => pattern.prop_map(|text| ("deny", json!(text))),
        2 => ("[a-z_-]{1,4}", "[a-zA-Z!#$%&'*+.^_`|~-]{1,6}", "https?://[a-z]{1,4}\\.example(:[0-9]{1,4})?/?")
            .prop_map(|(name, header, to)| ("secrets", json!({ "name": name, "header": header, "to": to }))),
        2 => ("(\\.\\./|\\./|/)?[a-z \"'\\\\é\u{202e}#]{1,5}", "/[a-z \"'é]{1,4}", access(), 1..1_u64 << 40)
            .prop_map(|(host, guest, access, quota)| {
                ("files", json!({ "host": host, "guest": guest, "access": access, "quota": format!("{quota}B") }))
            }),
        2 => ("[a-z]{0,3}(\\{principal\\})?", any::<String>(), access())
            .prop_map(|(bucket, prefix, access)| ("kv", json!({ "bucket": bucket, "prefix": prefix, "access": access }))),
        2 => ("[A-Z_]{1,4}", any::<String>()).prop_map(|(name, value)| ("env", json!([name, value]))),
    ];
    vec(entry, 0..8).prop_map(|entries| {
        let mut grants = Grants::default();
        let mut written = json!({});
        for (kind, entry) in entries {
            let mut longer = written.clone();
            match (kind, entry.as_array().map(Vec::as_slice)) {
                ("env", Some([Value::String(name), value])) => longer["env"][name] = value.clone(),
                _ => match longer[kind].as_array_mut() {
                    Some(list) => list.push(entry),
                    None => longer[kind] = json!([entry]),
                },
            }
            // What cannot be enforced is not read, and stays out.
            if let Ok(more) = serde_json::from_value(longer.clone()) {
                (grants, written) = (more, longer);
            }
        }
        grants
    })
}

/// Limits of all sizes.
pub(crate) fn any_limits() -> impl Strategy<Value = Limits> {
    let (fuel, deadline) = (proptest::option::of(1..=1_u64 << 53), 1..=86_400_000_u64);
    (deadline, fuel, 64_u64 << 10..=4 << 30, 1..=64_u64 << 20, 1..=1000_u32).prop_map(
        |(deadline, fuel, memory, output, concurrency)| {
            let deadline = std::time::Duration::from_millis(deadline);
            Limits { deadline, fuel, memory, output, concurrency }
        },
    )
}
