//! `serve`: the configured plugins, over stdio or HTTP.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use portcullis_gateway::{HttpDoor, ServerName, serve_stdio};

use crate::{
    commands::shutdown,
    config::Config,
    host::Host,
    render::{Fault, fault},
};

pub(crate) async fn run(
    config: Config,
    stdio: bool,
    http: Option<SocketAddr>,
    strict: bool,
) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown()?;
    let name = ServerName(config.server_name.clone());
    let host = Host::open(&config.state_dir, config.max_concurrent_calls, "serve")?;
    // Before the plugins: an address that is taken is said at once.
    let door = if stdio {
        None
    } else {
        let address = http.unwrap_or(config.http);
        Some(HttpDoor::bind(address).await.map_err(|error| fault(&error, error.hint()))?)
    };
    host.apply(config.plugins).await?;
    if strict {
        host.catalogue.settled().await;
        let snapshot = host.catalogue.snapshot();
        if let Some(broken) = snapshot.plugins().iter().find(|plugin| plugin.state.reason().is_some()) {
            let reason = broken.state.reason().unwrap_or_default();
            let message = format!("Plugin `{}` cannot be served: {reason}", broken.name);
            return Err(Fault::error(message, Some("portcullis list".into())));
        }
    }
    let gateway = Arc::clone(&host.gateway);
    match door {
        None => serve_stdio(gateway, name, shutdown).await.map_err(|error| fault(&error, None))?,
        Some(door) => {
            tracing::info!("serving at http://{}/mcp, to this machine alone, without authentication", door.address());
            door.serve(gateway, name, shutdown).await?;
        }
    }
    host.close();
    Ok(ExitCode::SUCCESS)
}
