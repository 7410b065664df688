//! `list`: the plugins and the state of each.

use std::process::ExitCode;

use crate::{config::Config, host::Host, render};

pub(crate) async fn run(config: Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let host = Host::open(&config.state_dir, config.max_concurrent_calls, "list")?;
    // What is wrong stands in the list.
    let wrong = host.catalogue.apply(config.plugins).await.err().unwrap_or_default();
    render::waiting("compiling what is not in the cache…", host.catalogue.settled()).await;
    let snapshot = host.catalogue.snapshot();
    if as_json {
        render::json(&snapshot.plugins())?;
    } else {
        let mut rows = vec![["PLUGIN", "STATE", "TOOLS", "SHA256", ""].map(String::from).to_vec()];
        rows.extend(snapshot.plugins().iter().map(|plugin| {
            vec![
                plugin.name.to_string(),
                plugin.state.as_str().to_owned(),
                plugin.tools.len().to_string(),
                plugin.digest.map(|digest| digest.short()).unwrap_or_default(),
                plugin.state.reason().unwrap_or_default().to_owned(),
            ]
        }));
        render::data(&render::table(&rows))?;
    }
    for error in &wrong {
        render::note(&format!("error: {error}\nhint: {}", error.hint()));
    }
    host.close();
    let bad = !wrong.is_empty() || snapshot.plugins().iter().any(|plugin| plugin.state.reason().is_some());
    Ok(ExitCode::from(u8::from(bad)))
}
