//! `call`: one call along the path of a client's, with what it cost.

use std::{io::Read, path::Path, path::PathBuf, process::ExitCode};

use portcullis_audit::Outcome;
use portcullis_catalogue::{PluginSpec, Progress};
use portcullis_gateway::{Called, CalledEnd, Errand, called};
use serde_json::{Map, Value, json};

use crate::{
    beside::{Way, gone, way_of},
    commands::{dev, shutdown},
    config::Config,
    host::Host,
    render::{self, Fault},
};

/// Reports of progress that wait to be printed.
const MAX_REPORTS: usize = 16;

pub(crate) async fn run(
    path: &Path,
    dev_dirs: &[PathBuf],
    tool: &str,
    arguments: &str,
    log: bool,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let arguments = read(arguments)?;
    let shutdown = shutdown()?;
    let called = async {
        if !dev_dirs.is_empty() {
            return match dev::way(dev_dirs).await? {
                dev::Way::To(errand) => through(errand, tool, arguments).await,
                dev::Way::Alone(house) => {
                    let (host, plugins, _owner) = house.open("call").await?;
                    alone(host, plugins, tool, arguments).await
                }
            };
        }
        let config = Config::read(path)?;
        match way_of(path, &config).await? {
            Way::To(errand) => through(errand, tool, arguments).await,
            // The state directory is this command's until the end.
            Way::Alone(_owner) => alone(Host::open(&config, "call")?, config.plugins, tool, arguments).await,
        }
    };
    let called = tokio::select! {
        called = called => called?,
        () = shutdown.cancelled() => return Err(Fault::error("The call was cancelled", None)),
    };
    show(called, tool, log, as_json)
}

/// Through the host that runs.
async fn through(mut errand: Errand, tool: &str, arguments: Map<String, Value>) -> anyhow::Result<Called> {
    let called = errand.call(tool, arguments, |report| render::note(&shown(&report)));
    called.await.map_err(|error| gone(&error))
}

/// In a house of this command's own.
async fn alone(
    host: Host,
    plugins: Vec<PluginSpec>,
    tool: &str,
    arguments: Map<String, Value>,
) -> anyhow::Result<Called> {
    host.apply(plugins).await?;
    if let Some(found) = host.catalogue.snapshot().tool(tool) {
        render::waiting("compiling…", found.ready()).await;
    }
    let (reports, mut receiver) = tokio::sync::mpsc::channel(MAX_REPORTS);
    let printer = tokio::spawn(async move {
        while let Some(report) = receiver.recv().await {
            render::note(&shown(&report));
        }
    });
    let called = called(&host.gateway, tool, arguments, Some(reports)).await;
    printer.abort();
    host.close();
    Ok(called)
}

/// Prints how it ended.
fn show(called: Called, tool: &str, log: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let (end, used, printed, dropped) = match called {
        Called::Ended { end, used, printed, dropped } => (end, used, printed, dropped),
        Called::Unknown { tools } => return Err(unknown(tool, &tools)),
        Called::NotRecorded => anyhow::bail!("the audit log in the state directory could not be written"),
    };
    if log {
        for line in &printed {
            for text in line.text.split('\n') {
                render::note(&format!("{}: {text}", line.source));
            }
        }
        if dropped > 0 {
            render::note(&format!("{dropped} more bytes were not kept"));
        }
    }
    if as_json {
        let (name, value) = match &end {
            CalledEnd::Result(object) => ("result", Value::Object(object.clone())),
            CalledEnd::ToolError { value, .. } => ("toolError", value.clone()),
            CalledEnd::Failed { outcome, message } => ("error", json!({ "outcome": outcome, "message": message })),
        };
        let mut data = Map::new();
        data.insert("used".into(), json!(used));
        data.insert(name.into(), value);
        if log {
            data.insert("log".into(), json!(printed));
        }
        render::json(&data)?;
    }
    let cost = format!(
        "{:.3} ms, {} fuel, {:.1} MiB of memory",
        used.micros as f64 / 1e3,
        used.fuel.map_or_else(|| "unknown".to_owned(), |fuel| fuel.to_string()),
        used.memory as f64 / f64::from(1 << 20)
    );
    match end {
        CalledEnd::Result(object) => {
            if !as_json {
                render::json(&object)?;
                render::note(&cost);
            }
            Ok(ExitCode::SUCCESS)
        }
        CalledEnd::ToolError { text, .. } => {
            let what = format!("The tool answered with an error, after {cost}:");
            Err(Fault::of_lines(std::iter::once(what).chain(render::quoted(&text)), None))
        }
        CalledEnd::Failed { outcome: Outcome::BadArguments, message } => {
            Err(Fault::error(message, Some("`portcullis inspect NAME` shows what the tool takes".into())))
        }
        CalledEnd::Failed { message, .. } => Err(anyhow::anyhow!("{message}, after {cost}")),
    }
}

fn read(arguments: &str) -> anyhow::Result<Map<String, Value>> {
    let text = if arguments == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        arguments.to_owned()
    };
    serde_json::from_str(&text).map_err(|error| {
        let hint = r#"quote it for the shell: '{"name": "Ada"}'"#.to_owned();
        Fault::error(format!("The arguments are no JSON object: {error}"), Some(hint))
    })
}

fn shown(report: &Progress) -> String {
    let total = report.total.map(|total| format!("/{total}")).unwrap_or_default();
    format!("progress {}{total} {}", report.progress, report.message.as_deref().unwrap_or_default())
}

fn unknown(tool: &str, tools: &[String]) -> anyhow::Error {
    let best = tools.iter().max_by(|a, b| strsim::jaro(tool, a).total_cmp(&strsim::jaro(tool, b)));
    let hint = match best {
        Some(best) => format!("the nearest is `{best}`; `portcullis list --json` has all"),
        None => "no plugin is served; `portcullis list` says why".into(),
    };
    Fault::error(format!("There is no tool `{tool}`"), Some(hint))
}
