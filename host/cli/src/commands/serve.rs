//! `serve`: the configured plugins, over stdio or HTTP.

use std::{
    io,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use portcullis_gateway::{
    Connections, Found, Hello, HttpDoor, HttpTerms, KeyRing, Listed, Mend, Misfit, OAuth, PeerBounds, RelayEnd,
    ServerName, SocketDoor, Tls, Wants, Who, relay, seek, serve_stdio,
};
use portcullis_policy::AgentName;
use portcullis_runtime::StateDir;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    beside::{Way, gone, identity, way},
    commands::shutdown,
    config::{Config, DoorSpec},
    harden::{self, Harden, Reachable},
    host::{APPROVALS, Host, key_file, start_fault, state_fault},
    render::{Fault, fault},
    watch::Watch,
};

/// Commands that wait for the files to be looked at; more wait at the socket.
const MAX_ASKED: usize = 16;

/// How to serve, as the command line says it.
pub(crate) struct How {
    pub(crate) stdio: bool,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) agent: Option<String>,
    pub(crate) strict: bool,
    pub(crate) harden: Option<Harden>,
}

/// The command, with all that has to be done before the first thread starts.
pub(crate) enum Prepared {
    /// This process is the host.
    Host(Box<Serve>),
    /// Another one is, and this one carries its client's bytes there.
    Relay(Box<Relay>),
}

/// This process as the host.
pub(crate) struct Serve {
    path: PathBuf,
    config: Config,
    strict: bool,
    who: Who,
    /// None for stdio.
    door: Option<HttpDoor>,
    socket: SocketDoor,
    reachable: Option<Reachable>,
}

/// Reads the configuration, takes the state directory, binds the address, and then gives up what `harden` says.
///
/// # Errors
/// When the configuration is at fault, another host has what this one needs, or the process cannot be confined.
pub(crate) fn prepare(path: PathBuf, how: How) -> anyhow::Result<Prepared> {
    let How { stdio, http, agent, strict, harden } = how;
    let config = Config::read(&path)?;
    let who = who(&config, agent.clone())?;
    let confine =
        || Ok::<_, anyhow::Error>(harden.map(|how| harden::confine(&path, &config, how)).transpose()?.flatten());
    let state = StateDir::open(&config.state_dir).map_err(|error| state_fault(&error))?;
    let wants = if stdio { Wants::Mcp { agent } } else { Wants::Answers };
    let found = seek(state.path(), &Hello::new(identity(&path), wants)).map_err(|error| fault(&error, error.hint()))?;
    let owner = match found {
        Found::Free(owner) => owner,
        Found::Host(stream, host) if stdio => {
            confine()?;
            return Ok(Prepared::Relay(Box::new(Relay { path, config, strict, stream, host })));
        }
        Found::Host(_, host) => return Err(second(state.path(), host)),
    };
    let socket = SocketDoor::open(owner).map_err(|error| fault(&error, error.hint()))?;
    // Before all that takes long: an address that is taken is said at once.
    let address = (!stdio).then(|| http.unwrap_or(config.http));
    let door = address.map(|address| open_door(&config, address)).transpose()?;
    let reachable = confine()?;
    Ok(Prepared::Host(Box::new(Serve { path, config, strict, who, door, socket, reachable })))
}

/// Opens the door of HTTP as it is configured.
fn open_door(config: &Config, address: SocketAddr) -> anyhow::Result<HttpDoor> {
    let DoorSpec { tls, trusted_proxies, public_hosts, connections: (all, of_address) } = config.door.clone();
    let tls = tls.map(|(cert, key)| Tls::open(cert, key)).transpose().map_err(|error| fault(&error, error.hint()))?;
    let bounds = PeerBounds { all, of_address };
    let terms = HttpTerms { asks: config.asks(), tls, trusted_proxies, public_hosts, bounds };
    let door = HttpDoor::bind(address, terms).map_err(|error| fault(&error, error.hint()))?;
    if door.is_in_the_clear() {
        tracing::warn!(
            "keys cross the network in the clear: write `[server.tls]` with `cert` and `key`, or `trusted-proxies` of `[server]` \
             where a proxy speaks TLS"
        );
    }
    Ok(door)
}

