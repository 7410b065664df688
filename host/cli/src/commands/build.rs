//! `build`: one plugin, described and finished.

use std::{path::Path, process::ExitCode};

use portcullis_authoring::{BuildError, BuildOptions, Built};
use portcullis_policy::Digest;
use serde_json::json;

use crate::render;

pub(crate) fn run(dir: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let built = portcullis_authoring::build(dir, BuildOptions { quiet: false }).map_err(|error| build_fault(&error))?;
    let Built { name, component, bytes, warnings } = built;
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

pub(crate) fn build_fault(error: &BuildError) -> anyhow::Error {
    render::fault(error, error.hint())
}
