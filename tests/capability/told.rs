//! What people read when something is refused: each error as it stands on the terminal, in snapshots, so that a change of
//! a word is seen by whoever reviews it (`INSTA_UPDATE=always` writes them anew).

use std::{fmt::Write as _, process::Output};

use portcullis_artifacts as guests;

use crate::{
    binary::Folder,
    compute::LOOPS,
    directories::Ground,
    memory::{GROW, declared},
};

/// What a command printed, without what differs from run to run.
fn printed(folder: &Folder, output: &Output) -> String {
    let canonical = folder.path().canonicalize().expect("a folder");
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(both).expect("text");
    let text = text.replace(&*canonical.to_string_lossy(), "FOLDER");
    let text = text.replace(&*folder.path().to_string_lossy(), "FOLDER");
    // Time, fuel and memory used.
    let lines = text.lines().map(|line| line.split_once(", after ").map_or(line, |(before, _)| before));
    let code = output.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
    lines.fold(format!("exit code {code}\n"), |text, line| text + line.trim_end() + "\n")
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn grants_that_cannot_be() {
    let mut text = String::new();
    for grants in [
        "http = ['GET https://*/x']",
        "http = ['https://a.example/../x']",
        "http = ['GET https://a.example:99999/']",
        "http = ['G€T https://a.example/']",
        "http = ['GET ftp://a.example/']",
        "http = [{ allow = 'GET https://a.example/', private = ['300.0.0.0/8'] }]",
        "http = [{ allow = 'GET https://a.example/', privat = [] }]",
        "files = [{ host = '', guest = '/data' }]",
        "files = [{ host = 'data', guest = 'data' }]",
        "files = [{ host = 'data', guest = '/data', access = 'write' }]",
        "files = [{ host = 'data', guest = '/data', quota = '1MiB' }]",
        "env = { 'A=B' = 'c' }",
        "secrets = [{ name = 'key', header = 'host', to = 'https://a.example' }]",
        "secrets = [{ name = 'key', header = 'x-key', to = 'https://a.example/path' }]",
        "kv = [{ bucket = 'a b' }]",
        "kv = [{ bucket = 'a', access = 'all' }]",
        "htp = []",
    ] {
        let folder = Folder::new(&format!("[plugins.p]\nsource = 'p.wasm'\n[plugins.p.grants]\n{grants}\n"));
        _ = writeln!(text, "# {grants}\n{}", printed(&folder, &folder.run(&["check"])));
    }
    snapshot("grants_that_cannot_be", &text);
}

/// Plugins that are not loaded under their grants, each with the line to add.
#[test]
fn plugins_that_lack_something() {
    let mut text = String::new();
    for (what, component, grants) in [
        ("an unknown import", guests::UNKNOWN_IMPORT, ""),
        ("shared context without a grant", guests::KEYVALUE, ""),
        ("a directory that is not there", guests::FILES, "files = [{ host = 'missing', guest = '/data' }]"),
        ("the state directory", guests::FILES, "files = [{ host = '.portcullis', guest = '/data' }]"),
        (
            "no such secret",
            guests::WITH_HTTP,
            "secrets = [{ name = 'key', header = 'x-key', to = 'https://a.example' }]",
        ),
    ] {
        let config = format!("[plugins.p]\nsource = {component:?}\n[plugins.p.grants]\n{grants}\n");
        let folder = Folder::new(&config);
        let (_, list) = folder.json(&["list", "--json"]);
        let digest = list[0]["digest"].as_str().unwrap_or_default().to_owned();
        let output = folder.run(&["approve", "p", "--sha256", &digest]);
        let shown = printed(&folder, &output).replace(&digest, "DIGEST");
        let component = component.rsplit('/').next().unwrap_or_default();
        let errors = shown.lines().filter(|line| {
            ["exit code", "error:", "hint:", "and:", "  cause:"].iter().any(|start| line.starts_with(start))
        });
        _ = writeln!(text, "# {what}: {component}");
        errors.for_each(|line| _ = writeln!(text, "{line}"));
        text.push('\n');
    }
    snapshot("plugins_that_lack_something", &text);
}

/// Calls that end at a limit or are refused something: what a model reads.
#[test]
fn calls_that_end_otherwise() {
    let ground = Ground::new();
    let files = ground.grant("");
    let mut config = "[limits]\ndeadline = '300ms'\nfuel = 5_000_000\n".to_owned();
    for (name, source, more) in [
        ("bad", guests::OUTCOMES, ""),
        ("slow", guests::OUTCOMES, "[plugins.slow.limits]\nfuel = 'off'\n"),
        ("patient", guests::OUTCOMES, "[plugins.patient.limits]\nfuel = 'off'\ndeadline = '5m'\n"),
        ("web", guests::WITH_HTTP, ""),
        ("files", guests::FILES, &*format!("[plugins.files.grants]\n{files}\n")),
        ("loops", "loops.wasm", ""),
        ("grow", "grow.wasm", "[plugins.grow.limits]\nfuel = 'off'\ndeadline = '5m'\n"),
        ("whole", "whole.wasm", ""),
    ] {
        config += &format!("[plugins.{name}]\nsource = {source:?}\n{more}");
    }
    let folder = Folder::new(&config);
    for (name, text) in [("loops", LOOPS.to_owned()), ("grow", GROW.to_owned()), ("whole", declared(65536, 1))] {
        folder.write(&format!("{name}.wasm"), wat::parse_str(text).expect("a component"));
    }
    folder.approve_all();
    let mut text = String::new();
    for (tool, arguments) in [
        ("bad_spin", "{}"),
        ("slow_spin", "{}"),
        ("slow_sleep_hour", "{}"),
        ("whole_run", "{}"),
        ("grow_tables", "{}"),
        ("patient_big_output", r#"{"bytes":5000000}"#),
        ("patient_flood_stdout", "{}"),
        ("bad_trap", "{}"),
        ("bad_exit", r#"{"code":3}"#),
        ("loops_divide", "{}"),
        ("bad_fail", r#"{"message":"as it says"}"#),
        ("bad_fail", "{}"),
        ("bad_fail", r#"{"message":1}"#),
        ("bad_fail", r#"{"message":"a","more":2}"#),
        ("bad_none", "{}"),
        ("web_get", r#"{"url":"https://a.example/"}"#),
        ("files_write", r#"{"path":"/data/a","text":"x"}"#),
        ("files_read", r#"{"path":"/etc/passwd"}"#),
    ] {
        _ = writeln!(text, "# {tool} {arguments}\n{}", printed(&folder, &folder.run(&["call", tool, arguments])));
    }
    let text = text.replace(&*ground.data().to_string_lossy(), "DATA");
    snapshot("calls_that_end_otherwise", &text);
}
