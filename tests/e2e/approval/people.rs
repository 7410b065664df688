//! What people read: hostile texts are refused or warned of, and never reach a terminal as they are. P13, P18.

use std::{fs, process::Output};

use serde_json::json;

use super::{
    configure, digest, done, house,
    made::{answering, component, documented, importing, with_section},
    put, quarantined, stands, status,
};
use crate::host::Folder;

/// One of each kind that no output may hold: escape, C1, carriage return, backspace, delete, bell, bidi, tag, zero width.
const HOSTILE: [char; 11] =
    ['\u{1b}', '\u{9b}', '\r', '\u{8}', '\u{7f}', '\u{7}', '\u{202e}', '\u{2066}', '\u{e0041}', '\u{200b}', '\u{feff}'];

/// A text with all of them.
fn hostile(text: &str) -> String {
    HOSTILE.iter().map(|c| format!("{text}{c}")).collect()
}

/// What a terminal would obey, or not show.
fn obeyed(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{ad}' | '\u{61c}')
}

/// Asserts that what a command wrote is plain.
fn plain(case: &str, output: &Output) {
    for (stream, bytes) in [("standard output", &output.stdout), ("standard error", &output.stderr)] {
        let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{case}: {stream}: {error}"));
        let found = text.chars().find(|c| obeyed(*c));
        assert!(found.is_none(), "{case}: {stream} holds {found:?}:\n{text:?}");
    }
}

/// Runs every command that could show what is in the folder.
fn check(case: &str, folder: &Folder) {
    let sha256 = "0".repeat(64);
    let path = folder.path().join("first.wasm");
    let path = path.to_str().expect("text");
    for command in [
        &["inspect", "first"][..],
        &["inspect", path],
        &["diff", "first"],
        &["list"],
        &["doctor"],
        &["check"],
        &["approve", "first"],
        &["approve", "first", "--sha256", &sha256],
        &["approve", "--lock"],
        &["serve", "--stdio", "--strict"],
        &["call", "first_answer"],
    ] {
        for json in [&[][..], &["--json"]] {
            let arguments = [command, json].concat();
            plain(&format!("{case}: {arguments:?}"), &folder.run(&arguments));
        }
    }
}

#[test]
fn p13_what_rules_do_not_allow_in_a_description_is_refused() {
    let folder = Folder::unapproved("");
    let mut config = String::new();
    let selector =
        ['\u{fe0f}', '\u{200d}', '\u{200c}', '\u{85}', '\0', '\u{fff9}', '\u{180e}', '\u{e0101}', '\u{fdd0}'];
    let all: Vec<char> = HOSTILE.into_iter().chain(selector).collect();
    for (at, c) in all.iter().enumerate() {
        let docs = format!("Plain{c} words.");
        put(&folder, &format!("p{at}.wasm"), &documented(answering(1), &[("answer", &docs)]));
        config += &format!("[plugins.p{at}]\nsource = \"p{at}.wasm\"\n");
    }
    put(&folder, "plain.wasm", &documented(answering(2), &[("answer", "Plain\n\twords.")]));
    config += "[plugins.plain]\nsource = \"plain.wasm\"\n";
    configure(&folder, &config);
    let listed = folder.run(&["list", "--json"]);
    plain("list", &listed);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    for (at, c) in all.iter().enumerate() {
        let status = listed.as_array().expect("plugins").iter().find(|status| status["name"] == format!("p{at}"));
        let status = status.expect("the plugin");
        assert_eq!(status["state"], "broken", "{c:?}: {status:#}");
        assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("is refused: ")), "{c:?}: {status:#}");
    }
    folder.approve_all();
    assert_eq!(folder.json(&["call", "plain_answer", "--json"])["result"]["result"], 2);
}

#[test]
fn p18_hostile_descriptions_are_shown_escaped() {
    let folder = house();
    put(&folder, "first.wasm", &documented(answering(1), &[("answer", &hostile("text"))]));
    check("a description", &folder);
    stands(&folder, "broken");
    let shown = done(&folder, &["inspect", "first"]);
    assert!(shown.contains(r"text\u{1b}") && shown.contains(r"\u{202e}"), "escaped, not stripped: {shown}");
    // The same text as JSON.
    let data = folder.json(&["inspect", "first", "--json"]);
    assert_eq!(data["tools"][0]["description"], hostile("text"));
}

