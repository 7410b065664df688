//! `dev`: builds the plugins in some folders, serves what was built here, and rebuilds on change. It reads a configuration
//! where one of the folders has one, reads and writes no lock, and serves this machine alone.

mod settings;
mod workspace;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use portcullis_authoring::{DEBOUNCE, Language, Watch as Sources, watch};
use portcullis_catalogue::{PluginSpec, State};
use portcullis_gateway::{
    Errand, Found, Hello, HttpDoor, HttpTerms, Misfit, Owner, ServerName, SocketDoor, Wants, seek,
};
use portcullis_runtime::StateDir;

use self::{
    settings::{Settings, candidates},
    workspace::{LeftOut, Workspace},
};
use crate::{
    beside,
    commands::{build::build_fault, shutdown},
    config::Config,
    host::{Host, state_fault},
    render::{self, Fault, fault},
    watch::Watch,
};

/// The state of `dev`, apart from that of any configuration.
const STATE: &str = ".portcullis/dev";

/// What those who come to a running `dev` have to mean: it has no configuration that others share.
const IDENTITY: &str = "dev";

/// The way of a command that takes its plugins from folders.
pub(crate) enum Way {
    /// To the `dev` that runs here, whatever folders it was started for.
    To(Errand),
    /// It builds them itself.
    Alone(Box<House>),
}

/// A house of a command's own, not yet built.
pub(crate) struct House {
    workspace: Workspace,
    owner: Option<Owner>,
}

/// The way of a command: to the `dev` that runs in this folder, where one does.
pub(crate) async fn way(dirs: &[PathBuf]) -> anyhow::Result<Way> {
    let settings = Settings::find(dirs)?;
    let owns = settings.as_ref().is_some_and(|settings| settings.config.shares());
    Ok(match beside::way(Path::new(STATE), IDENTITY.to_owned(), owns).await? {
        beside::Way::To(errand) => Way::To(errand),
        beside::Way::Alone(owner) => Way::Alone(Box::new(House { workspace: Workspace::find(dirs, settings)?, owner })),
    })
}

impl House {
    /// Builds the plugins. The state directory is the command's for as long as it keeps what is last.
    pub(crate) async fn open(mut self, command: &str) -> anyhow::Result<(Host, Vec<PluginSpec>, Option<Owner>)> {
        self.workspace.build(true).await?;
        self.workspace.left_out().iter().for_each(LeftOut::tell);
        let host = Host::for_what_is_built(Path::new(STATE), config(&self.workspace), command, false)?;
        Ok((host, self.workspace.specs(), self.owner))
    }
}

fn config(workspace: &Workspace) -> Option<&Config> {
    workspace.settings.as_ref().map(|settings| &settings.config)
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

pub(crate) async fn run(dirs: Vec<PathBuf>, http: SocketAddr) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown()?;
    let socket = own()?;
    // Before the build, which takes long: an address that is taken is said at once, and so is a wrong configuration.
    let door = HttpDoor::bind(http, HttpTerms::of_this_machine()).map_err(|error| fault(&error, error.hint()))?;
    let address = door.address();
    let mut workspace = Workspace::find(&dirs, Settings::find(&dirs)?)?;
    // Before the build too: what changes meanwhile is not lost.
    let mut sources = watch(&workspace.sources, DEBOUNCE).map_err(|error| fault(&error, error.hint()))?;
    let files = candidates(&dirs);
    let mut settings = Watch::new(Path::new(STATE))?;
    settings.look_after(files.iter().map(PathBuf::as_path));
    tokio::select! {
        built = workspace.build(false) => built?,
        () = shutdown.cancelled() => return Ok(ExitCode::SUCCESS),
    }
    let host = Host::for_what_is_built(Path::new(STATE), config(&workspace), "dev", true)?;
    host.apply(workspace.specs()).await?;
    render::waiting("compiling…", host.catalogue.settled()).await;
    let mut misfits = Vec::new();
    open_routes(&workspace, &host, &mut misfits);
    workspace.left_out().iter().chain(&broken(&host)).for_each(LeftOut::tell);
    render::notes(&welcome(&host, &workspace, &dirs, address));

    // In a task of its own, since a rebuild keeps this one.
    let (gateway, name) = (Arc::clone(&host.gateway), ServerName("portcullis".into()));
    let connections = socket.serve(host.desk(IDENTITY.to_owned(), None), name.clone(), shutdown.clone());
    let told = shutdown.clone();
    let served = tokio::spawn(async move { door.serve(gateway, name, told).await });
    let changing = async {
        loop {
            tokio::select! {
                changed = sources.changed() => {
                    rebuild(&mut workspace, changed, &mut sources, &host).await;
                    open_routes(&workspace, &host, &mut misfits);
                }
                () = settings.changed() => {
                    settings.look_after(files.iter().map(PathBuf::as_path));
                    reconfigure(&mut workspace, &host).await;
                    open_routes(&workspace, &host, &mut misfits);
                }
            }
        }
    };
    tokio::select! {
        ended = served => ended??,
        () = changing => (),
    }
    shutdown.cancel();
    let owner = connections.closed().await?;
    host.close();
    drop(host);
    drop(owner);
    Ok(ExitCode::SUCCESS)
}

fn open_routes(workspace: &Workspace, host: &Host, said: &mut Vec<Misfit>) {
    if let Some(config) = config(workspace) {
        host.open_routes(&config.routes, said);
    }
}

