//! Which folders hold plugins, told from their files alone. Nothing is built or run for it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use portcullis_policy::{NameError, PluginName};

use crate::{javascript, python, reading};

/// Folders that are never plugins, nor sources of one: what builds and package managers make. Nor is anything whose name
/// begins with a dot.
const SKIPPED: [&str; 5] = ["target", "dist", "node_modules", "__pycache__", "venv"];
/// The manifest of a Rust plugin.
const CARGO: &str = "Cargo.toml";
/// The largest manifest that is read, in bytes: somebody else may have written it.
const MAX_MANIFEST: u64 = 1 << 20;

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Cargo builds it.
    Rust,
    /// componentize-js builds it.
    JavaScript,
    /// componentize-py builds it.
    Python,
}

impl Language {
    /// The file that says what the plugin is.
    pub fn manifest(self) -> &'static str {
        match self {
            Self::Rust => CARGO,
            Self::JavaScript => javascript::MANIFEST,
            Self::Python => python::MANIFEST,
        }
    }
}

/// A folder that `build` can build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSource {
    /// The name of the package in its manifest.
    pub name: PluginName,
    /// The folder with the manifest.
    pub dir: PathBuf,
    /// Who builds it.
    pub language: Language,
}

/// A folder that looks like a plugin and cannot be built.
#[derive(Debug)]
pub struct LeftOut {
    /// The folder.
    pub dir: PathBuf,
    /// Why not.
    pub reason: NotBuilt,
}

/// Why a folder is not built.
#[derive(Debug)]
pub enum NotBuilt {
    /// It has nothing of a plugin.
    NoManifest,
    /// It has a manifest that does not say that it is of a plugin.
    Unmarked {
        /// The manifest.
        file: &'static str,
        /// What would say so.
        mark: &'static str,
    },
    /// It has Python files, and nothing that says what they are.
    NoPyproject,
    /// It has a package that makes no component.
    NoCdylib,
    /// It has a manifest that cannot be read.
    Manifest {
        /// The manifest.
        file: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// Its name is none for a plugin.
    Name(NameError),
}

impl fmt::Display for NotBuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest => f.write_str("not built: it has no `Cargo.toml`, `package.json` or `pyproject.toml`"),
            Self::Unmarked { file, .. } => write!(f, "not built: its `{file}` does not say that it is a plugin"),
            Self::NoPyproject => f.write_str("not built: it has Python files and no `pyproject.toml`"),
            Self::NoCdylib => f.write_str("not built: its `Cargo.toml` has no library of the crate type `cdylib`"),
            Self::Manifest { file, message } => write!(f, "not built: its `{file}` cannot be read: {message}"),
            Self::Name(error) => write!(f, "not built: no name for a plugin: {error}"),
        }
    }
}

impl NotBuilt {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCdylib => Some(CDYLIB_HINT.into()),
            Self::Unmarked { file, mark } => Some(format!("write in its `{file}`: {mark}")),
            Self::NoPyproject => {
                Some("write a `pyproject.toml` with `name` in `[project]`, and with `[tool.portcullis]`".into())
            }
            Self::NoManifest | Self::Manifest { .. } | Self::Name(_) => None,
        }
    }
}

pub(crate) const CDYLIB_HINT: &str = "write in its `Cargo.toml`, in `[lib]`: crate-type = [\"cdylib\"]";

/// What the folders hold.
#[derive(Debug, Default)]
pub struct Found {
    /// The plugins, by name.
    pub plugins: Vec<PluginSource>,
    /// What looks like a plugin and is none yet, by folder.
    pub left_out: Vec<LeftOut>,
}

/// Why there is no list of plugins.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// A folder cannot be read.
    #[error("cannot read the folder `{}`", dir.display())]
    Read {
        /// The folder.
        dir: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Two folders hold plugins of one name.
    #[error("two plugins are named `{name}`: `{}` and `{}`", first.display(), second.display())]
    Duplicate {
        /// The name of both.
        name: PluginName,
        /// The one folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A folder holds nothing that looks like a plugin.
    #[error("no plugin in `{}`", dir.display())]
    Nothing {
        /// The folder.
        dir: PathBuf,
    },
}

impl FindError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Duplicate { second, .. } => {
                Some(format!("give the plugin in `{}` another `name`", second.display()))
            }
            Self::Nothing { .. } => Some(
                "name a folder with a `Cargo.toml` of a `cdylib`, a `package.json` with `portcullis` or a \
                 `pyproject.toml` with `[tool.portcullis]`, or a folder of such folders, as `plugins` in the repository \
                 of Portcullis"
                    .into(),
            ),
        }
    }
}