#[test]
fn p18_every_other_carrier_of_a_component_is_shown_escaped() {
    let folder = house();
    let requests =
        json!({ "http": [{ "allow": hostile("GET https://a"), "reason": hostile("reason") }], hostile("kind"): [] });
    let wrong = json!({ "worlds": { hostile("world"): 1 } });
    let nobody = hostile("nobody");
    let cases = [
        ("requests", with_section(answering(1), "portcullis:requests", requests.to_string().as_bytes())),
        ("docs of nothing", documented(answering(1), &[(&nobody, &hostile("docs"))])),
        ("damaged docs", with_section(answering(1), "package-docs", format!("\u{1}{wrong}").as_bytes())),
        ("a section's name", with_section(answering(1), &hostile("name"), hostile("data").as_bytes())),
        ("damaged requests", with_section(answering(1), "portcullis:requests", hostile("{").as_bytes())),
        ("an import", importing(1, &[&wat_text(&hostile("import"))])),
        ("an unknown import", importing(1, &["a:b/c@1.0.0"])),
        ("text", hostile("(component").into_bytes()),
        ("other bytes", hostile("x").repeat(3).into_bytes()),
        (
            "an export",
            component(&format!(
                "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) (func (export \"{}\") (canon lift (core func $i \"f\"))))",
                wat_text(&hostile("export"))
            )),
        ),
    ];
    for (case, bytes) in cases {
        put(&folder, "first.wasm", &bytes);
        check(case, &folder);
    }
    assert_eq!(folder.json(&["call", "other_answer", "--json"])["result"]["result"], 2);
}

/// A string literal of WebAssembly text.
fn wat_text(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}

#[test]
fn p18_what_configuration_and_lock_hold_is_shown_escaped() {
    let folder = quarantined("");
    let name = hostile("file");
    // What a configuration quotes comes from others too: it is pulled.
    let source = serde_json::to_string(&name).expect("a text").replace('\u{7f}', "\\u007f");
    let source: String =
        source.chars().map(|c| if obeyed(c) { format!("\\U{:08X}", c as u32) } else { c.to_string() }).collect();
    fs::write(folder.path().join(&name), answering(1)).expect("a file");
    configure(&folder, &format!("[plugins.first]\nsource = {source}\n[plugins.other]\nsource = \"other.wasm\"\n"));
    check("a source", &folder);
    let sha256 = digest(&folder);
    done(&folder, &["approve", "first", "--sha256", &sha256]);
    check("an approved source", &folder);
    let path = folder.path().join("portcullis.lock");
    let lock = fs::read_to_string(&path).expect("a lock");
    assert!(!lock.contains(obeyed), "{lock:?}");
    let by = lock.lines().find(|line| line.contains("approved-by = ")).expect("who approved it");
    let (key, _) = by.split_once('=').expect("a line");
    fs::write(&path, lock.replace(by, &format!("{key}= \"\\u001B[2J\\u009B\\u202Eroot\""))).expect("a write");
    check("a lock", &folder);
    fs::write(&path, lock.replace("version = 1", &hostile("version"))).expect("a write");
    check("a damaged lock", &folder);
    fs::write(&path, lock).expect("a write");
    // A configuration that is not valid quotes itself.
    for text in [
        "[plugins.first]\n\"\\u001B[2J\\u202E\" = 1\n".to_owned(),
        hostile("x"),
        "[plugins.\"\\u001B[2J\"]\nsource = \"x\"\n".to_owned(),
    ] {
        put(&folder, "portcullis.toml", text.as_bytes());
        check("a configuration", &folder);
    }
}

#[test]
fn p18_the_log_of_a_running_host_is_plain() {
    let folder = house();
    put(&folder, "first.wasm", &documented(answering(1), &[("answer", &hostile("text"))]));
    let mut command = folder.command(&["serve", "--stdio"]);
    let output = command.env("PORTCULLIS_LOG", "debug").output().expect("a run");
    plain("serve", &output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken"), "nothing was logged");
    assert_eq!(status(&folder, "other")["state"], "approved");
}
