//! Running cargo on a plugin, and finding what it made.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use cargo_metadata::{CrateType, Message};

use crate::find::CDYLIB_HINT;
use crate::process::{ProcessError, Running, Stop};

/// The target that plugins are built for.
pub const WASM_TARGET: &str = "wasm32-wasip2";
/// What a build may take: it may have to fetch and compile all that a plugin depends on, on a slow machine. A build script
/// runs in it, and may never end.
const TIME: Duration = Duration::from_secs(30 * 60);

/// Why cargo made no component.
#[derive(Debug, thiserror::Error)]
pub enum CargoError {
    /// The toolchain has no libraries for [`WASM_TARGET`].
    #[error("the Rust target `{WASM_TARGET}` is not installed")]
    MissingTarget,
    /// A tool does not start.
    #[error("cannot run `{program}`")]
    Run {
        /// The tool.
        program: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// It was started, and did not come to its own end.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Cargo's reports cannot be read.
    #[error("cannot read what cargo reports")]
    Report(#[source] io::Error),
    /// Cargo, or the compiler, refuses the plugin; it has said why on stderr.
    #[error("`{}` does not build: cargo ended with {status}", dir.display())]
    Refused {
        /// The plugin's folder.
        dir: PathBuf,
        /// How cargo ended.
        status: ExitStatus,
    },
    /// The package makes no component.
    #[error("`{}` has no library of the crate type `cdylib`", dir.display())]
    NoComponent {
        /// The plugin's folder.
        dir: PathBuf,
    },
    /// The package makes several.
    #[error("`{}` makes several components, expected one: {}", dir.display(), names.join(", "))]
    Several {
        /// The plugin's folder.
        dir: PathBuf,
        /// The libraries.
        names: Vec<String>,
    },
}

impl CargoError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingTarget => Some(format!("rustup target add {WASM_TARGET}")),
            Self::Run { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("install Rust as https://rustup.rs says".into())
            }
            Self::NoComponent { .. } => Some(CDYLIB_HINT.into()),
            Self::Several { .. } => Some("build the folder of one of them".into()),
            Self::Run { .. } | Self::Process(_) | Self::Report(_) | Self::Refused { .. } => None,
        }
    }

    /// Whether something has to be installed before anything can be built.
    pub(crate) fn is_missing_tool(&self) -> bool {
        match self {
            Self::MissingTarget => true,
            Self::Run { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Process(_)
            | Self::Report(_)
            | Self::Refused { .. }
            | Self::NoComponent { .. }
            | Self::Several { .. } => false,
        }
    }
}

/// What cargo made.
pub(crate) struct Artefact {
    /// The name of the library.
    pub(crate) library: String,
    /// The manifest of its package.
    pub(crate) manifest: PathBuf,
    /// The component, where cargo put it.
    pub(crate) file: PathBuf,
}

/// Builds the package in `dir`, an absolute path. The compiler's messages go to stderr as they come.
pub(crate) fn run(dir: &Path, quiet: bool, target: Option<&Path>, stop: &Stop) -> Result<Artefact, CargoError> {
    require_target(dir)?;
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(dir)
        .args(["build", "--release", "--target", WASM_TARGET, "--message-format=json-render-diagnostics"])
        .args(quiet.then_some("--quiet"))
        .args(target.iter().flat_map(|target| [Path::new("--target-dir"), target]))
        .stdout(Stdio::piped());
    let start = |source| CargoError::Run { program: "cargo", source };
    let mut running = Running::start(&mut cargo, "cargo").map_err(start)?;
    let own = dir.to_owned();
    let reports = running.stdout().map(|pipe| Running::reading(pipe, move |pipe| components(&own, pipe)));
    let status = running.wait(TIME, stop)?;
    if !status.success() {
        return Err(CargoError::Refused { dir: dir.into(), status });
    }
    let cut = || Err(CargoError::Report(io::ErrorKind::UnexpectedEof.into()));
    let mut made = reports.map_or_else(|| Ok(Vec::new()), |reports| reports.end().unwrap_or_else(cut))?;
    match (made.pop(), made.is_empty()) {
        (None, _) => Err(CargoError::NoComponent { dir: dir.into() }),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            let mut names: Vec<String> = made.into_iter().map(|artefact| artefact.library).collect();
            names.push(last.library);
            names.sort();
            Err(CargoError::Several { dir: dir.into(), names })
        }
    }
}

/// Whether plugins can be built here: the target for them is installed.
pub fn has_wasm_target() -> bool {
    require_target(Path::new(".")).is_ok()
}

/// The library directory exists for each target that is installed, by rustup or by a distribution's package.
fn require_target(dir: &Path) -> Result<(), CargoError> {
    // In the plugin's folder, since its `rust-toolchain.toml` chooses the toolchain.
    let printed = Command::new("rustc")
        .current_dir(dir)
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| CargoError::Run { program: "rustc", source })?;
    let libraries = String::from_utf8_lossy(&printed.stdout);
    if printed.status.success() && Path::new(libraries.trim()).is_dir() {
        Ok(())
    } else {
        Err(CargoError::MissingTarget)
    }
}

/// The components of packages in `dir`; a dependency may be a `cdylib` as well, and is none of ours.
fn components(dir: &Path, reports: impl io::Read) -> Result<Vec<Artefact>, CargoError> {
    let manifest = dir.join("Cargo.toml");
    let (mut own, mut below) = (Vec::new(), Vec::new());
    for message in Message::parse_stream(BufReader::new(reports)) {
        let Message::CompilerArtifact(artefact) = message.map_err(CargoError::Report)? else {
            continue;
        };
        if !artefact.target.crate_types.contains(&CrateType::CDyLib) || artefact.target.is_example() {
            continue;
        }
        let made = artefact.filenames.iter().find(|file| file.extension() == Some("wasm"));
        let Some(file) = made else { continue };
        let found = Artefact {
            library: artefact.target.name.clone(),
            manifest: artefact.manifest_path.clone().into(),
            file: file.clone().into(),
        };
        if found.manifest == manifest {
            own.push(found);
        } else if found.manifest.starts_with(dir) {
            below.push(found);
        }
    }
    Ok(if own.is_empty() { below } else { own })
}