/// Only a second owner is refused: clients of standard input and output share the first.
fn second(state: &Path, host: u32) -> anyhow::Error {
    let what = format!("The state directory `{}` has a host already, process {host}", state.display());
    let hint = "one host owns a state directory, and `serve --stdio` shares it; several hosts share a store by the distributed \
                engine: each with a `state-dir` of its own, and in `[store]`, url = \"redis://HOST\" (Redis 7 or Valkey)";
    Fault::error(what, Some(hint.to_owned()))
}

impl Serve {
    /// Serves to the end.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { path, config, strict, who, door, socket, reachable } = self;
        let shutdown = shutdown()?;
        let name = ServerName(config.server_name.clone());
        let host = Host::serving(&config, "serve", reachable)?;
        // Before the plugins are read: what changes meanwhile is not lost.
        let mut watch = Watch::new(host.state.path())?;
        let tls = door.as_ref().and_then(|door| door.tls().cloned());
        let reads = Reads { path: &path, tls: tls.as_deref() };
        look_after(&mut watch, &reads, &config, &host);
        host.apply(config.plugins.clone()).await?;
        let mut misfits = Vec::new();
        host.open_routes(&config.routes, &mut misfits);
        if strict {
            host.catalogue.settled().await;
            as_configured(&Listed::of(&host.catalogue.snapshot(), Vec::new(), None))?;
        }
        let gateway = Arc::clone(&host.gateway);
        let (reload, mut asked) = mpsc::channel(MAX_ASKED);
        let desk = host.desk(identity(&path), Some(reload));
        let mut connections = socket.serve(desk, name.clone(), shutdown.clone());
        let serving = async {
            match door {
                None => {
                    let served = serve_stdio(gateway, name, who, shutdown.clone()).await;
                    others(&mut connections, &shutdown).await;
                    served.map_err(|error| fault(&error, None))
                }
                Some(door) => {
                    let address = door.address();
                    let asked =
                        if gateway.keeper().asks() { "asking for keys or tokens" } else { "without authentication" };
                    let whom =
                        if address.ip().is_loopback() { "to this machine alone" } else { "to other machines too" };
                    let scheme = if door.tls().is_some() { "https" } else { "http" };
                    tracing::info!("serving at {scheme}://{address}/mcp, {whom}, {asked}");
                    Ok(door.serve(gateway, name, shutdown.clone()).await?)
                }
            }
        };
        let served = tokio::select! {
            served = serving => served,
            () = reloading(&mut watch, &mut asked, &reads, (config, misfits), &host) => Ok(()),
        };
        shutdown.cancel();
        let owner = connections.closed().await?;
        host.close();
        // The store's file first, so that the next owner finds it free.
        drop(host);
        drop(owner);
        served.map(|()| ExitCode::SUCCESS)
    }
}

/// Serves those who share this host until the last has gone: that the client which started it leaves is no reason to cut
/// them off.
async fn others(connections: &mut Connections, shutdown: &CancellationToken) {
    if connections.count() > 0 && !shutdown.is_cancelled() {
        tracing::info!("the client is gone; {} more share this host, which stays for them", connections.count());
    }
    tokio::select! {
        () = connections.gone() => {}
        () = shutdown.cancelled() => {}
    }
}

/// This process as a way to the host.
pub(crate) struct Relay {
    path: PathBuf,
    config: Config,
    strict: bool,
    stream: UnixStream,
    host: u32,
}

