//! `check`: is the configuration in order, and what it names?

use std::{path::Path, process::ExitCode};

use portcullis_catalogue::State;
use portcullis_gateway::Misfit;
use serde_json::json;

use crate::{
    config::Config,
    host::{Host, several, start_fault},
    render,
};

pub(crate) async fn run(path: &Path, config: Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let host = Host::for_review(&config, "check")?;
    let wrong = host.catalogue.apply(config.plugins).await.err().unwrap_or_default();
    let snapshot = host.catalogue.snapshot();
    host.close();
    let misfits = config.routes.misfits(&snapshot);
    // A tool that is not served may wait for an operator's word.
    let (waiting, unfit): (Vec<_>, Vec<_>) =
        misfits.into_iter().partition(|misfit| matches!(misfit, Misfit::NotServed { .. }));
    let broken: Vec<_> = snapshot
        .plugins()
        .iter()
        // What waits for an operator's word is in order; what is wrong with the lock is no fault of the configuration.
        .filter(|plugin| matches!(plugin.state, State::Broken { .. } | State::Missing { .. }))
        .filter_map(|plugin| plugin.state.reason().map(|reason| format!("plugin `{}`: {reason}", plugin.name)))
        .collect();
    if as_json {
        let unfit = unfit.iter().map(ToString::to_string);
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).chain(broken).chain(unfit).collect();
        render::json(&json!({ "ok": wrong.is_empty(), "problems": wrong }))?;
        return Ok(ExitCode::from(u8::from(!wrong.is_empty())));
    }
    if !wrong.is_empty() {
        return Err(start_fault(&wrong));
    }
    if !broken.is_empty() {
        return Err(render::Fault::of_lines(several(broken.into_iter()), Some("portcullis list".into())));
    }
    if let Some(first) = unfit.first() {
        return Err(render::Fault::of_lines(several(unfit.iter().map(ToString::to_string)), Some(first.hint())));
    }
    for misfit in waiting {
        render::note(&format!("note: {misfit}"));
    }
    let (plugins, tools) = (snapshot.plugins().len(), snapshot.tools().len());
    render::data(&format!("{} is in order: {plugins} plugins, {tools} approved tools\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}
