//! From a plugin's folder to `dist/NAME.wasm`: its toolchain builds, the doc comments and the requests go in.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_policy::PluginName;

use crate::cargo::{self, CargoError};
use crate::descriptions::{Descriptions, decode_component, describe};
use crate::find::{self, Candidate, NotBuilt};
use crate::foreign::{self, Bounds, ToolError};
use crate::process::{ProcessError, Stop};
use crate::requests::{Requests, RequestsError};
use crate::sections::{self, SectionsError};

/// Where finished components lie, beneath the plugin's folder.
const DIST: &str = "dist";

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// Leave out cargo's progress; errors and warnings of the compiler come all the same.
    pub quiet: bool,
    /// Ends the build early.
    pub stop: Stop,
    /// What a toolchain of JavaScript or Python may take, instead of five minutes.
    pub time: Option<Duration>,
}

/// A plugin that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The name of its package.
    pub name: PluginName,
    /// `dist/NAME.wasm` in its folder.
    pub component: PathBuf,
    /// What is in that file.
    pub bytes: Vec<u8>,
    /// What its author should know, a sentence each.
    pub warnings: Vec<String>,
}

/// Why a plugin was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder holds no plugin.
    #[error("`{}` is {reason}", dir.display())]
    NotBuilt {
        /// The folder.
        dir: PathBuf,
        /// What it is.
        reason: NotBuilt,
    },
    /// A file cannot be read or written.
    #[error("cannot {deed} `{}`", path.display())]
    File {
        /// `read` or `write`.
        deed: &'static str,
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Cargo made no component.
    #[error(transparent)]
    Cargo(#[from] CargoError),
    /// The toolchain of JavaScript or Python made no component.
    #[error("`{}` is not built", dir.display())]
    Tool {
        /// The plugin's folder.
        dir: PathBuf,
        /// Why not.
        source: ToolError,
    },
    /// `requests.toml` is at fault.
    #[error(transparent)]
    Requests(#[from] RequestsError),
    /// What the toolchain made is no component.
    #[error("`{}` is no component: {message}", path.display())]
    NoComponent {
        /// The file that cargo made, or the plugin's folder.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// The sections cannot be added.
    #[error("cannot add the descriptions to `{}`", path.display())]
    Sections {
        /// The file that cargo made, or the plugin's folder.
        path: PathBuf,
        /// Why not.
        source: SectionsError,
    },
}

impl BuildError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotBuilt { reason, .. } => reason.hint(),
            Self::Cargo(error) => error.hint(),
            Self::Tool { source, .. } => source.hint(),
            Self::Requests(error) => error.hint(),
            Self::Sections { source: SectionsError::TooLarge { .. }, .. } => {
                Some("shorten the doc comments of the WIT".into())
            }
            Self::File { .. } | Self::NoComponent { .. } | Self::Sections { .. } => None,
        }
    }

    /// Whether something has to be installed before anything in that language can be built; the hint says what.
    pub fn is_missing_tool(&self) -> bool {
        match self {
            Self::Cargo(error) => error.is_missing_tool(),
            Self::Tool { source, .. } => matches!(source, ToolError::Missing { .. }),
            Self::NotBuilt { .. }
            | Self::File { .. }
            | Self::Requests(_)
            | Self::NoComponent { .. }
            | Self::Sections { .. } => false,
        }
    }

    /// Whether somebody has stopped it.
    pub fn is_stopped(&self) -> bool {
        match self {
            Self::Cargo(CargoError::Process(ended)) | Self::Tool { source: ToolError::Process(ended), .. } => {
                matches!(ended, ProcessError::Stopped)
            }
            _ => false,
        }
    }

    /// The last of what a toolchain said that refused the plugin, where it did not say it itself. It may quote the source:
    /// to be escaped.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Tool { source: ToolError::Refused { said, .. }, .. } => Some(said),
            _ => None,
        }
    }
}

/// Builds the plugin in `dir` and writes its component to `dist/` there.
///
/// Blocks until the toolchain is done, which takes seconds to minutes, and at most 30 for Rust and 5 for the others.
/// Cargo's messages go to stderr as they come; of the others the last are in the error. The same Rust sources give the same
/// bytes; JavaScript and Python components have a seed of their own in each build. The file appears whole or not at all.
///
/// # Errors
/// When the toolchain is missing or something of it, when the folder holds no plugin, the compiler refuses it, or
/// `requests.toml` is wrong. Missing and unreadable descriptions are warnings; so are those of Rust without WIT, and
/// JavaScript and Python need it to be built.
pub fn build(dir: &Path, options: &BuildOptions) -> Result<Built, BuildError> {
    build_into(dir, options, None)
}

