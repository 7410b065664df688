//! `dev`: builds the plugins in some folders, serves what was built here, and rebuilds on change. It reads and writes
//! no configuration and no lock, and serves this machine alone.

use std::{net::SocketAddr, path::Path, path::PathBuf, process::ExitCode, sync::Arc};

use portcullis_authoring::{BuildOptions, DEBOUNCE, PluginSource, find_plugins, watch};
use portcullis_catalogue::PluginSpec;
use portcullis_gateway::{Found, Hello, HttpDoor, HttpTerms, ServerName, SocketDoor, Wants, seek};
use portcullis_policy::{Limits, snake_case};
use portcullis_runtime::StateDir;

use crate::{
    beside::{self, Way},
    commands::{build::build_fault, shutdown},
    host::{Host, state_fault},
    render::{self, Fault, fault},
};

/// The state of `dev`, apart from that of any configuration.
const STATE: &str = ".portcullis/dev";
/// Calls at one time: one person tries things out.
const CALLS: u32 = 16;

/// What those who come to a running `dev` have to mean: it has no configuration.
const IDENTITY: &str = "dev";

/// A house for one command.
pub(crate) fn open(command: &str) -> anyhow::Result<Host> {
    Host::for_what_is_built(Path::new(STATE), CALLS, command, false)
}

/// The way of a command: to the `dev` that runs in this folder, where one does.
pub(crate) async fn way() -> anyhow::Result<Way> {
    beside::way(Path::new(STATE), IDENTITY.to_owned(), false).await
}

/// Takes the state directory, of which there is one in a folder.
fn own() -> anyhow::Result<SocketDoor> {
    let state = StateDir::open(Path::new(STATE)).map_err(|error| state_fault(&error))?;
    let hello = Hello::new(IDENTITY.to_owned(), Wants::Answers);
    let found = tokio::task::block_in_place(|| seek(state.path(), &hello));
    match found.map_err(|error| fault(&error, error.hint()))? {
        Found::Free(owner) => SocketDoor::open(owner).map_err(|error| fault(&error, error.hint())),
        Found::Host(_, host) => {
            let hint = "end it, or name all folders at once: portcullis dev DIR DIR".to_owned();
            Err(Fault::error(format!("A `dev` runs in this folder already, process {host}"), Some(hint)))
        }
    }
}

/// What was built, by source.
pub(crate) struct Workspace {
    sources: Vec<PluginSource>,
    built: Vec<Option<PathBuf>>,
}

impl Workspace {
    /// The plugins that were built, with default limits.
    pub(crate) fn specs(&self) -> Vec<PluginSpec> {
        let built = self.sources.iter().zip(&self.built);
        built
            .filter_map(|(source, component)| {
                Some(PluginSpec {
                    name: source.name.clone(),
                    source: component.clone()?,
                    written_source: component.as_ref()?.to_string_lossy().into_owned(),
                    prefix: format!("{}_", snake_case(source.name.as_str())),
                    tools: None,
                    enabled: true,
                    limits: Limits::default(),
                    grants: Arc::default(),
                    secrets: Arc::default(),
                    settings: Default::default(),
                })
            })
            .collect()
    }

    /// Builds all of the sources.
    fn build(&mut self, quiet: bool) -> anyhow::Result<()> {
        (0..self.sources.len()).try_for_each(|index| self.rebuild(index, quiet))
    }

    /// Builds one of the sources again. What was built before stays where this fails.
    fn rebuild(&mut self, index: usize, quiet: bool) -> anyhow::Result<()> {
        let Some(source) = self.sources.get(index) else {
            return Ok(());
        };
        let built =
            portcullis_authoring::build(&source.dir, BuildOptions { quiet }).map_err(|error| build_fault(&error))?;
        for warning in &built.warnings {
            render::note(&format!("warning: {}: {warning}", source.name));
        }
        if let Some(slot) = self.built.get_mut(index) {
            *slot = Some(built.component);
        }
        Ok(())
    }
}

/// Finds what is in `dirs`, and says what of it cannot be built.
fn find(dirs: &[PathBuf]) -> anyhow::Result<Workspace> {
    let found = find_plugins(dirs).map_err(|error| fault(&error, error.hint()))?;
    for left_out in &found.left_out {
        render::note(&format!("left out: {}: {}", left_out.dir.display(), left_out.reason));
    }
    Ok(Workspace { built: vec![None; found.plugins.len()], sources: found.plugins })
}

