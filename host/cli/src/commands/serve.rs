//! `serve`: the configured plugins, over stdio or HTTP.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use portcullis_catalogue::Snapshot;
use portcullis_gateway::{HttpDoor, ServerName, serve_stdio};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::shutdown,
    config::Config,
    harden::{self, Harden, Reachable},
    host::{APPROVALS, Host, start_fault},
    render::{Fault, fault},
    watch::Watch,
};

/// The command, with all that has to be done before the first thread starts.
pub(crate) struct Serve {
    path: PathBuf,
    config: Config,
    strict: bool,
    /// None for stdio.
    door: Option<HttpDoor>,
    reachable: Option<Reachable>,
}

impl Serve {
    /// Reads the configuration, binds the address, and then gives up what `harden` says.
    ///
    /// # Errors
    /// When the configuration is at fault, the address is taken, or the process cannot be confined.
    pub(crate) fn prepare(
        path: PathBuf,
        stdio: bool,
        http: Option<SocketAddr>,
        strict: bool,
        harden: Option<Harden>,
    ) -> anyhow::Result<Self> {
        let config = Config::read(&path)?;
        // Before all else: an address that is taken is said at once.
        let address = (!stdio).then(|| http.unwrap_or(config.http));
        let door = address.map(HttpDoor::bind).transpose().map_err(|error| fault(&error, error.hint()))?;
        let confined = harden.map(|how| harden::confine(&path, &config, how)).transpose()?;
        Ok(Self { path, config, strict, door, reachable: confined.flatten() })
    }

    /// Serves to the end.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { path, config, strict, door, reachable } = self;
        let shutdown = shutdown()?;
        let name = ServerName(config.server_name.clone());
        let host = Host::confined(&config, "serve", reachable)?;
        serve(&path, config, strict, door, &host, name, shutdown).await
    }
}

async fn serve(
    path: &Path,
    config: Config,
    strict: bool,
    door: Option<HttpDoor>,
    host: &Host,
    name: ServerName,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    // Before the plugins are read: what changes meanwhile is not lost.
    let mut watch = Watch::new()?;
    look_after(&mut watch, path, &config, host);
    host.apply(config.plugins.clone()).await?;
    if strict {
        host.catalogue.settled().await;
        as_configured(&host.catalogue.snapshot())?;
    }
    let gateway = Arc::clone(&host.gateway);
    let serving = async {
        match door {
            None => serve_stdio(gateway, name, shutdown).await.map_err(|error| fault(&error, None)),
            Some(door) => {
                let address = door.address();
                tracing::info!("serving at http://{address}/mcp, to this machine alone, without authentication");
                Ok(door.serve(gateway, name, shutdown).await?)
            }
        }
    };
    tokio::select! {
        served = serving => served?,
        () = reload(&mut watch, path, config, host) => (),
    }
    host.close();
    Ok(ExitCode::SUCCESS)
}

/// With `--strict`, every plugin is served as it is configured, or none.
fn as_configured(snapshot: &Snapshot) -> anyhow::Result<()> {
    if let Some(trouble) = snapshot.trouble() {
        return Err(Fault::error(format!("The lock cannot be used: {}", trouble.what), trouble.hint.clone()));
    }
    let waiting = snapshot.plugins().iter().find(|plugin| plugin.state.is_fault() || plugin.state.waits());
    let Some(plugin) = waiting else { return Ok(()) };
    let why = plugin.state.reason().map_or_else(|| plugin.state.as_str().to_owned(), str::to_owned);
    let message = format!("Plugin `{}` cannot be served as it is configured: {why}", plugin.name);
    Err(Fault::error(message, plugin.next.clone().or_else(|| Some("portcullis list".into()))))
}

fn look_after(watch: &mut Watch, path: &Path, config: &Config, host: &Host) {
    let record = host.state.join(APPROVALS).join("accepted.json");
    let sources = config.plugins.iter().map(|plugin| plugin.source.as_path());
    watch.look_after(sources.chain([path, config.lock.as_path(), record.as_path()]));
}

/// Applies each change of the configuration, the lock, the record and the components. Never ends.
async fn reload(watch: &mut Watch, path: &Path, mut config: Config, host: &Host) {
    loop {
        watch.changed().await;
        match Config::read(path) {
            Ok(read) => {
                let plugins = config.plugins.clone();
                if read.with_plugins_of(&config) != config {
                    tracing::warn!("a change of anything but plugins takes effect at the next start");
                }
                config = Config { plugins: read.plugins, ..config };
                if config.plugins != plugins {
                    tracing::info!("the configuration changed");
                }
            }
            // What was in order goes on.
            Err(error) => tracing::error!(error = %error, "the configuration is not valid, and was not applied"),
        }
        look_after(watch, path, &config, host);
        if let Err(errors) = host.catalogue.apply(config.plugins.clone()).await {
            tracing::error!(error = %start_fault(&errors), "the configuration was applied in part");
        }
    }
}
