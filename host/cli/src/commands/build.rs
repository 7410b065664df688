//! `build`: one plugin, described and finished.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use portcullis_authoring::{BuildError, BuildOptions, Built, Language, Stop};
use portcullis_policy::Digest;
use serde_json::json;

use crate::{
    commands::shutdown,
    render::{self, Fault, fault},
};

pub(crate) async fn run(dir: PathBuf, as_json: bool) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown()?;
    let shown = dir.display().to_string();
    let built = tokio::select! {
        built = on_a_thread(&dir, &shown, None, false) => built?,
        () = shutdown.cancelled() => return Err(Fault::error("The build was stopped", None)),
    };
    let Built { name, component, bytes, warnings } = built.map_err(|error| build_fault(&error))?;
    for warning in &warnings {
        render::note(&format!("warning: {warning}"));
    }
    let digest = Digest::of(&bytes);
    if as_json {
        let built = json!({
            "name": name, "component": component, "size": bytes.len(), "digest": digest, "warnings": warnings,
        });
        render::json(&built)?;
    } else {
        render::data(&format!("{}\nsha256 {digest}, {} bytes\n", component.display(), bytes.len()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds a plugin, and shows that it goes on where its toolchain does not. Whoever drops this stops the build.
pub(crate) async fn on_a_thread(
    dir: &Path,
    shown: &str,
    language: Option<Language>,
    quiet: bool,
) -> anyhow::Result<Result<Built, BuildError>> {
    let stop = Stop::default();
    let _stopped_with_this = StopWhenDropped(stop.clone());
    let dir = dir.to_owned();
    let cargo_talks = language.map_or_else(|| dir.join(Language::Rust.manifest()).is_file(), |it| it == Language::Rust);
    let options = BuildOptions { quiet, stop, ..BuildOptions::default() };
    let built = tokio::task::spawn_blocking(move || portcullis_authoring::build(&dir, &options));
    let built = if cargo_talks { built.await } else { render::waiting(&format!("building {shown}…"), built).await };
    Ok(built?)
}

struct StopWhenDropped(Stop);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// Why a plugin was not built, with what its toolchain said, quoted.
pub(crate) fn build_fault(error: &BuildError) -> anyhow::Error {
    let Some(said) = error.said().filter(|said| !said.is_empty()) else {
        return fault(error, error.hint());
    };
    Fault::of_lines([reason(error)].into_iter().chain(render::quoted(said)), error.hint())
}

/// The same in one line.
pub(crate) fn reason(error: &BuildError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
