//! Builds `tests/guests` and the Rust plugins for `wasm32-wasip2`, and writes a constant for each.
//!
//! Into a target directory of its own: the one of the host is locked by the cargo that runs this.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const TARGET: &str = "wasm32-wasip2";
/// The plugins of `plugins/` that are Rust. Each is a workspace of its own; in one target directory they share what they
/// depend on, and cargo builds one after the other there.
const PLUGINS: [&str; 6] = ["agents", "context", "hello", "messages", "support", "tasks"];
/// What they have in common, beneath `plugins/`.
const SHELF: &str = "shared/shelf";
const MISSING: &str = "the guests of the tests need the target wasm32-wasip2: run `rustup target add wasm32-wasip2`";

/// What the inner cargo may see of cargo's variables: where the registries are, how to reach them, and the jobserver.
/// All else (flags, wrappers, profiles, the outer package) is meant for the host and would leak into the guests.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
];

fn main() {
    if let Err(error) = run() {
        println!("cargo::error={error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../..");
    let root = root.canonicalize().map_err(|error| format!("no workspace at `{}`: {error}", root.display()))?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    let (guests, plugins) = (root.join("tests/guests"), root.join("plugins"));
    let shelf = plugins.join(SHELF);
    for input in [&guests, &shelf, &shelf.join("src"), &root.join("wit")] {
        watch(input)?;
    }
    require_target()?;
    cargo(&guests, &out, &["--examples"])?;
    for name in PLUGINS {
        let plugin = plugins.join(name);
        for input in [&plugin, &plugin.join("src"), &plugin.join("wit")] {
            watch(input)?;
        }
        cargo(&plugin, &out, &[])?;
    }

    let built = out.join("target").join(TARGET).join("release");
    let mut constants = format!(
        "/// The WIT package of [`TYPES`], with its doc comments.\npub const TYPES_WIT: &str = {:?};\n",
        existing(guests.join("types.wit"))?,
    );
    let mut all = String::new();
    for name in PLUGINS {
        let (constant, path) = (name.to_uppercase(), existing(built.join(format!("{name}.wasm")))?);
        put(
            &mut constants,
            format_args!(
                "/// `plugins/{name}`, without the sections that `portcullis build` adds.\n\
                 pub const {constant}: &str = {path:?};\n"
            ),
        );
        put(&mut all, format_args!("({name:?}, {constant}), "));
    }
    put(
        &mut constants,
        format_args!("/// Name and path of each Rust plugin.\npub const PLUGINS: &[(&str, &str)] = &[{all}];\n"),
    );
    let (mut all, mut calls) = (String::new(), String::new());
    for name in guest_names(&guests)? {
        let ident = name.replace('-', "_");
        let path = existing(built.join("examples").join(format!("{ident}.wasm")))?;
        let constant = ident.to_uppercase();
        put(
            &mut constants,
            format_args!("/// The guest of `tests/guests/{name}.rs`.\npub const {constant}: &str = {path:?};\n"),
        );
        put(&mut all, format_args!("({name:?}, {constant}), "));
        put(&mut calls, format_args!("$check!({ident}); "));
    }
    put(
        &mut constants,
        format_args!(
            "/// Name and path of each guest.\npub const GUESTS: &[(&str, &str)] = &[{all}];\n\
             /// Calls `$check!(name)` for each guest, so that a list of tests that forgets one does not compile.\n\
             #[macro_export]\nmacro_rules! foreach_guest {{ ($check:ident) => {{ {calls} }}; }}\n"
        ),
    );
    fs::write(out.join("guests.rs"), constants).map_err(|error| format!("cannot write guests.rs: {error}"))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("cargo did not set {name}"))
}

/// The library directory exists for each installed target, by rustup or by a distribution's package.
fn require_target() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run rustc: {error}"))?;
    let libraries = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
    if printed.status.success() && Path::new(&libraries).is_dir() { Ok(()) } else { Err(MISSING.into()) }
}

fn cargo(package: &Path, out: &Path, more: &[&str]) -> Result<(), String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let shown = name.to_string_lossy();
        let of_cargo = shown.starts_with("CARGO") || shown.starts_with("DEP_");
        let of_rustc = shown.starts_with("RUSTC") || shown.starts_with("RUSTDOC") || shown == "RUSTFLAGS";
        let of_clippy = shown == "CLIPPY_ARGS" || shown == "CLIPPY_CONF_DIR";
        if (of_cargo && !KEPT.iter().any(|kept| shown.starts_with(kept))) || of_rustc || of_clippy {
            cargo.env_remove(name);
        }
    }
    let done = cargo
        .current_dir(package)
        .args(["build", "--quiet", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(out.join("target"))
        .args(more)
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    // Each line of its own, since a cargo directive ends with its line.
    for line in String::from_utf8_lossy(&done.stderr).lines() {
        println!("cargo::error={line}");
    }
    Err(format!("cannot build `{}`", package.display()))
}

/// Each Rust file is a guest: one that the manifest forgets is found here, for want of its component.
fn guest_names(guests: &Path) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = files(guests)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// The files of a directory and no deeper, so that a stray `target` in it is not watched.
fn watch(directory: &Path) -> Result<(), String> {
    for file in files(directory)? {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map(|paths| paths.into_iter().filter(|path| path.is_file()).collect())
        .map_err(|error| format!("cannot read `{}`: {error}", directory.display()))
}

fn existing(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("`{}` is missing: is it in the manifest as a cdylib example?", path.display()))
    }
}

fn put(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(more);
}
