//! `check`: is the configuration in order, and what it names?

use std::{path::Path, process::ExitCode};

use serde_json::json;

use crate::{
    config::Config,
    host::{Host, start_fault},
    render,
};

pub(crate) async fn run(path: &Path, config: Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let host = Host::open(&config.state_dir, config.max_concurrent_calls, "check")?;
    let wrong = host.catalogue.apply(config.plugins).await.err().unwrap_or_default();
    let snapshot = host.catalogue.snapshot();
    host.close();
    let broken: Vec<_> = snapshot
        .plugins()
        .iter()
        .filter_map(|plugin| plugin.state.reason().map(|reason| format!("plugin `{}`: {reason}", plugin.name)))
        .collect();
    if as_json {
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).chain(broken).collect();
        render::json(&json!({ "ok": wrong.is_empty(), "problems": wrong }))?;
        return Ok(ExitCode::from(u8::from(!wrong.is_empty())));
    }
    if !wrong.is_empty() {
        return Err(start_fault(&wrong));
    }
    if !broken.is_empty() {
        return Err(render::Fault::error(broken.join("\n  and: "), Some("portcullis list".into())));
    }
    let tools = snapshot.tools().len();
    render::data(&format!("{} is in order: {} plugins, {tools} tools\n", path.display(), snapshot.plugins().len()))?;
    Ok(ExitCode::SUCCESS)
}