/// The plugins in these folders: each is one itself, or has them as direct subfolders.
///
/// A folder that is named twice, or by another path, counts once.
///
/// # Errors
/// When a folder cannot be read or holds nothing that looks like a plugin, and when two plugins have one name.
pub fn find_plugins(dirs: &[PathBuf]) -> Result<Found, FindError> {
    let mut by_dir = BTreeMap::new();
    for dir in dirs {
        let read = |source| FindError::Read { dir: dir.clone(), source };
        let dir = dir.canonicalize().map_err(read)?;
        let mut candidates = vec![dir.clone()];
        if !looks_like_plugin(&dir).map_err(read)? {
            candidates = subfolders(&dir).map_err(read)?;
        }
        let mut any = false;
        for candidate in candidates {
            if let Some(found) = examine(&candidate).map_err(read)? {
                any = true;
                by_dir.insert(candidate, found);
            }
        }
        if !any {
            return Err(FindError::Nothing { dir });
        }
    }
    sorted(by_dir)
}

fn sorted(by_dir: BTreeMap<PathBuf, Examined>) -> Result<Found, FindError> {
    let mut by_name: BTreeMap<PluginName, (PathBuf, Language)> = BTreeMap::new();
    let mut left_out = Vec::new();
    for (dir, found) in by_dir {
        match found {
            Err(reason) => left_out.push(LeftOut { dir, reason }),
            Ok((name, candidate)) => {
                if let Some((first, _)) = by_name.insert(name.clone(), (dir.clone(), candidate.language())) {
                    return Err(FindError::Duplicate { name, first, second: dir });
                }
            }
        }
    }
    let plugins = by_name.into_iter().map(|(name, (dir, language))| PluginSource { name, dir, language });
    Ok(Found { plugins: plugins.collect(), left_out })
}

/// What a folder was found to hold.
type Examined = Result<(PluginName, Candidate), NotBuilt>;

/// What `build` would build.
#[derive(Debug)]
pub(crate) enum Candidate {
    Rust,
    JavaScript(javascript::Manifest),
    Python(python::Manifest),
}

impl Candidate {
    fn language(&self) -> Language {
        match self {
            Self::Rust => Language::Rust,
            Self::JavaScript(_) => Language::JavaScript,
            Self::Python(_) => Language::Python,
        }
    }
}

fn looks_like_plugin(dir: &Path) -> io::Result<bool> {
    Ok(match examine(dir)? {
        None => false,
        // A workspace's root has a manifest too; its plugins are below it.
        Some(Err(NotBuilt::NoCdylib)) => !is_workspace_root(dir),
        // So has a folder with tools for those below it.
        Some(Err(NotBuilt::Unmarked { .. } | NotBuilt::NoPyproject)) => {
            let below = subfolders(dir)?;
            !below.iter().map(|dir| examine(dir)).any(|found| matches!(found, Ok(Some(Ok(_)))))
        }
        Some(_) => true,
    })
}

fn is_workspace_root(dir: &Path) -> bool {
    let manifest = read_manifest(&dir.join(CARGO)).unwrap_or_default();
    let table: toml::Table = toml::from_str(&manifest).unwrap_or_default();
    table.contains_key("workspace") && !table.contains_key("package")
}

pub(crate) fn subfolders(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !is_skipped(&entry.file_name()) && entry.path().is_dir() {
            found.push(entry.path().canonicalize()?);
        }
    }
    Ok(found)
}

/// Whether nothing in a folder of this name is of a plugin.
pub(crate) fn is_skipped(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || SKIPPED.contains(&name.as_ref())
}

/// What can be asked to build this folder, which may be a Cargo workspace with a plugin in it.
pub(crate) fn can_build(dir: &Path) -> io::Result<Result<Candidate, NotBuilt>> {
    Ok(match examine(dir)? {
        None => Err(NotBuilt::NoManifest),
        Some(Err(NotBuilt::NoCdylib)) if is_workspace_root(dir) => Ok(Candidate::Rust),
        Some(found) => found.map(|(_, candidate)| candidate),
    })
}

