//! `dev`: builds the plugins in some folders, serves what was built here, and rebuilds on change. It reads and writes
//! no configuration and no lock, and serves this machine alone.

use std::{net::SocketAddr, path::Path, path::PathBuf, process::ExitCode, sync::Arc};

use portcullis_authoring::{BuildOptions, DEBOUNCE, PluginSource, find_plugins, watch};
use portcullis_catalogue::PluginSpec;
use portcullis_gateway::{HttpDoor, ServerName};
use portcullis_policy::{Limits, snake_case};

use crate::{
    commands::{build::build_fault, shutdown},
    host::Host,
    render::{self, fault},
};

/// The state of `dev`, apart from that of any configuration.
const STATE: &str = ".portcullis/dev";
/// Calls at one time: one person tries things out.
const CALLS: u32 = 16;

pub(crate) fn open(command: &str) -> anyhow::Result<Host> {
    Host::open(Path::new(STATE), CALLS, command)
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
                    prefix: format!("{}_", snake_case(source.name.as_str())),
                    tools: None,
                    enabled: true,
                    limits: Limits::default(),
                    settings: Default::default(),
                })
            })
            .collect()
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

/// Builds what is in `dirs`. One plugin that does not build ends the command: nothing of it was ever served.
pub(crate) fn build(dirs: &[PathBuf], quiet: bool) -> anyhow::Result<Workspace> {
    let found = find_plugins(dirs).map_err(|error| fault(&error, error.hint()))?;
    for left_out in &found.left_out {
        render::note(&format!("left out: {}: {}", left_out.dir.display(), left_out.reason));
    }
    let mut workspace = Workspace {
        built: vec![None; found.plugins.len()],
        sources: found.plugins,
    };
    for index in 0..workspace.sources.len() {
        workspace.rebuild(index, quiet)?;
    }
    Ok(workspace)
}

pub(crate) async fn run(dirs: Vec<PathBuf>, http: SocketAddr) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown()?;
    // Before the build, which takes long: an address that is taken is said at once.
    let door = HttpDoor::bind(http)
        .await
        .map_err(|error| fault(&error, error.hint()))?;
    let address = door.address();
    let mut workspace = tokio::task::block_in_place(|| build(&dirs, false))?;
    let mut watch = watch(&workspace.sources, DEBOUNCE).map_err(|error| fault(&error, None))?;
    let host = open("dev")?;
    host.apply(workspace.specs()).await?;
    render::waiting("compiling…", host.catalogue.settled()).await;
    render::note(&welcome(&host, &dirs, address));

    let name = ServerName("portcullis".into());
    let served = door.serve(Arc::clone(&host.gateway), &name, shutdown.clone());
    let rebuilt = async {
        loop {
            for index in watch.changed().await {
                // A plugin that does not build leaves the one that did in place.
                match tokio::task::block_in_place(|| workspace.rebuild(index, false)) {
                    Ok(()) => {
                        if let Err(error) = host.apply(workspace.specs()).await {
                            _ = render::failure(&error);
                        }
                        host.catalogue.settled().await;
                        render::note("rebuilt");
                    }
                    Err(error) => _ = render::failure(&error),
                }
            }
        }
    };
    tokio::select! {
        ended = served => ended?,
        () = rebuilt => (),
    }
    host.close();
    Ok(ExitCode::SUCCESS)
}

/// What to do next.
fn welcome(host: &Host, dirs: &[PathBuf], address: SocketAddr) -> String {
    let snapshot = host.catalogue.snapshot();
    let names: Vec<_> = snapshot
        .tools()
        .iter()
        .map(|tool| tool.definition().name.as_str())
        .collect();
    let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let (tool, arguments) = match snapshot.tools().first() {
        Some(tool) => (
            tool.definition().name.to_string(),
            example(&tool.definition().input_schema),
        ),
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