/// Builds what is in `dirs`. One plugin that does not build ends the command: nothing of it was ever served.
pub(crate) fn build(dirs: &[PathBuf], quiet: bool) -> anyhow::Result<Workspace> {
    let mut workspace = find(dirs)?;
    workspace.build(quiet)?;
    Ok(workspace)
}

pub(crate) async fn run(dirs: Vec<PathBuf>, http: SocketAddr) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown()?;
    let socket = own()?;
    // Before the build, which takes long: an address that is taken is said at once.
    let door = HttpDoor::bind(http, HttpTerms::of_this_machine()).map_err(|error| fault(&error, error.hint()))?;
    let address = door.address();
    let mut workspace = find(&dirs)?;
    // Before the build too: what changes meanwhile is not lost.
    let mut watch = watch(&workspace.sources, DEBOUNCE).map_err(|error| fault(&error, error.hint()))?;
    tokio::task::block_in_place(|| workspace.build(false))?;
    let host = Host::for_what_is_built(Path::new(STATE), CALLS, "dev", true)?;
    host.apply(workspace.specs()).await?;
    render::waiting("compiling…", host.catalogue.settled()).await;
    render::notes(&welcome(&host, &dirs, address));

    // In a task of its own, since a rebuild blocks this one.
    let (gateway, name) = (Arc::clone(&host.gateway), ServerName("portcullis".into()));
    let connections = socket.serve(host.desk(IDENTITY.to_owned(), None), name.clone(), shutdown.clone());
    let told = shutdown.clone();
    let served = tokio::spawn(async move { door.serve(gateway, name, told).await });
    let rebuilding = async {
        loop {
            for index in watch.changed().await {
                rebuild(&mut workspace, index, &host).await;
            }
        }
    };
    tokio::select! {
        ended = served => ended??,
        () = rebuilding => (),
    }
    shutdown.cancel();
    let owner = connections.closed().await?;
    host.close();
    drop(host);
    drop(owner);
    Ok(ExitCode::SUCCESS)
}

/// Builds and serves one plugin again. One that does not build leaves what was served in place.
async fn rebuild(workspace: &mut Workspace, index: usize, host: &Host) {
    let applied = match tokio::task::block_in_place(|| workspace.rebuild(index, false)) {
        Ok(()) => host.apply(workspace.specs()).await,
        Err(error) => Err(error),
    };
    match applied {
        Ok(()) => {
            host.catalogue.settled().await;
            render::note("rebuilt");
        }
        // It is told; the code is for a command that ends.
        Err(error) => _ = render::failure(&error),
    }
}

/// What to do next.
fn welcome(host: &Host, dirs: &[PathBuf], address: SocketAddr) -> String {
    let snapshot = host.catalogue.snapshot();
    let names: Vec<_> = snapshot.tools().iter().map(|tool| tool.definition().name.as_str()).collect();
    let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let (tool, arguments) = match snapshot.tools().first() {
        Some(tool) => (tool.definition().name.to_string(), example(&tool.definition().input_schema)),
        None => ("TOOL".into(), "{}".into()),
    };
    let program = std::env::args().next().unwrap_or_else(|| "portcullis".into());
    format!(
        "
Serving {count} tools at http://{address}/mcp, to this machine alone: {names}

Paste into a client's configuration:
  {{ \"mcpServers\": {{ \"portcullis\": {{ \"type\": \"http\", \"url\": \"http://{address}/mcp\" }} }} }}

Try one from here:
  {program} call --dev {dirs} {tool} '{arguments}'

Change a plugin's source, and it is built and served again.
",
        count = names.len(),
        names = names.join(", "),
        dirs = dirs.join(" --dev "),
    )
}

/// Arguments that fit a schema's required strings, for a first try.
fn example(schema: &serde_json::Map<String, serde_json::Value>) -> String {
    let required = schema.get("required").and_then(|required| required.as_array());
    let names = required.into_iter().flatten().filter_map(|name| name.as_str());
    let arguments: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), "Ada".into())).collect();
    serde_json::Value::Object(arguments).to_string()
}