/// The name of the plugin that this `Cargo.toml` is of.
pub(crate) fn name_of(manifest: &Path) -> io::Result<Result<PluginName, NotBuilt>> {
    Ok(rust_name(&read_manifest(manifest)?))
}

/// What the folder holds: nothing of a plugin, a plugin, or something that is not built. Where it has several manifests, the
/// first that is of a plugin counts.
fn examine(dir: &Path) -> io::Result<Option<Examined>> {
    type Read = fn(&str) -> Examined;
    let readers: [(&str, Read); 3] = [
        (CARGO, |text| Ok((rust_name(text)?, Candidate::Rust))),
        (javascript::MANIFEST, |text| {
            javascript::Manifest::parse(text).map(|manifest| (manifest.name.clone(), Candidate::JavaScript(manifest)))
        }),
        (python::MANIFEST, |text| {
            python::Manifest::parse(text).map(|manifest| (manifest.name.clone(), Candidate::Python(manifest)))
        }),
    ];
    let mut first = None;
    for (file, read) in readers {
        let path = dir.join(file);
        if !path.is_file() {
            continue;
        }
        let found = match read_manifest(&path) {
            Ok(text) => read(&text),
            Err(error) => Err(NotBuilt::Manifest { file, message: error.to_string() }),
        };
        if found.is_ok() {
            return Ok(Some(found));
        }
        first = first.or(Some(found));
    }
    if first.is_some() {
        return Ok(first);
    }
    for entry in fs::read_dir(dir)? {
        if entry?.path().extension().is_some_and(|ending| ending == "py") {
            return Ok(Some(Err(NotBuilt::NoPyproject)));
        }
    }
    Ok(None)
}

fn read_manifest(path: &Path) -> io::Result<String> {
    reading::text(path, MAX_MANIFEST)
}

