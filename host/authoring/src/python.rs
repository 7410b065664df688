//! Python plugins: a `pyproject.toml` with a table `[tool.portcullis]`, and componentize-py.
//!
//! ```toml
//! [project]
//! name = "customers"
//! version = "0.1.0"
//!
//! [dependency-groups]
//! dev = ["componentize-py==0.25.1"]
//!
//! [tool.portcullis]
//! module = "app"
//! world = "customers"
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_policy::PluginName;
use serde::Deserialize;

use crate::find::NotBuilt;
use crate::foreign::{self, Bounds, Job, Tool, ToolError};

/// The manifest.
pub(crate) const MANIFEST: &str = "pyproject.toml";
/// The program that makes components.
pub(crate) const PROGRAM: &str = "componentize-py";
/// The version that the tests of Portcullis use.
pub(crate) const VERSION: &str = "0.25.1";
/// The virtual environment beside the source, by the name that uv, pip's guide and editors use.
pub(crate) const VENV: &str = ".venv";
/// The module that has the classes, where the manifest says nothing: the name of componentize-py's own examples.
const MODULE: &str = "app";
/// Where modules lie: beside the manifest, or in the layout with `src`.
const ROOTS: [&str; 2] = ["src", "."];

/// `pyproject.toml`, as far as it is about a plugin.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) name: PluginName,
    module: String,
    pub(crate) wit: PathBuf,
    pub(crate) world: Option<String>,
}

#[derive(Deserialize)]
struct Pyproject {
    project: Option<Project>,
    #[serde(default)]
    tool: Tools,
}

#[derive(Deserialize)]
struct Project {
    name: String,
}

#[derive(Default, Deserialize)]
struct Tools {
    portcullis: Option<Section>,
}

/// The table `[tool.portcullis]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    module: Option<String>,
    wit: Option<String>,
    world: Option<String>,
}

impl Manifest {
    /// Of the text of a `pyproject.toml`.
    pub(crate) fn parse(text: &str) -> Result<Self, NotBuilt> {
        let wrong = |message: String| NotBuilt::Manifest { file: MANIFEST, message };
        let pyproject: Pyproject =
            toml::from_str(text).map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        let unmarked = || NotBuilt::Unmarked { file: MANIFEST, mark: "[tool.portcullis]" };
        let section = pyproject.tool.portcullis.ok_or_else(unmarked)?;
        let project = pyproject.project.ok_or_else(|| wrong("no `name` in `[project]`".into()))?;
        let module = section.module.unwrap_or_else(|| MODULE.into());
        let is_name = |part: &str| {
            part.starts_with(|c: char| c.is_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_alphanumeric() || c == '_')
        };
        if !module.split('.').all(is_name) {
            return Err(wrong(format!(
                "`tool.portcullis.module` must be the name of a module: `{}`",
                module.escape_debug()
            )));
        }
        Ok(Self {
            name: PluginName::new(&project.name).map_err(NotBuilt::Name)?,
            module,
            wit: foreign::inside(section.wit.as_deref().unwrap_or(foreign::WIT), "tool.portcullis.wit")
                .map_err(wrong)?,
            world: section.world,
        })
    }

    /// Makes the component, from the plugin in `dir`, an absolute path.
    pub(crate) fn build(&self, dir: &Path, world: &str, bounds: &Bounds<'_>) -> Result<Vec<u8>, ToolError> {
        let path = self.module.replace('.', "/");
        let holds =
            |root: &Path| root.join(format!("{path}.py")).is_file() || root.join(&path).join("__init__.py").is_file();
        let roots = ROOTS.map(|root| dir.join(root));
        let Some(root) = roots.iter().find(|root| holds(root)) else {
            let hint = format!("write in `{MANIFEST}`, in `[tool.portcullis]`: module = \"MODULE\"");
            return Err(ToolError::NoEntry { path: dir.join(format!("{path}.py")), hint });
        };
        for place in [root.clone(), root.join(format!("{path}.py")), root.join(&path).join("__init__.py")] {
            foreign::is_own(dir, &place)?;
        }
        // componentize-py makes a module of the world's name, and the plugin's would be hidden by it.
        if self.module == world.replace('-', "_") {
            let hint = format!("name the module otherwise, as `{MODULE}.py`");
            return Err(ToolError::Clash { module: self.module.clone(), hint });
        }
        let (program, packages) = toolchain(dir).ok_or_else(|| {
            let venv = foreign::quoted(&dir.join(VENV));
            let hint = format!("python3 -m venv {venv} && {venv}/bin/pip install {PROGRAM}=={VERSION}");
            ToolError::Missing { what: PROGRAM, hint }
        })?;
        let mut job = Job::new()?;
        let mut tool = Command::new(program);
        tool.current_dir(dir)
            .arg("--quiet")
            .arg("--wit-path")
            .arg(dir.join(&self.wit))
            .args(["--world", world, "componentize", &self.module, "--python-path"])
            .arg(root)
            .arg("--output")
            .arg(job.target())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Packages of the plugin's own environment and no others: what else this machine has is no part of it.
            .env("VIRTUAL_ENV", packages.unwrap_or_else(|| job.nothing()));
        job.run(tool, Tool::Python, bounds)
    }
}

/// The program, and the environment with the plugin's packages, where it has one.
pub(crate) fn toolchain(dir: &Path) -> Option<(PathBuf, Option<PathBuf>)> {
    let active = std::env::var_os("VIRTUAL_ENV").filter(|path| !path.is_empty()).map(PathBuf::from);
    let own = Some(dir.join(VENV)).filter(|venv| venv.is_dir()).or(active);
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let beside = own.iter().map(|venv| venv.join("bin"));
    let places =
        beside.chain(std::env::split_paths(&on_path)).chain(foreign::tools().map(|tools| tools.join("python/bin")));
    let found = places.map(|place| place.join(PROGRAM)).find(|program| program.is_file());
    found.map(|program| (program, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_differs_from_the_usual() {
        let least = Manifest::parse("[project]\nname = \"a\"\n[tool.portcullis]\n[tool.ruff]\nx = 1").unwrap();
        assert_eq!((least.name.as_str(), &*least.module, &*least.wit), ("a", "app", Path::new("wit")));
        assert!(least.world.is_none());
        let all = "[project]\nname = \"a\"\n[tool.portcullis]\nmodule = \"a.b\"\nwit = \"w\"\nworld = \"x\"";
        let all = Manifest::parse(all).unwrap();
        assert_eq!((&*all.module, &*all.wit, all.world.as_deref()), ("a.b", Path::new("w"), Some("x")));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, expected) in [
            ("[project", "its `pyproject.toml` cannot be read: "),
            ("[project]\nname = \"a\"", "its `pyproject.toml` does not say that it is a plugin"),
            ("[tool.portcullis]", "no `name` in `[project]`"),
            ("[project]\nname = \"a.b\"\n[tool.portcullis]", "no name for a plugin"),
            ("[project]\nname = \"a\"\n[tool.portcullis]\nwurld = \"a\"", "unknown field `wurld`"),
            ("[project]\nname = \"a\"\n[tool.portcullis]\nmodule = \"../a\"", "must be the name of a module: `../a`"),
            ("[project]\nname = \"a\"\n[tool.portcullis]\nmodule = \"-x\"", "must be the name of a module"),
            ("[project]\nname = \"a\"\n[tool.portcullis]\nwit = \"..\"", "must be a path inside the folder"),
        ] {
            let found = Manifest::parse(text).unwrap_err().to_string();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
