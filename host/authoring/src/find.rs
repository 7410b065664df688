//! Which folders hold plugins, told from their files alone. Nothing is built or run for it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use portcullis_policy::{NameError, PluginName};

/// Folders beside plugins that are never plugins.
const SKIPPED: [&str; 3] = ["target", "dist", "node_modules"];

/// A folder that `build` can build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSource {
    /// The name of the package in its manifest.
    pub name: PluginName,
    /// The folder with `Cargo.toml`.
    pub dir: PathBuf,
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
    /// It has a `package.json`.
    JavaScript,
    /// It has a `pyproject.toml` or Python files.
    Python,
    /// It has a package that makes no component.
    NoCdylib,
    /// It has a manifest that cannot be read.
    Manifest(String),
    /// Its name is none for a plugin.
    Name(NameError),
}

impl fmt::Display for NotBuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest => f.write_str("not built: it has no `Cargo.toml`"),
            Self::JavaScript => f.write_str("not built: JavaScript plugins come later"),
            Self::Python => f.write_str("not built: Python plugins come later"),
            Self::NoCdylib => f.write_str("not built: its `Cargo.toml` has no library of the crate type `cdylib`"),
            Self::Manifest(message) => write!(f, "not built: its `Cargo.toml` cannot be read: {message}"),
            Self::Name(error) => write!(f, "not built: no name for a plugin: {error}"),
        }
    }
}

impl NotBuilt {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCdylib => Some(CDYLIB_HINT.into()),
            Self::NoManifest | Self::JavaScript | Self::Python | Self::Manifest(_) | Self::Name(_) => None,
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
                Some(format!("give `{}` another `name`", second.join("Cargo.toml").display()))
            }
            Self::Nothing { .. } => Some(
                "name a folder with a `Cargo.toml` of a `cdylib`, or a folder of such folders, as `plugins` in the \
                 repository of Portcullis"
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

fn sorted(by_dir: BTreeMap<PathBuf, Result<PluginName, NotBuilt>>) -> Result<Found, FindError> {
    let mut by_name: BTreeMap<PluginName, PathBuf> = BTreeMap::new();
    let mut left_out = Vec::new();
    for (dir, found) in by_dir {
        match found {
            Err(reason) => left_out.push(LeftOut { dir, reason }),
            Ok(name) => {
                if let Some(first) = by_name.insert(name.clone(), dir.clone()) {
                    return Err(FindError::Duplicate { name, first, second: dir });
                }
            }
        }
    }
    let plugins = by_name.into_iter().map(|(name, dir)| PluginSource { name, dir }).collect();
    Ok(Found { plugins, left_out })
}

fn looks_like_plugin(dir: &Path) -> io::Result<bool> {
    Ok(match examine(dir)? {
        None => false,
        // A workspace's root has a manifest too; its plugins are below it.
        Some(Err(NotBuilt::NoCdylib)) => !is_workspace_root(dir),
        Some(_) => true,
    })
}

fn is_workspace_root(dir: &Path) -> bool {
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
    let table: toml::Table = toml::from_str(&manifest).unwrap_or_default();
    table.contains_key("workspace") && !table.contains_key("package")
}

fn subfolders(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && !SKIPPED.contains(&name.as_ref()) && entry.path().is_dir() {
            found.push(entry.path().canonicalize()?);
        }
    }
    Ok(found)
}

/// Whether cargo can be asked to build this folder, which may be a workspace with a plugin in it.
pub(crate) fn can_build(dir: &Path) -> io::Result<Result<(), NotBuilt>> {
    Ok(match examine(dir)? {
        None => Err(NotBuilt::NoManifest),
        Some(Err(NotBuilt::NoCdylib)) if is_workspace_root(dir) => Ok(()),
        Some(found) => found.map(drop),
    })
}

/// The name of the plugin that this manifest is of.
pub(crate) fn name_of(manifest: &Path) -> io::Result<Result<PluginName, NotBuilt>> {
    Ok(read_manifest(&fs::read_to_string(manifest)?))
}

/// What the folder holds: nothing of a plugin, a plugin, or something that is not built.
fn examine(dir: &Path) -> io::Result<Option<Result<PluginName, NotBuilt>>> {
    let manifest = dir.join("Cargo.toml");
    if manifest.is_file() {
        return name_of(&manifest).map(Some);
    }
    if dir.join("package.json").is_file() {
        return Ok(Some(Err(NotBuilt::JavaScript)));
    }
    let mut python = dir.join("pyproject.toml").is_file();
    for entry in fs::read_dir(dir)? {
        python |= entry?.path().extension().is_some_and(|ending| ending == "py");
    }
    Ok(python.then_some(Err(NotBuilt::Python)))
}

fn read_manifest(text: &str) -> Result<PluginName, NotBuilt> {
    let manifest: toml::Table =
        toml::from_str(text).map_err(|error: toml::de::Error| NotBuilt::Manifest(error.message().to_owned()))?;
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
        .ok_or_else(|| NotBuilt::Manifest("no `name` in `[package]`".into()))?;
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
            ],
        );
        let found = find_plugins(&[root.path().into()]).unwrap();
        assert_eq!(names(&found), ["ape", "zebra"]);
        let left: Vec<String> = found
            .left_out
            .iter()
            .map(|left| format!("{}: {}", left.dir.file_name().unwrap().to_string_lossy(), left.reason))
            .collect();
        assert_eq!(left.len(), 4, "{left:?}");
        assert_eq!(left[0], "bin: not built: its `Cargo.toml` has no library of the crate type `cdylib`");
        assert!(left[1].starts_with("broken: not built: its `Cargo.toml` cannot be read: "), "{left:?}");
        assert_eq!(left[2], "js: not built: JavaScript plugins come later");
        assert_eq!(left[3], "py: not built: Python plugins come later");

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
}
