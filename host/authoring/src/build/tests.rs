//! What goes into components, checked by what other tools read out of them.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_artifacts as artifacts;
use serde_json::{Value, json};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldKey};

use super::*;
use crate::sections::{DOCS, PACKAGE_DOCS, REQUESTS};

/// A component that has what this WIT says and does nothing, as it comes from rustc: without doc comments.
fn component(wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// The WIT as a file, for as long as the folder lives.
fn wit_file(wit: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.wit");
    fs::write(&path, wit).unwrap();
    (dir, path)
}

fn finish_with(component: &[u8], wit: &str) -> (Vec<u8>, Vec<String>) {
    let (_dir, path) = wit_file(wit);
    let done = finish(component, &path, &Requests::default()).unwrap();
    assert!(wit_component::decode(&done.0).is_ok());
    done
}

/// The sections of that name, of the component itself, without their first `skip` bytes.
fn sections(bytes: &[u8], name: &str, skip: usize) -> Vec<Value> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CustomSection(section) = payload.unwrap()
            && section.name() == name
        {
            found.push(serde_json::from_slice(&section.data()[skip..]).unwrap());
        }
    }
    found
}

fn docs(bytes: &[u8]) -> Value {
    let mut found = sections(bytes, DOCS, 1);
    assert!(found.len() < 2);
    found.pop().unwrap_or_default()
}

const INTERFACES: &str = r#"
    package a:b@1.2.3;

    /// Words.
    interface words {
        /// A word.
        record word {
            /// As it is written.
            text: string,
            count: u32,
        }
        /// Of no tool.
        unrelated: func();
    }

    interface middle {
        use words.{word};
        /// Either.
        variant either {
            /// The one.
            left(word),
            right,
        }
    }

    /// Tools.
    interface tools {
        use middle.{either};
        /// Turns it.
        ///
        /// Twice.
        turn: func(value: either) -> either;
        silent: func();
        /// A thing.
        resource thing {
            /// A method.
            go: func();
        }
    }

    world other {
        export words;
    }

    world w {
        export tools;
        /// Written in the world.
        export inner: interface {
            /// Of its own.
            go: func();
        }
    }
"#;

#[test]
fn interfaces_are_described_by_full_id() {
    let bare = component(INTERFACES);
    assert_eq!(docs(&bare), Value::Null, "the encoder leaves doc comments out");
    let (bytes, warnings) = finish_with(&bare, INTERFACES);
    assert_eq!(
        docs(&bytes),
        json!({ "interfaces": {
            "a:b/middle@1.2.3": {
                "types": { "either": { "docs": "Either.", "items": { "left": "The one." } } },
            },
            "a:b/tools@1.2.3": {
                "docs": "Tools.",
                "funcs": { "turn": { "docs": "Turns it.\n\nTwice." } },
                "types": { "thing": { "docs": "A thing." } },
            },
            "a:b/words@1.2.3": {
                "docs": "Words.",
                "types": { "word": { "docs": "A word.", "items": { "text": "As it is written." } } },
            },
            "inner": { "docs": "Written in the world.", "funcs": { "go": { "docs": "Of its own." } } },
        } })
    );
    assert_eq!(sections(&bytes, PACKAGE_DOCS, 1), Vec::<Value>::new());
    assert_eq!(warnings, ["a model sees only the name of a function without a doc comment: `a:b/tools@1.2.3#silent`"]);
}

const WORLD: &str = r#"
    package a:b;

    world w {
        /// A colour.
        enum colour {
            /// As blood.
            red,
            green,
        }
        /// Some.
        flags some { a, b }
        /// Paints it.
        export paint: func(value: colour) -> some;
        export silent: func();
    }
"#;

