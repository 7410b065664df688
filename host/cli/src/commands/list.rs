//! `list`: the plugins and the state of each, as the host that runs has them, or as one would.

use std::{path::Path, process::ExitCode};

use portcullis_gateway::{Listed, Mend, Row, store_trouble};

use crate::{
    beside::{Way, gone, way_of},
    config::Config,
    host::Host,
    render,
};

pub(crate) async fn run(path: &Path, config: Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let listed = match way_of(path, &config).await? {
        Way::To(mut errand) => {
            let listed = render::waiting("compiling what is not in the cache…", errand.list()).await;
            listed.map_err(|error| gone(&error))?
        }
        Way::Alone(_owner) => alone(config).await?,
    };
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

async fn alone(config: Config) -> anyhow::Result<Listed> {
    let host = Host::open(&config, "list")?;
    // What is wrong stands in the list.
    let wrong = host.catalogue.apply(config.plugins).await.err().unwrap_or_default();
    let wrong = wrong.iter().map(|error| Mend { what: error.to_string(), hint: Some(error.hint()) }).collect();
    render::waiting("compiling what is not in the cache…", host.catalogue.settled()).await;
    let store = store_trouble(host.gateway.store()).await;
    host.close();
    Ok(Listed::of(&host.catalogue.snapshot(), wrong, store))
}