/// Builds and serves plugins again, and those that change meanwhile. One that does not build leaves what was served in place.
async fn rebuild(workspace: &mut Workspace, changed: BTreeSet<usize>, sources: &mut Sources, host: &Host) {
    let mut waiting = changed;
    while let Some(index) = waiting.pop_first() {
        // A build script of Rust may write sources: each build would end itself.
        let is_repeatable = workspace.sources.get(index).is_some_and(|source| source.language != Language::Rust);
        let built = {
            let building = workspace.rebuild(index, false);
            tokio::pin!(building);
            loop {
                tokio::select! {
                    built = &mut building => break Some(built),
                    more = sources.changed() => {
                        // It may never end, as the source was before: nobody waits for that who has mended it.
                        let is_old = is_repeatable && more.contains(&index);
                        waiting.extend(more);
                        if is_old {
                            break None;
                        }
                    }
                }
            }
        };
        let applied = match built {
            None => continue,
            Some(Ok(Ok(()))) => host.apply(workspace.specs()).await,
            Some(Ok(Err(error))) => Err(build_fault(&error)),
            Some(Err(error)) => Err(error),
        };
        tell(applied, "rebuilt", host).await;
    }
}

/// Serves what was built by a configuration that has changed. One that is wrong leaves what was served in place.
async fn reconfigure(workspace: &mut Workspace, host: &Host) {
    let Some(settings) = &mut workspace.settings else {
        render::note("warning: a configuration that was not there before is read when `dev` starts again");
        return;
    };
    let applied = match settings.reload() {
        Ok(()) => host.apply(workspace.specs()).await,
        Err(error) => Err(error),
    };
    tell(applied, "the configuration changed", host).await;
}

async fn tell(applied: anyhow::Result<()>, done: &str, host: &Host) {
    match applied {
        Ok(()) => {
            host.catalogue.settled().await;
            render::note(done);
        }
        // It is told; the code is for a command that ends.
        Err(error) => _ = render::failure(&error),
    }
}

/// What was built and cannot be served: without a grant, or a secret that this machine has not got.
fn broken(host: &Host) -> Vec<LeftOut> {
    let snapshot = host.catalogue.snapshot();
    let broken = snapshot.plugins().iter().filter_map(|plugin| match &plugin.state {
        State::Broken { reason, mend } => {
            Some(LeftOut::new(plugin.name.as_str(), reason.clone(), mend.clone().or_else(|| plugin.next.clone())))
        }
        State::Disabled => Some(LeftOut::new(plugin.name.as_str(), "it is not enabled", None)),
        State::Approved | State::Quarantined { .. } | State::PendingReview { .. } | State::Missing { .. } => None,
    });
    broken.collect()
}

/// What to do next.
fn welcome(host: &Host, workspace: &Workspace, dirs: &[PathBuf], address: SocketAddr) -> String {
    let snapshot = host.catalogue.snapshot();
    let names: Vec<_> = snapshot.tools().iter().map(|tool| tool.definition().name.as_str()).collect();
    let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let simple = snapshot.tools().iter().filter_map(|tool| Some((tool, example(&tool.definition().input_schema)?)));
    // One that has nothing to look up answers whatever it is asked.
    let first = simple.min_by_key(|(tool, _)| !tool.rules().grants.configured().is_empty());
    let (tool, arguments) = match &first {
        Some((tool, arguments)) => (tool.definition().name.as_str(), arguments.as_str()),
        None => ("TOOL", "JSON"),
    };
    let program = std::env::args().next().unwrap_or_else(|| "portcullis".into());
    let by = workspace.settings.as_ref().map(|settings| format!(", as `{}` says", settings.path.display()));
    format!(
        "
Serving {count} tools at http://{address}/mcp, to this machine alone{by}: {names}

Paste into a client's configuration:
  {{ \"mcpServers\": {{ \"portcullis\": {{ \"type\": \"http\", \"url\": \"http://{address}/mcp\" }} }} }}

Try one from here:
  {program} call --dev {dirs} {tool} '{arguments}'

Change a plugin's source, and it is built and served again.
",
        count = names.len(),
        by = by.unwrap_or_default(),
        names = names.join(", "),
        dirs = dirs.join(" --dev "),
    )
}

/// Arguments that fit a schema, where all that it requires are strings of any kind.
fn example(schema: &serde_json::Map<String, serde_json::Value>) -> Option<String> {
    let required = schema.get("required").and_then(|required| required.as_array());
    let mut arguments = serde_json::Map::new();
    for name in required.into_iter().flatten().filter_map(|name| name.as_str()) {
        let property = schema.get("properties")?.get(name)?;
        let any = property.get("type")? == "string"
            && ["enum", "pattern", "format", "maxLength", "contentEncoding"]
                .iter()
                .all(|bound| property.get(bound).is_none());
        arguments.insert(name.to_owned(), any.then(|| "Ada".into())?);
    }
    Some(serde_json::Value::Object(arguments).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_example_fits_or_there_is_none() {
        let of = |required, properties| {
            let schema = json!({ "type": "object", "required": required, "properties": properties });
            example(schema.as_object().expect("an object"))
        };
        let (text, list) = (json!({ "type": "string" }), json!({ "type": "array" }));
        assert_eq!(of(json!(["a"]), json!({ "a": text, "b": list })).as_deref(), Some(r#"{"a":"Ada"}"#));
        assert_eq!(of(json!([]), json!({ "b": list })).as_deref(), Some("{}"));
        assert_eq!(of(json!(["a", "b"]), json!({ "a": text, "b": list })), None);
        assert_eq!(of(json!(["c"]), json!({ "c": { "type": "string", "enum": ["x"] } })), None);
    }
}