#[test]
fn the_world_is_described_as_every_decoder_expects() {
    let (bytes, warnings) = finish_with(&component(WORLD), WORLD);
    assert_eq!(
        sections(&bytes, PACKAGE_DOCS, 1),
        [json!({ "worlds": { "root": {
            "func_exports": { "paint": { "docs": "Paints it." } },
            "types": {
                "colour": { "docs": "A colour.", "items": { "red": "As blood." } },
                "some": { "docs": "Some." },
            },
        } } })]
    );
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&bytes).unwrap() else {
        panic!("a component");
    };
    let paint = &resolve.worlds[world].exports[&WorldKey::Name("paint".into())];
    let wit_parser::WorldItem::Function(paint) = paint else {
        panic!("a function");
    };
    assert_eq!(paint.docs.contents.as_deref(), Some("Paints it."));
    assert_eq!(docs(&bytes), Value::Null);
    assert_eq!(warnings, ["a model sees only the name of a function without a doc comment: `silent`"]);
}

#[test]
fn a_second_time_changes_nothing() {
    for wit in [INTERFACES, WORLD] {
        let bare = component(wit);
        let (once, _) = finish_with(&bare, wit);
        let (twice, _) = finish_with(&once, wit);
        let (again, _) = finish_with(&bare, wit);
        assert!(once == twice && once == again);
        assert!(once.starts_with(&bare), "what rustc made stays as it is");
        // What is gone from the WIT goes from the component.
        let silent: Vec<&str> = wit.lines().filter(|line| !line.contains("///")).collect();
        let (without, _) = finish_with(&once, &silent.join("\n"));
        assert!(without == bare);
    }
}

#[test]
fn wit_that_does_not_fit_is_a_warning() {
    let bare = component(WORLD);
    // Names that the component does not have, types of other shapes, and worlds that are not its own.
    for (wit, expected) in [
        (WORLD.replace("green", "/// Fresh.\n blue").replace("red", "/// x\n violet"), None),
        (WORLD.replace("enum colour", "flags colour"), None),
        (WORLD.replace("paint", "draw"), Some("a model sees only the name")),
        ("package c:d; world x { /// Y.\n export y: func(); }".into(), Some("a model sees only the name")),
        ("package c:d; interface only {}".into(), None),
        ("nonsense".into(), Some("the tools have no descriptions, since the WIT cannot be read: ")),
    ] {
        let (bytes, warnings) = finish_with(&bare, &wit);
        assert!(!sections(&bytes, PACKAGE_DOCS, 1).iter().any(|docs| docs.to_string().contains("violet")), "{wit}");
        if let Some(expected) = expected {
            assert!(warnings.iter().any(|warning| warning.starts_with(expected)), "{wit}: {warnings:?}");
        }
    }
    let (bytes, warnings) = finish(&bare, Path::new("/no/wit"), &Requests::default()).unwrap();
    assert!(bytes == bare);
    assert_eq!(warnings, ["the tools have no descriptions: there is no `/no/wit`"]);
    let (_, warnings) = finish_with(&component(INTERFACES), WORLD);
    assert!(
        warnings.contains(&"the tools of `a:b/tools@1.2.3` have no descriptions: the WIT has no such interface".into()),
        "{warnings:?}"
    );
}