/// [`build`], where cargo keeps its files in `target` instead of where its configuration says.
fn build_into(dir: &Path, options: &BuildOptions, target: Option<&Path>) -> Result<Built, BuildError> {
    let dir = dir.canonicalize().map_err(|source| file("read", dir, source))?;
    let not_built = |reason| BuildError::NotBuilt { dir: dir.clone(), reason };
    // Before the compiler runs: what is wrong here is told at once.
    let candidate = find::can_build(&dir).map_err(|source| file("read", &dir, source))?.map_err(not_built)?;
    let requests = Requests::read(&dir)?;
    let tool = |source| BuildError::Tool { dir: dir.clone(), source };
    let bounds = Bounds::new(options.time, &options.stop);
    let (name, from, raw, wit) = match candidate {
        Candidate::Rust => {
            let made = cargo::run(&dir, options.quiet, target, &options.stop)?;
            let read = find::name_of(&made.manifest).map_err(|source| file("read", &made.manifest, source))?;
            let raw = fs::read(&made.file).map_err(|source| file("read", &made.file, source))?;
            (read.map_err(not_built)?, made.file, raw, dir.join(foreign::WIT))
        }
        Candidate::JavaScript(manifest) => {
            let wit = dir.join(&manifest.wit);
            foreign::is_own(&dir, &wit).map_err(tool)?;
            let key = "write in `package.json`, in `portcullis`: \"world\": \"WORLD\"";
            let world = foreign::world(&wit, manifest.world.as_deref(), key).map_err(tool)?;
            let raw = manifest.build(&dir, &world, &bounds).map_err(tool)?;
            (manifest.name, dir.clone(), raw, wit)
        }
        Candidate::Python(manifest) => {
            let wit = dir.join(&manifest.wit);
            foreign::is_own(&dir, &wit).map_err(tool)?;
            let key = "write in `pyproject.toml`, in `[tool.portcullis]`: world = \"WORLD\"";
            let world = foreign::world(&wit, manifest.world.as_deref(), key).map_err(tool)?;
            let raw = manifest.build(&dir, &world, &bounds).map_err(tool)?;
            (manifest.name, dir.clone(), raw, wit)
        }
    };
    let (bytes, warnings) = assemble(&from, &raw, &wit, &requests)?;
    let component = dir.join(DIST).join(format!("{name}.wasm"));
    write_whole(&component, &bytes)?;
    Ok(Built { name, component, bytes, warnings })
}

/// The component with the doc comments of the WIT package at `wit` (a folder with its `deps`, or a file) and with these
/// requests, and the warnings. What `build` does once the toolchain is done, for components that others made.
///
/// # Errors
/// When the bytes are no component, and when there is more text than the host reads.
pub fn finish(component: &[u8], wit: &Path, requests: &Requests) -> Result<(Vec<u8>, Vec<String>), BuildError> {
    assemble(Path::new("component"), component, wit, requests)
}

fn assemble(from: &Path, raw: &[u8], wit: &Path, requests: &Requests) -> Result<(Vec<u8>, Vec<String>), BuildError> {
    let sections = |source| BuildError::Sections { path: from.into(), source };
    // What an earlier run added is not part of the question.
    let bare = sections::write(raw, &Descriptions::default(), &Requests::default()).map_err(sections)?;
    let (mut descriptions, mut warnings) = describe(&bare, wit)
        .map_err(|error| BuildError::NoComponent { path: from.into(), message: error.to_string() })?;
    let mut bytes = sections::write(&bare, &descriptions, requests).map_err(sections)?;
    if let Err(error) = decode_component(&bytes) {
        // Better a tool without a description than a component that no tool can read.
        warnings.push(format!("functions and types of the world have no descriptions: {error}"));
        descriptions.root = Default::default();
        bytes = sections::write(&bare, &descriptions, requests).map_err(sections)?;
    }
    Ok((bytes, warnings))
}

/// Writes beside the file and renames: a reader, and a host that is reloading, sees the old bytes or the new ones.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let write = |source| file("write", path, source);
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(write)?;
    let beside = path.with_extension(format!("wasm.{}.tmp", std::process::id()));
    let written =
        fs::File::create(&beside).and_then(|mut to| to.write_all(bytes)).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(write)
}

fn file(deed: &'static str, path: &Path, source: io::Error) -> BuildError {
    BuildError::File { deed, path: path.into(), source }
}

#[cfg(test)]
mod tests;
