//! Which toolchains of JavaScript and Python are here: for people who ask, nothing is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::find::Language;
use crate::process::{Running, Stop, tail};
use crate::{javascript, python, reading};

/// The most entries of a folder that are looked at: an environment with every package there is has fewer.
const MAX_ENTRIES: usize = 10_000;
/// How long a program may take to say its version, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest manifest of a package that is read for its version, in bytes.
const MAX_MANIFEST: u64 = 1 << 20;
/// Bytes of a version that are shown: a program may say anything.
const MAX_VERSION: usize = 64;

/// A toolchain, by what was found of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// What it builds.
    pub language: Language,
    /// Whether it would run.
    pub found: bool,
    /// Where it is and of which version, or what is missing. In one line, not escaped.
    pub what: String,
    /// The command that installs what is missing, for the plugin's folder.
    pub hint: Option<String>,
}

/// Looks for the toolchains of plugins in `dirs`: each as a build of the first of them that has one would find it.
///
/// Blocks: Node is asked for its version, ten seconds at most. Nothing that lies in one of the folders is run.
pub fn toolchains(dirs: &[PathBuf]) -> [Toolchain; 2] {
    [node(dirs), componentize_py(dirs)]
}

fn node(dirs: &[PathBuf]) -> Toolchain {
    let language = Language::JavaScript;
    let missing = |what: String, hint: String| Toolchain { language, found: false, what, hint: Some(hint) };
    let package = javascript::PACKAGE;
    let Some(node) = dirs.iter().find_map(|dir| javascript::toolchain(dir)) else {
        let hint = format!("npm install --save-dev {package}@{}", javascript::VERSION);
        return missing(format!("`{package}` is not installed"), hint);
    };
    let manifest = node.package();
    let at = manifest.parent().unwrap_or(&manifest).display();
    let Some(of_node) = version(&node.program, "node") else {
        let hint = "install Node.js 20 or later as https://nodejs.org says".to_owned();
        return missing(format!("`{}` does not run, for `{package}` in `{at}`", node.program.display()), hint);
    };
    let told = reading::text(&manifest, MAX_MANIFEST).unwrap_or_default();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_default();
    let own = told.get("version").and_then(|version| version.as_str()).unwrap_or("of no known version");
    let what = format!("Node {of_node} (`{}`) with `{package}` {} in `{at}`", node.program.display(), short(own));
    Toolchain { language, found: true, what, hint: None }
}

fn componentize_py(dirs: &[PathBuf]) -> Toolchain {
    let language = Language::Python;
    let program = python::PROGRAM;
    let Some((found, _)) = dirs.iter().find_map(|dir| python::toolchain(dir)) else {
        let venv = python::VENV;
        let hint = format!("python3 -m venv {venv} && {venv}/bin/pip install {program}=={}", python::VERSION);
        return Toolchain { language, found: false, what: format!("`{program}` is not installed"), hint: Some(hint) };
    };
    let own = installed(&found).unwrap_or_else(|| "of no known version".to_owned());
    Toolchain { language, found: true, what: format!("{program} {own} (`{}`)", found.display()), hint: None }
}

/// The version of a Python program, from what pip wrote when it put it there. It is not run: the environment may have come
/// with the plugin, and whoever asks what is here has not said yet that it may run.
fn installed(program: &Path) -> Option<String> {
    let versions = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_ENTRIES);
    for python in versions(program.parent()?.parent()?.join("lib")) {
        for packages in ["site-packages", "dist-packages"] {
            let names = versions(python.path().join(packages)).filter_map(|entry| entry.file_name().into_string().ok());
            let record = format!("{}-", python::PROGRAM.replace('-', "_"));
            let found = names
                .filter_map(|name| Some(name.strip_prefix(&record)?.strip_suffix(".dist-info")?.to_owned()))
                .next();
            if let Some(version) = found {
                return Some(short(&version));
            }
        }
    }
    None
}

/// The first line that a program says when it is asked.
fn version(program: &Path, name: &'static str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running::start(&mut command, name).ok()?;
    let said = running.stdout().map(|pipe| Running::reading(pipe, tail));
    let status = running.wait(PATIENCE, &Stop::default()).ok()?;
    let said = said?.end()?;
    let first = said.lines().next()?;
    status.success().then(|| short(first))
}

fn short(text: &str) -> String {
    text.chars().take(MAX_VERSION).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// In a plugin's own folder. It may have come with the plugin, and is not run.
    #[test]
    fn a_toolchain_of_a_plugins_folder_is_found_and_not_run() {
        let root = tempfile::tempdir().unwrap();
        let dirs = ["one", "two"].map(|name| root.path().join(name));
        let venv = dirs[1].join(".venv");
        let program = venv.join("bin/componentize-py");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, format!("#!/bin/sh\ntouch {}\necho 1.2.3\n", root.path().join("ran").display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let what = |version: &str| format!("componentize-py {version} (`{}`)", program.display());
        let found = componentize_py(&dirs[1..]);
        assert_eq!((found.found, found.what, found.hint), (true, what("of no known version"), None));
        let long = format!("9{}", "0".repeat(200));
        for version in ["9.9.9", &long] {
            let record = venv.join(format!("lib/python3.13/site-packages/componentize_py-{version}.dist-info"));
            fs::create_dir_all(&record).unwrap();
            assert_eq!(componentize_py(&dirs[1..]).what, what(&short(version)));
            fs::remove_dir(&record).unwrap();
        }
        assert!(!root.path().join("ran").exists());
    }
}