#[test]
fn too_much_text_is_told() {
    let long = WORLD.replace("Paints it.", &"x".repeat(5000));
    let (_, warnings) = finish_with(&component(WORLD), &long);
    assert_eq!(warnings[0], "the doc comment of `paint` has 5000 bytes, and the host refuses more than 4096");
    let (_dir, path) = wit_file(&WORLD.replace("Paints it.", &"x".repeat(1 << 20)));
    let error = finish(&component(WORLD), &path, &Requests::default()).unwrap_err();
    assert!(
        matches!(&error, BuildError::Sections { source: SectionsError::TooLarge { name: PACKAGE_DOCS, .. }, .. }),
        "{error}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn what_is_no_component_is_refused() {
    for (bytes, expected) in
        [(b"\0asm\x01\0\0\0".as_slice(), "a core module"), (b"", "not a component"), (b"#!/bin/sh", "not a component")]
    {
        let error = finish(bytes, Path::new("/no/wit"), &Requests::default()).unwrap_err();
        let BuildError::Sections { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(source.to_string().starts_with(expected), "{source}");
    }
}

#[test]
fn every_guest_decodes_with_its_sections() {
    let requests = toml::from_str("[[env]]\nname = \"UNITS\"\nreason = \"metric or imperial\"\n").unwrap();
    for (name, path) in artifacts::GUESTS {
        let bare = fs::read(path).unwrap();
        let (bytes, _) = finish(&bare, Path::new(artifacts::TYPES_WIT), &requests).unwrap();
        assert!(wit_component::decode(&bytes).is_ok(), "{name}");
        assert_eq!(
            sections(&bytes, REQUESTS, 0),
            [json!({ "env": [{ "name": "UNITS", "reason": "metric or imperial" }] })],
            "{name}"
        );
        let described = docs(&bytes)["interfaces"]["test:types/types"].clone();
        assert_eq!(*name == "types", described.is_object(), "{name}");
        if *name == "types" {
            assert_eq!(described["funcs"]["id-bool"]["docs"], "Truth.");
            assert_eq!(described["types"]["permissions"]["items"]["read"], "Look.");
        }
    }
}

/// Builds with the files of the guests' build, where `wit-bindgen` is built already, and where no other cargo of this
/// machine holds the lock.
fn build_here(dir: &Path) -> Result<Built, BuildError> {
    let release = Path::new(artifacts::HELLO).parent().unwrap();
    let target = release.parent().unwrap().parent().unwrap();
    build_into(dir, &BuildOptions { quiet: true, ..BuildOptions::default() }, Some(target))
}

/// The whole of it, on the tutorial: a copy by another name, so that the repository's folder and the artefacts stay as
/// they are.
#[test]
fn hello_builds_twice_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("hello");
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/hello");
    for file in ["Cargo.toml", "Cargo.lock", "src/lib.rs", "wit/hello.wit"] {
        fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
        let text = fs::read_to_string(hello.join(file)).unwrap();
        fs::write(dir.join(file), text.replace("name = \"hello\"", "name = \"hello-again\"")).unwrap();
    }

    let first = build_here(&dir).unwrap();
    assert_eq!(first.name.as_str(), "hello-again");
    assert_eq!(first.component, dir.canonicalize().unwrap().join("dist/hello-again.wasm"));
    assert_eq!(fs::read(&first.component).unwrap(), first.bytes);
    assert!(wit_component::decode(&first.bytes).is_ok());
    assert_eq!(first.warnings, Vec::<String>::new());
    assert!(docs(&first.bytes)["interfaces"]["example:hello/greetings@0.1.0"]["funcs"]["greet"]["docs"].is_string());

    let second = build_here(&dir).unwrap();
    assert!(first.bytes == second.bytes);
    assert_eq!(fs::read_dir(dir.join("dist")).unwrap().count(), 1, "nothing is left beside it");

    fs::write(dir.join("requests.toml"), "[[env]]\nname = \"A\"\n").unwrap();
    let error = build_here(&dir).unwrap_err();
    assert!(matches!(error, BuildError::Requests(_)), "{error}");
    fs::remove_file(dir.join("requests.toml")).unwrap();

    fs::write(dir.join("src/lib.rs"), "compile_error!(\"as it should\");").unwrap();
    let error = build_here(&dir).unwrap_err();
    assert!(matches!(error, BuildError::Cargo(CargoError::Refused { .. })), "{error}");

    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
    fs::write(dir.join("Cargo.toml"), manifest.replace("cdylib", "rlib")).unwrap();
    fs::write(dir.join("src/lib.rs"), "").unwrap();
    let error = build_here(&dir).unwrap_err();
    assert!(matches!(&error, BuildError::NotBuilt { reason: NotBuilt::NoCdylib, .. }), "{error}");
    assert_eq!(error.hint().as_deref(), Some("write in its `Cargo.toml`, in `[lib]`: crate-type = [\"cdylib\"]"));
    assert_eq!(fs::read(&first.component).unwrap(), first.bytes, "what was built stays");
}

#[test]
fn a_workspace_with_one_plugin_is_built_and_one_with_two_is_not() {
    let root = tempfile::tempdir().unwrap();
    let manifest =
        |name| format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n");
    for name in ["a-one", "b-two"] {
        fs::create_dir_all(root.path().join(name).join("src")).unwrap();
        fs::write(root.path().join(name).join("Cargo.toml"), manifest(name)).unwrap();
        fs::write(root.path().join(name).join("src/lib.rs"), "").unwrap();
    }
    fs::write(root.path().join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"a-one\"]\n").unwrap();
    let built = build_here(root.path()).unwrap();
    assert!(built.component.ends_with("dist/a-one.wasm"), "{}", built.component.display());

    fs::write(root.path().join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"*-*\"]\n").unwrap();
    let error = build_here(root.path()).unwrap_err();
    let BuildError::Cargo(CargoError::Several { names, .. }) = &error else {
        panic!("{error}");
    };
    assert_eq!(names, &["a_one", "b_two"]);
}

#[test]
fn a_folder_without_a_plugin_is_told_from_one_that_does_not_build() {
    let root = tempfile::tempdir().unwrap();
    let error = build_here(root.path()).unwrap_err().to_string();
    assert!(error.ends_with("is not built: it has no `Cargo.toml`, `package.json` or `pyproject.toml`"), "{error}");
    fs::write(root.path().join("package.json"), "{}").unwrap();
    let error = build_here(root.path()).unwrap_err();
    assert!(error.to_string().ends_with("its `package.json` does not say that it is a plugin"), "{error}");
    assert_eq!(error.hint().as_deref(), Some("write in its `package.json`: \"portcullis\": {}"));
    let error = build_here(&root.path().join("none")).unwrap_err();
    assert!(matches!(error, BuildError::File { deed: "read", .. }), "{error}");
}

#[test]
fn a_missing_target_is_answered_with_the_command() {
    assert_eq!(BuildError::from(CargoError::MissingTarget).hint().as_deref(), Some("rustup target add wasm32-wasip2"));
}

/// What a hostile folder says of itself ends before a toolchain is looked for, or is bounded.
#[test]
fn a_hostile_folder_is_told_and_nothing_outside_it_is_looked_at() {
    use std::os::unix::fs::symlink;
    const WIT: &str = "package a:b;\nworld w { export run: func(); }\n";
    type Make = fn(&Path);
    let js = |more: &str| format!(r#"{{"name": "a", "type": "module"{more}}}"#);
    let cases: [(&str, String, Make, &str); 16] = [
        ("wit above", js(r#", "portcullis": {"wit": "../../.."}"#), |_| {}, "`portcullis.wit` must be a path inside"),
        ("wit absolute", js(r#", "portcullis": {"wit": "/etc"}"#), |_| {}, "`portcullis.wit` must be a path inside"),
        ("main above", js(r#", "portcullis": {}, "main": "a/../../x.js""#), |_| {}, "`main` must be a path inside"),
        ("a name with /", js(r#", "portcullis": {}"#).replace("\"a\"", "\"a/b\""), |_| {}, "no name for a plugin"),
        ("a name with ..", js(r#", "portcullis": {}"#).replace("\"a\"", "\"..\""), |_| {}, "no name for a plugin"),
        ("a scope", js(r#", "portcullis": {}"#).replace("\"a\"", "\"@a/../b\""), |_| {}, "no name for a plugin"),
        (
            "wit by a link",
            js(r#", "portcullis": {}"#),
            |dir| {
                fs::remove_dir_all(dir.join("wit")).unwrap();
                symlink("../outside", dir.join("wit")).unwrap();
            },
            "wit` leads out of the plugin's folder",
        ),
        (
            "wit below a link",
            js(r#", "portcullis": {"wit": "up/outside"}"#),
            |dir| symlink("..", dir.join("up")).unwrap(),
            "up/outside` leads out of the plugin's folder",
        ),
        (
            "main by a link",
            js(r#", "portcullis": {}"#),
            |dir| symlink("../outside/index.js", dir.join("index.js")).unwrap(),
            "index.js` leads out of the plugin's folder",
        ),
        (
            "main in a circle",
            js(r#", "portcullis": {}"#),
            |dir| symlink("index.js", dir.join("index.js")).unwrap(),
            "index.js` leads out of the plugin's folder",
        ),
        (
            "a pipe for WIT",
            js(r#", "portcullis": {}"#),
            |dir| pipe(&dir.join("wit/b.wit")),
            "wit/b.wit`: it is no ordinary file",
        ),
        (
            "a pipe for requests",
            js(r#", "portcullis": {}"#),
            |dir| pipe(&dir.join("requests.toml")),
            "it is no ordinary file",
        ),
        (
            "zeros for requests",
            js(r#", "portcullis": {}"#),
            |dir| symlink("/dev/zero", dir.join("requests.toml")).unwrap(),
            "it is no ordinary file",
        ),
        (
            "100 MB",
            String::new(),
            |dir| {
                fs::remove_file(dir.join("package.json")).unwrap();
                fs::File::create(dir.join("pyproject.toml")).unwrap().set_len(100_000_000).unwrap();
            },
            "its `pyproject.toml` cannot be read: larger than 1048576 bytes",
        ),
        (
            "a module by a link",
            String::new(),
            |dir| {
                fs::remove_file(dir.join("package.json")).unwrap();
                fs::write(dir.join("pyproject.toml"), "[project]\nname = \"a\"\n[tool.portcullis]\n").unwrap();
                symlink("../outside/app.py", dir.join("app.py")).unwrap();
            },
            "app.py` leads out of the plugin's folder",
        ),
        (
            "folders in a circle",
            js(r#", "portcullis": {}"#),
            |dir| symlink(".", dir.join("wit/deps")).unwrap(),
            "two different locations",
        ),
    ];
    for (name, manifest, make, expected) in cases {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("plugin");
        for folder in [dir.join("wit"), root.path().join("outside")] {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("a.wit"), WIT).unwrap();
        }
        fs::write(root.path().join("outside/index.js"), "export const run = () => {};\n").unwrap();
        fs::write(root.path().join("outside/app.py"), "").unwrap();
        fs::write(dir.join("package.json"), manifest).unwrap();
        make(&dir);
        let error = build(&dir, &BuildOptions::default()).unwrap_err();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let said = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(said.contains(expected) && said.len() < 1000, "{name}: {said}");
        assert!(!dir.join("dist").exists(), "{name}");
    }
}

fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// What a source does when it is loaded runs in the toolchain's process, within a time, and what it says there is read and dropped.
#[test]
fn a_source_that_never_ends_or_never_is_silent_is_bounded() {
    let js = r#"{"name": "a", "type": "module", "portcullis": {}}"#;
    let py = "[project]\nname = \"a\"\n[tool.portcullis]\n";
    let made = |manifest: (&str, &str), source: (&str, &str)| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("wit")).unwrap();
        for (path, text) in [manifest, source, ("wit/a.wit", "package a:b;\nworld w { export run: func(); }\n")] {
            fs::write(dir.path().join(path), text).unwrap();
        }
        dir
    };
    let options = BuildOptions { time: Some(Duration::from_secs(3)), ..BuildOptions::default() };
    for dir in [
        made(("package.json", js), ("index.js", "for (;;) {}\nexport const run = () => {};\n")),
        made(("pyproject.toml", py), ("app.py", "while True: pass\n")),
    ] {
        let began = std::time::Instant::now();
        match build(dir.path(), &options) {
            Err(error) if error.is_missing_tool() => eprintln!("skipped: {error}"),
            Err(BuildError::Tool { source: ToolError::Process(ProcessError::TimedOut { .. }), .. }) => {}
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() < 10 * options.time.unwrap());
    }
    let talk = "x = 'x' * (1 << 20)\nfor _ in range(1024): print(x, flush=True)\nraise Exception('the end')\n";
    match build(made(("pyproject.toml", py), ("app.py", talk)).path(), &BuildOptions::default()) {
        Err(error) if error.is_missing_tool() => eprintln!("skipped: {error}"),
        Err(error) => assert!(error.said().is_some_and(|said| said.len() <= 16 << 10), "{error:?}"),
        Ok(built) => panic!("{built:?}"),
    }
}