fn rust_name(text: &str) -> Result<PluginName, NotBuilt> {
    let wrong = |message: String| NotBuilt::Manifest { file: CARGO, message };
    let manifest: toml::Table =
        toml::from_str(text).map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
    let crate_types = manifest
        .get("lib")
        .and_then(|lib| lib.get("crate-type").or_else(|| lib.get("crate_type")))
        .and_then(toml::Value::as_array);
    if !crate_types.is_some_and(|types| types.iter().any(|kind| kind.as_str() == Some("cdylib"))) {
        return Err(NotBuilt::NoCdylib);
    }
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml::Value::as_str)
        .ok_or_else(|| wrong("no `name` in `[package]`".into()))?;
    PluginName::new(name).map_err(NotBuilt::Name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGIN: &str = "[package]\nname = \"NAME\"\n[lib]\ncrate-type = [\"cdylib\"]\n";

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn names(found: &Found) -> Vec<&str> {
        found.plugins.iter().map(|plugin| plugin.name.as_str()).collect()
    }

    #[test]
    fn a_folder_is_a_plugin_or_holds_plugins() {
        let root = tempfile::tempdir().unwrap();
        let js = r#"{"name": "@a/swan", "portcullis": {}}"#;
        let py = "[project]\nname = \"yak\"\n[tool.portcullis]\n";
        let (a, b) = (PLUGIN.replace("NAME", "zebra"), PLUGIN.replace("NAME", "ape"));
        write(
            root.path(),
            &[
                ("one/Cargo.toml", &a),
                ("two/Cargo.toml", &b),
                ("two/sub/Cargo.toml", &PLUGIN.replace("NAME", "hidden")),
                ("target/Cargo.toml", &a),
                (".git/Cargo.toml", &a),
                ("empty/README.md", ""),
                ("bin/Cargo.toml", "[package]\nname = \"bin\"\n"),
                ("broken/Cargo.toml", "[package\n"),
                ("js/package.json", "{}"),
                ("py/app.py", ""),
                ("node_modules/x/package.json", js),
                ("swan/package.json", js),
                ("yak/pyproject.toml", py),
                ("yak/.venv/x.py", ""),
            ],
        );
        let found = find_plugins(&[root.path().into()]).unwrap();
        assert_eq!(names(&found), ["ape", "swan", "yak", "zebra"]);
        let languages: Vec<_> = found.plugins.iter().map(|plugin| plugin.language).collect();
        assert_eq!(languages, [Language::Rust, Language::JavaScript, Language::Python, Language::Rust]);
        let left: Vec<String> = found
            .left_out
            .iter()
            .map(|left| format!("{}: {}", left.dir.file_name().unwrap().to_string_lossy(), left.reason))
            .collect();
        assert_eq!(left.len(), 4, "{left:?}");
        assert_eq!(left[0], "bin: not built: its `Cargo.toml` has no library of the crate type `cdylib`");
        assert!(left[1].starts_with("broken: not built: its `Cargo.toml` cannot be read: "), "{left:?}");
        assert_eq!(left[2], "js: not built: its `package.json` does not say that it is a plugin");
        assert_eq!(left[3], "py: not built: it has Python files and no `pyproject.toml`");

        let one = root.path().join("one");
        let found = find_plugins(&[one.clone(), root.path().join("two/../one"), one]).unwrap();
        assert_eq!(names(&found), ["zebra"]);
    }

    #[test]
    fn errors_say_which_folder() {
        let root = tempfile::tempdir().unwrap();
        let same = PLUGIN.replace("NAME", "same");
        write(root.path(), &[("a/Cargo.toml", &same), ("b/Cargo.toml", &same), ("c/README.md", "")]);
        let error = find_plugins(&[root.path().into()]).unwrap_err();
        assert!(matches!(&error, FindError::Duplicate { name, .. } if name.as_str() == "same"), "{error}");
        assert!(error.hint().is_some());
        let error = find_plugins(&[root.path().join("c")]).unwrap_err();
        assert!(matches!(error, FindError::Nothing { .. }), "{error}");
        let error = find_plugins(&[root.path().join("d")]).unwrap_err();
        assert!(matches!(error, FindError::Read { .. }), "{error}");
    }

    #[test]
    fn the_plugins_of_a_workspace_are_below_it() {
        let root = tempfile::tempdir().unwrap();
        let plugin = PLUGIN.replace("NAME", "member");
        write(root.path(), &[("Cargo.toml", "[workspace]\nmembers = [\"m\"]\n"), ("m/Cargo.toml", &plugin)]);
        assert_eq!(names(&find_plugins(&[root.path().into()]).unwrap()), ["member"]);
    }

    #[test]
    fn a_folder_with_tools_for_the_plugins_below_it_is_none_itself() {
        let root = tempfile::tempdir().unwrap();
        let js = r#"{"name": "below", "portcullis": {}}"#;
        write(root.path(), &[("package.json", "{}"), ("conftest.py", ""), ("below/package.json", js)]);
        assert_eq!(names(&find_plugins(&[root.path().into()]).unwrap()), ["below"]);
        fs::remove_dir_all(root.path().join("below")).unwrap();
        let found = find_plugins(&[root.path().into()]).unwrap();
        assert!(found.plugins.is_empty() && found.left_out.len() == 1, "{found:?}");
    }

    /// The second manifest of a folder may be the plugin's: Rust tools beside a JavaScript plugin, say.
    #[test]
    fn the_first_manifest_that_is_of_a_plugin_counts() {
        let root = tempfile::tempdir().unwrap();
        let js = r#"{"name": "both", "portcullis": {}}"#;
        write(root.path(), &[("Cargo.toml", "[package]\nname = \"x\"\n"), ("package.json", js)]);
        assert_eq!(find_plugins(&[root.path().into()]).unwrap().plugins[0].language, Language::JavaScript);
        write(root.path(), &[("Cargo.toml", &PLUGIN.replace("NAME", "rust"))]);
        assert_eq!(names(&find_plugins(&[root.path().into()]).unwrap()), ["rust"]);
        let large = "#".repeat(MAX_MANIFEST as usize + 1);
        write(root.path(), &[("Cargo.toml", &large), ("package.json", "{}")]);
        let found = find_plugins(&[root.path().into()]).unwrap();
        assert!(matches!(found.left_out[0].reason, NotBuilt::Manifest { file: "Cargo.toml", .. }), "{found:?}");
    }
}
