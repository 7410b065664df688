//! `serve`: the configured plugins, over stdio or HTTP.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use portcullis_catalogue::Snapshot;
use portcullis_gateway::{HttpDoor, KeyRing, ServerName, Who, serve_stdio};
use portcullis_policy::AgentName;

use crate::{
    commands::shutdown,
    config::Config,
    harden::{self, Harden, Reachable},
    host::{APPROVALS, Host, SERVE, key_file, start_fault},
    render::{Fault, fault},
    watch::Watch,
};

/// How to serve, as the command line says it.
pub(crate) struct How {
    pub(crate) stdio: bool,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) agent: Option<String>,
    pub(crate) strict: bool,
    pub(crate) harden: Option<Harden>,
}

/// The command, with all that has to be done before the first thread starts.
pub(crate) struct Serve {
    path: PathBuf,
    config: Config,
    strict: bool,
    who: Who,
    /// None for stdio.
    door: Option<HttpDoor>,
    reachable: Option<Reachable>,
}

impl Serve {
    /// Reads the configuration, binds the address, and then gives up what `harden` says.
    ///
    /// # Errors
    /// When the configuration is at fault, the address is taken, or the process cannot be confined.
    pub(crate) fn prepare(path: PathBuf, how: How) -> anyhow::Result<Self> {
        let How { stdio, http, agent, strict, harden } = how;
        let config = Config::read(&path)?;
        let who = who(&config, agent)?;
        // Before all else: an address that is taken is said at once.
        let address = (!stdio).then(|| http.unwrap_or(config.http));
        let bind = |address| HttpDoor::bind(address, config.statutes.has_agents());
        let door = address.map(bind).transpose().map_err(|error| fault(&error, error.hint()))?;
        let confined = harden.map(|how| harden::confine(&path, &config, how)).transpose()?;
        Ok(Self { path, config, strict, who, door, reachable: confined.flatten() })
    }

    /// Serves to the end.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { path, config, strict, who, door, reachable } = self;
        let shutdown = shutdown()?;
        let name = ServerName(config.server_name.clone());
        let host = Host::confined(&config, SERVE, reachable)?;
        // Before the plugins are read: what changes meanwhile is not lost.
        let mut watch = Watch::new(host.state.path())?;
        look_after(&mut watch, &path, &config, &host);
        host.apply(config.plugins.clone()).await?;
        if strict {
            host.catalogue.settled().await;
            as_configured(&host.catalogue.snapshot())?;
        }
        let gateway = Arc::clone(&host.gateway);
        let serving = async {
            match door {
                None => serve_stdio(gateway, name, who, shutdown).await.map_err(|error| fault(&error, None)),
                Some(door) => {
                    let address = door.address();
                    let asked = if gateway.keeper().asks() { "asking for keys" } else { "without authentication" };
                    let whom =
                        if address.ip().is_loopback() { "to this machine alone" } else { "to other machines too" };
                    tracing::info!("serving at http://{address}/mcp, {whom}, {asked}");
                    Ok(door.serve(gateway, name, shutdown).await?)
                }
            }
        };
        tokio::select! {
            served = serving => served?,
            () = reload(&mut watch, &path, config, &host) => (),
        }
        host.close();
        Ok(ExitCode::SUCCESS)
    }
}

/// Whom standard input and output belong to.
fn who(config: &Config, agent: Option<String>) -> anyhow::Result<Who> {
    let Some(agent) = agent else { return Ok(Who::Operator) };
    let known = || config.statutes.agents().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match AgentName::new(agent.clone()).ok().filter(|name| config.statutes.agent(name).is_some()) {
        Some(name) => Ok(Who::Agent(name)),
        None => {
            let hint = format!("the configuration has the agents: {}", known());
            Err(Fault::error(format!("There is no agent `{agent}` in the configuration"), Some(hint)))
        }
    }
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
    let keys = key_file(&host.state);
    let sources = config.plugins.iter().map(|plugin| plugin.source.as_path());
    watch.look_after(sources.chain([path, config.lock.as_path(), record.as_path(), keys.path()]));
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
                config = config.with_plugins_of(&read);
                if config.plugins != plugins {
                    tracing::info!("the configuration changed");
                }
            }
            // What was in order goes on.
            Err(error) => tracing::error!(error = %error, "the configuration is not valid, and was not applied"),
        }
        match key_file(&host.state).read() {
            Ok(ring) => host.gateway.keeper().replace(config.statutes.clone(), ring),
            // Who was revoked in a file that cannot be read is not known: nobody comes in by a key.
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no key opens until its file can be read");
                host.gateway.keeper().replace(config.statutes.clone(), KeyRing::default());
            }
        }
        look_after(watch, path, &config, host);
        if let Err(errors) = host.catalogue.apply(config.plugins.clone()).await {
            tracing::error!(error = %start_fault(&errors), "the configuration was applied in part");
        }
    }
}