impl Relay {
    /// Carries bytes to the end of either side.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { path, config, strict, stream, host } = self;
        if strict {
            let look = async {
                match way(&config.state_dir, identity(&path), false).await? {
                    Way::To(mut errand) => as_configured(&errand.list().await.map_err(|error| gone(&error))?),
                    Way::Alone(_) => anyhow::bail!("the host that runs here (process {host}) went away"),
                }
            };
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(look)?;
        }
        tracing::info!("the host that runs here, process {host}, serves this client");
        match relay(stream, io::stdin(), io::stdout())? {
            RelayEnd::Client => Ok(ExitCode::SUCCESS),
            RelayEnd::Host => anyhow::bail!(
                "the host that served this client (process {host}) has ended, and the session with it; start it again, and \
                 the first `serve` is the host"
            ),
        }
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
fn as_configured(listed: &Listed) -> anyhow::Result<()> {
    if let Some(wrong) = listed.wrong.first() {
        return Err(Fault::error(format!("The lock cannot be used: {}", wrong.what), wrong.hint.clone()));
    }
    let Some(plugin) = listed.rows.iter().find(|plugin| plugin.fault || plugin.waits) else { return Ok(()) };
    let why = plugin.reason.as_ref().unwrap_or(&plugin.state);
    let message = format!("Plugin `{}` cannot be served as it is configured: {why}", plugin.name);
    Err(Fault::error(message, plugin.next.clone().or_else(|| Some("portcullis list".into()))))
}

/// What is read again when it changes, beside the lock, the keys and the components.
struct Reads<'a> {
    path: &'a Path,
    tls: Option<&'a Tls>,
}

fn look_after(watch: &mut Watch, reads: &Reads<'_>, config: &Config, host: &Host) {
    let record = host.state.join(APPROVALS).join("accepted.json");
    let keys = key_file(&host.state);
    let sources = config.plugins.iter().map(|plugin| plugin.source.as_path());
    let issuer = config.oauth.as_ref().and_then(OAuth::jwks).map(PathBuf::as_path);
    let tls = reads.tls.into_iter().flat_map(Tls::files);
    let own = [reads.path, config.lock.as_path(), record.as_path(), keys.path()];
    watch.look_after(sources.chain(own).chain(issuer).chain(tls));
}

/// Applies each change of the configuration, the lock, the record and the components, and looks when it is asked to. Never
/// ends.
async fn reloading(
    watch: &mut Watch,
    asked: &mut mpsc::Receiver<oneshot::Sender<Vec<Mend>>>,
    reads: &Reads<'_>,
    (mut config, mut misfits): (Config, Vec<Misfit>),
    host: &Host,
) {
    loop {
        let told = tokio::select! {
            () = watch.changed() => None,
            Some(told) = asked.recv() => Some(told),
        };
        let wrong = reload(watch, reads, &mut config, host).await;
        host.open_routes(&config.routes, &mut misfits);
        if let Some(told) = told {
            // Whoever asked may have gone.
            _ = told.send(wrong);
        }
    }
}

/// Reads everything again. What is wrong.
async fn reload(watch: &mut Watch, reads: &Reads<'_>, config: &mut Config, host: &Host) -> Vec<Mend> {
    let mut wrong = Vec::new();
    match Config::read(reads.path) {
        Ok(read) => {
            let (plugins, routes) = (config.plugins.clone(), Arc::clone(&config.routes));
            if read.with_plugins_of(config) != *config {
                tracing::warn!(
                    "a change of anything but plugins, routes, roles and agents takes effect at the next start"
                );
            }
            *config = config.with_plugins_of(&read);
            if config.plugins != plugins || config.routes != routes {
                tracing::info!("the configuration changed");
            }
        }
        // What was in order goes on.
        Err(error) => {
            tracing::error!(error = %error, "the configuration is not valid, and was not applied");
            wrong.push(Mend { what: "the configuration is not valid, and was not applied".into(), hint: None });
        }
    }
    match key_file(&host.state).read() {
        Ok(ring) => host.gateway.keeper().replace(config.statutes.clone(), ring),
        // Who was revoked in a file that cannot be read is not known: nobody comes in by a key.
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no key opens until its file can be read");
            host.gateway.keeper().replace(config.statutes.clone(), KeyRing::default());
        }
    }
    if let Some(Err(error)) = reads.tls.map(Tls::reload) {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the certificate in use stays: the new one cannot be used"
        );
        wrong.push(Mend { what: "the certificate could not be read again".into(), hint: error.hint() });
    }
    look_after(watch, reads, config, host);
    if let Err(errors) = host.catalogue.apply(config.plugins.clone()).await {
        tracing::error!(error = %start_fault(&errors), "the configuration was applied in part");
        wrong.extend(errors.iter().map(|error| Mend { what: error.to_string(), hint: Some(error.hint()) }));
    }
    wrong
}
