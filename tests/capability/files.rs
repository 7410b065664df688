//! S28: files that are no component, or not quite. Each is told for what it is, and hides no other.

use std::fs;

use portcullis_artifacts as guests;
use serde_json::Value;

use crate::binary::Folder;

/// A component with a custom section of this name and content at its end.
fn with_section(name: &str, content: &[u8]) -> Vec<u8> {
    let mut component = fs::read(guests::ECHO).expect("a guest");
    let length = 1 + name.len() + content.len();
    assert!(length < 128 && name.len() < 128, "lengths of one byte");
    component.extend([0, length as u8, name.len() as u8]);
    component.extend(name.as_bytes());
    component.extend(content);
    component
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("WebAssembly text")
}

/// Broken plugins by name: the file, and what is told of it.
fn broken() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let echo = fs::read(guests::ECHO).expect("a guest");
    let mut flipped = echo.clone();
    flipped[40] ^= 0xff;
    vec![
        ("empty", Vec::new(), "the file is empty, expected a WebAssembly component"),
        ("text", b"hello\n".to_vec(), "the file is text, expected a WebAssembly component"),
        ("wat-text", b"(component)".to_vec(), "WebAssembly text, expected a binary component"),
        ("random", (0..=255).rev().collect(), "the file is not WebAssembly, expected a component"),
        ("magic", b"\0asm".to_vec(), "cut off after 4 bytes"),
        ("version", b"\0asm\xff\0\x01\0".to_vec(), "invalid at byte"),
        ("core", wat("(module)"), "the file is a core module, not a component"),
        ("package", wat(r#"(component (type (component)) (export "a:b/c" (type 0)))"#), "WIT package"),
        ("cut", echo[..echo.len() / 2].to_vec(), "cut off after"),
        ("cut-early", echo[..12].to_vec(), "cut off after 12 bytes"),
        ("flipped", flipped, "invalid at byte"),
        (
            "unknown",
            fs::read(guests::UNKNOWN_IMPORT).expect("a guest"),
            "it imports what this host does not have: acme:unknown/thing",
        ),
        (
            "needy",
            with_section("portcullis:requests", br#"{"kv":[{"bucket":"b","reason":"r"}]}"#),
            "it needs what is not granted: kv",
        ),
    ]
}

/// Plugins that are served, with a warning.
fn odd() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        ("docs", with_section("package-docs", b"\x01{damaged"), "package-docs"),
        ("own-docs", with_section("portcullis:docs", b"\xff\xff"), "portcullis:docs"),
        ("requests", with_section("portcullis:requests", b"["), "portcullis:requests"),
        (
            "nobody",
            with_section("portcullis:docs", br#"{"interfaces":{"a:b/c":{"funcs":{"f":{"docs":"d"}}}}}"#),
            "portcullis:docs",
        ),
    ]
}

#[test]
fn each_file_is_told_for_what_it_is_and_hides_no_other() {
    let mut config = format!("[plugins.echo]\nsource = {:?}\n", guests::ECHO);
    let files: Vec<_> = broken().into_iter().chain(odd()).collect();
    let names = files.iter().map(|(name, ..)| *name).chain(["huge", "fifo", "folder", "loop"]);
    config.extend(names.map(|name| format!("[plugins.{name}]\nsource = \"{name}.wasm\"\n")));
    let folder = Folder::new(&config);
    for (name, bytes, _) in files {
        folder.write(&format!("{name}.wasm"), bytes);
    }
    let path = |name: &str| folder.path().join(name);
    let huge = fs::File::create(path("huge.wasm")).expect("a file");
    huge.set_len((256 << 20) + 1).expect("a sparse file");
    let made = std::process::Command::new("mkfifo").arg(path("fifo.wasm")).status().expect("mkfifo");
    assert!(made.success());
    fs::create_dir(path("folder.wasm")).expect("a folder");
    std::os::unix::fs::symlink("loop.wasm", path("loop.wasm")).expect("a link");

    let expected = broken().into_iter().map(|(name, _, text)| (name, text));
    let expected: Vec<_> = expected
        .chain([
            ("huge", "larger than 256 MiB"),
            ("fifo", "not a regular file"),
            ("folder", "not a regular file"),
            ("loop", "Too many levels of symbolic links"),
        ])
        .collect();
    folder.approve_all();
    let (code, list) = folder.json(&["list", "--json"]);
    assert_eq!(code, Some(1));
    let plugin = |name: &str| {
        let found = list.as_array().expect("plugins").iter().find(|plugin| plugin["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("no {name} in {list:#}"))
    };
    let holds = |name: &str, told: &Value, text: &str| {
        assert!(told.to_string().contains(text), "{name}: no {text:?} in {told}");
    };
    for (name, text) in &expected {
        let plugin = plugin(name);
        assert_eq!(plugin["state"], "broken", "{name}");
        assert_eq!(plugin["tools"], Value::Array(Vec::new()), "{name}");
        holds(name, &plugin["reason"], text);
    }
    for (name, _, text) in odd() {
        let plugin = plugin(name);
        assert_eq!(plugin["state"], "approved", "{name}: {plugin}");
        assert_eq!(plugin["tools"].as_array().map(Vec::len), Some(1), "{name}");
        holds(name, &plugin["warnings"], text);
    }
    assert_eq!(plugin("echo")["state"], "approved");

    let (code, doctor) = folder.json(&["doctor", "--json"]);
    assert_eq!((code, &doctor["ok"]), (Some(1), &Value::Bool(false)));
    let told = doctor["findings"].to_string();
    for (name, _) in &expected {
        assert!(told.contains(&format!("plugin `{name}` is broken: ")), "{name} in {told}");
    }
    for (name, ..) in odd() {
        assert!(told.contains(&format!("plugin `{name}` warns: ")), "{name} in {told}");
    }
    let (code, checked) = folder.json(&["check", "--json"]);
    assert_eq!((code, &checked["ok"]), (Some(1), &Value::Bool(false)));
    let (code, called) = folder.json(&["call", "echo_echo", r#"{"text":"on"}"#, "--json"]);
    assert_eq!((code, &called["result"]["result"]), (Some(0), &Value::from("on")));
    let strict = folder.run(&["serve", "--stdio", "--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(strict.stdout.is_empty());
}
