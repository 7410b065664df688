//! `list`: the plugins and the state of each, as the host that runs has them, or as one would.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use portcullis_catalogue::PluginSpec;
use portcullis_gateway::{Errand, Listed, Mend, Row, store_trouble};

use crate::{
    beside::{Way, gone, way_of},
    commands::{dev, shutdown},
    config::Config,
    host::Host,
    render::{self, Fault},
};

pub(crate) async fn run(path: &Path, config: Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let listed = match way_of(path, &config).await? {
        Way::To(errand) => through(errand).await?,
        Way::Alone(_owner) => alone(Host::open(&config, "list")?, config.plugins).await?,
    };
    show(&listed, as_json)
}

/// The same for the plugins in these folders, as `dev` serves them.
pub(crate) async fn of_what_is_built(dirs: &[PathBuf], as_json: bool) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown()?;
    let listed = async {
        match dev::way(dirs).await? {
            dev::Way::To(errand) => through(errand).await,
            dev::Way::Alone(house) => {
                let (host, plugins, _owner) = house.open("list").await?;
                alone(host, plugins).await
            }
        }
    };
    let listed = tokio::select! {
        listed = listed => listed?,
        () = shutdown.cancelled() => return Err(Fault::error("The build was stopped", None)),
    };
    show(&listed, as_json)
}

async fn through(mut errand: Errand) -> anyhow::Result<Listed> {
    let listed = render::waiting("compiling what is not in the cache…", errand.list()).await;
    listed.map_err(|error| gone(&error))
}

fn show(listed: &Listed, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        render::json(&listed.plugins)?;
    } else {
        let mut rows = vec![["PLUGIN", "STATE", "TOOLS", "SHA256", "NEXT", ""].map(String::from).to_vec()];
        rows.extend(listed.rows.iter().map(|row| {
            let Row { name, state, tools, digest, next, reason, .. } = row.clone();
            let [digest, next, reason] = [digest, next, reason].map(Option::unwrap_or_default);
            vec![name, state, tools.to_string(), digest, next, reason]
        }));
        render::data(&render::table(&rows))?;
    }
    for Mend { what, hint } in &listed.wrong {
        render::note(&format!("error: {what}"));
        if let Some(hint) = hint {
            render::note(&format!("hint: {hint}"));
        }
    }
    Ok(ExitCode::from(u8::from(listed.is_fault())))
}

async fn alone(host: Host, plugins: Vec<PluginSpec>) -> anyhow::Result<Listed> {
    // What is wrong stands in the list.
    let wrong = host.catalogue.apply(plugins).await.err().unwrap_or_default();
    let wrong = wrong.iter().map(|error| Mend { what: error.to_string(), hint: Some(error.hint()) }).collect();
    render::waiting("compiling what is not in the cache…", host.catalogue.settled()).await;
    let store = store_trouble(host.gateway.store()).await;
    host.close();
    Ok(Listed::of(&host.catalogue.snapshot(), wrong, store))
}
