//! `list`: the plugins and the state of each.

use std::process::ExitCode;

use crate::{config::Config, host::Host, render};

pub(crate) async fn run(config: Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let host = Host::open(&config, "list")?;
    // What is wrong stands in the list.
    let wrong = host.catalogue.apply(config.plugins).await.err().unwrap_or_default();
    render::waiting("compiling what is not in the cache…", host.catalogue.settled()).await;
    let snapshot = host.catalogue.snapshot();
    if as_json {
        render::json(&snapshot.plugins())?;
    } else {
        let mut rows = vec![["PLUGIN", "STATE", "TOOLS", "SHA256", "NEXT", ""].map(String::from).to_vec()];
        rows.extend(snapshot.plugins().iter().map(|plugin| {
            vec![
                plugin.name.to_string(),
                plugin.state.as_str().to_owned(),
                plugin.tools.len().to_string(),
                plugin.digest.map(|digest| digest.short()).unwrap_or_default(),
                plugin.next.clone().unwrap_or_default(),
                plugin.state.reason().unwrap_or_default().to_owned(),
            ]
        }));
        render::data(&render::table(&rows))?;
    }
    for error in &wrong {
        trouble(&error.to_string(), Some(&error.hint()));
    }
    host.close();
    if let Some(trouble) = snapshot.trouble() {
        self::trouble(&trouble.what, trouble.hint.as_deref());
    }
    let bad = !wrong.is_empty()
        || snapshot.trouble().is_some()
        || snapshot.plugins().iter().any(|plugin| plugin.state.is_fault());
    Ok(ExitCode::from(u8::from(bad)))
}

fn trouble(what: &str, hint: Option<&str>) {
    render::note(&format!("error: {what}"));
    if let Some(hint) = hint {
        render::note(&format!("hint: {hint}"));
    }
}
