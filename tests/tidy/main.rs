//! What must stay true of the house itself: its walls, its sizes, its file heads.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests end that way, and so do the functions beside them"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The rooms, and which rooms each may use (`host/ARCHITECTURE.md`, "The rooms").
const ROOMS: [(&str, &[&str]); 9] = [
    ("policy", &[]),
    ("audit", &["policy"]),
    ("store", &["policy"]),
    ("runtime", &["policy", "audit", "store"]),
    ("trust", &["policy"]),
    ("catalogue", &["policy", "audit", "store", "runtime", "trust"]),
    ("gateway", &["policy", "audit", "store", "catalogue"]),
    ("authoring", &["policy", "trust", "runtime", "catalogue"]),
    ("cli", &["policy", "audit", "store", "trust", "runtime", "catalogue", "gateway", "authoring"]),
];

/// Crates from outside that one room alone may know.
const SECRETS: [(&str, &str); 16] = [
    ("wasmtime", "runtime"),
    ("wasmtime-wasi", "runtime"),
    ("wasmtime-wasi-http", "runtime"),
    ("cap-std", "runtime"),
    ("hmac", "runtime audit trust"),
    ("redb", "store"),
    ("redis", "store"),
    ("rmcp", "gateway"),
    ("axum", "gateway"),
    ("jsonwebtoken", "gateway"),
    ("clap", "cli"),
    ("anyhow", "cli"),
    ("schemars", "cli"),
    ("tracing-subscriber", "cli"),
    ("cargo_metadata", "authoring"),
    ("notify", "authoring cli"),
];

/// Lines of a source file at which it has to be split, by subject.
const MAX_LINES: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root")
}

/// The dependencies of each room that are part of the product, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--offline".to_owned(), "--locked".to_owned()])
        .no_deps()
        .exec()
        .expect("the workspace's metadata");
    let rooms = metadata.packages.into_iter().filter_map(|package| {
        let folder =
            package.manifest_path.parent()?.strip_prefix(root().canonicalize().ok()?.to_str()?).ok()?.to_owned();
        let room = folder.strip_prefix("host").ok()?.to_string();
        let used = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        Some((room, used.map(|dependency| dependency.name.clone()).collect()))
    });
    rooms.collect()
}

/// Arrows that the table does not allow.
fn trespasses(dependencies: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut trespasses = Vec::new();
    for (room, used) in dependencies {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| name == room) else {
            trespasses.push(format!("the room `{room}` is not in the table"));
            continue;
        };
        for dependency in used {
            let into = dependency.strip_prefix("portcullis-").filter(|into| !allowed.contains(into));
            trespasses.extend(into.map(|into| format!("`{room}` uses the room `{into}`")));
            let secret =
                SECRETS.iter().find(|(secret, owners)| secret == dependency && !owners.split(' ').any(|o| o == room));
            trespasses.extend(
                secret.map(|(secret, owners)| format!("`{room}` uses `{secret}`, which only `{owners}` knows")),
            );
        }
    }
    trespasses
}

#[test]
fn the_walls_stand() {
    let dependencies = dependencies();
    let rooms: Vec<_> = dependencies.keys().map(String::as_str).collect();
    let mut expected: Vec<_> = ROOMS.iter().map(|(room, _)| *room).collect();
    expected.sort_unstable();
    assert_eq!(rooms, expected);
    assert_eq!(trespasses(&dependencies), Vec::<String>::new());
}

#[test]
fn a_new_arrow_would_be_seen() {
    let mut dependencies = dependencies();
    dependencies.get_mut("policy").expect("a room").extend(["portcullis-audit".to_owned(), "wasmtime".to_owned()]);
    assert_eq!(
        trespasses(&dependencies),
        ["`policy` uses the room `audit`", "`policy` uses `wasmtime`, which only `runtime` knows"]
    );
}

/// Every source file of ours, with its text. Build output and installed tools are not ours.
fn sources(extension: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && !["target", "node_modules", "dist"].contains(&name) {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push((path.clone(), fs::read_to_string(&path).expect("text")));
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["host", "plugins", "tests"] {
        walk(&root().join(folder), extension, &mut found);
    }
    found
}

#[test]
fn files_say_what_they_hold_and_stay_small() {
    let sources = sources("rs");
    assert!(sources.len() > 50, "the sources were not found");
    for (path, text) in sources {
        let path = path.display();
        let head = text.lines().find(|line| !line.starts_with("#!["));
        assert!(head.is_some_and(|line| line.starts_with("//!")), "{path} does not open with `//!`");
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{path} has {lines} lines: split it by subject");
    }
}

#[test]
fn unsafe_code_is_in_one_file() {
    for (path, text) in sources("rs") {
        let Ok(path) = path.strip_prefix(root().join("host")) else { continue };
        let shown = path.display().to_string();
        if text.contains("unsafe {") {
            assert_eq!(shown, "runtime/src/native.rs", "unsafe code");
        }
        if shown.ends_with("src/lib.rs") || shown.ends_with("src/main.rs") {
            let forbids = text.contains("#![forbid(unsafe_code)]") || shown.starts_with("runtime/");
            assert!(forbids, "{shown} does not forbid unsafe code");
        }
    }
}

#[test]
fn the_top_level_holds_what_was_agreed() {
    let agreed = ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "host", "plugins", "tests", "wit"];
    let mut there: Vec<_> = fs::read_dir(root())
        .expect("the root")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    there.sort();
    assert_eq!(there, agreed);
}
