//! `call`: one call along the path of a client's, with what it cost.

use std::{io::Read, path::Path, path::PathBuf, process::ExitCode};

use portcullis_audit::Outcome;
use portcullis_catalogue::{PluginSpec, Progress};
use portcullis_gateway::{Called, CalledEnd, Confirmed, Errand, called};
use portcullis_policy::Digest;
use serde_json::{Map, Value, json};

use crate::{
    beside::{Way, gone, way_of},
    commands::{dev, shutdown},
    config::Config,
    host::Host,
    render::{self, Fault},
    terminal,
};

/// Reports of progress that wait to be printed.
const MAX_REPORTS: usize = 16;

/// What is called.
struct Call<'a> {
    tool: &'a str,
    arguments: Map<String, Value>,
    /// What the operator has said yes to.
    confirmed: Option<Confirmed>,
}

/// How it is called and shown.
pub(crate) struct How {
    /// Whether a tool that needs the operator's word has it.
    pub(crate) yes: bool,
    /// Whether what the tool printed is shown.
    pub(crate) log: bool,
    pub(crate) as_json: bool,
}

pub(crate) async fn run(
    path: &Path,
    dev_dirs: &[PathBuf],
    tool: &str,
    arguments: &str,
    how: &How,
) -> anyhow::Result<ExitCode> {
    let confirmed = how.yes.then_some(Confirmed::Unseen);
    let call = Call { tool, arguments: read(arguments)?, confirmed };
    let shutdown = shutdown()?;
    let called = async {
        if !dev_dirs.is_empty() {
            return match dev::way(dev_dirs).await? {
                dev::Way::To(errand) => through(errand, call).await,
                dev::Way::Alone(house) => {
                    let (host, plugins, _owner) = house.open("call").await?;
                    alone(host, plugins, call).await
                }
            };
        }
        let config = Config::read(path)?;
        match way_of(path, &config).await? {
            Way::To(errand) => through(errand, call).await,
            // The state directory is this command's until the end.
            Way::Alone(_owner) => alone(Host::open(&config, "call")?, config.plugins, call).await,
        }
    };
    let called = tokio::select! {
        called = called => called?,
        () = shutdown.cancelled() => return Err(Fault::error("The call was cancelled", None)),
    };
    show(called, tool, how)
}

/// Through the host that runs.
async fn through(mut errand: Errand, mut call: Call<'_>) -> anyhow::Result<Called> {
    loop {
        let Call { tool, ref arguments, confirmed } = call;
        let called = errand.call(tool, arguments.clone(), confirmed, |report| render::note(&shown(&report)));
        match called.await.map_err(|error| gone(&error))? {
            Called::Asks { message, question } => call.confirmed = Some(asked(&message, question).await?),
            called => return Ok(called),
        }
    }
}

/// In a house of this command's own.
async fn alone(host: Host, plugins: Vec<PluginSpec>, mut call: Call<'_>) -> anyhow::Result<Called> {
    host.apply(plugins).await?;
    if let Some(found) = host.catalogue.snapshot().tool(call.tool) {
        render::waiting("compiling…", found.ready()).await;
    }
    let (reports, mut receiver) = tokio::sync::mpsc::channel(MAX_REPORTS);
    let printer = tokio::spawn(async move {
        while let Some(report) = receiver.recv().await {
            render::note(&shown(&report));
        }
    });
    let called = loop {
        let Call { tool, ref arguments, confirmed } = call;
        match called(&host.gateway, tool, arguments.clone(), confirmed, Some(reports.clone())).await {
            Called::Asks { message, question } => match asked(&message, question).await {
                Ok(confirmed) => call.confirmed = Some(confirmed),
                Err(error) => break Err(error),
            },
            called => break Ok(called),
        }
    };
    printer.abort();
    host.close();
    called
}

/// The operator's word on a call, at the terminal.
async fn asked(message: &str, question: Digest) -> anyhow::Result<Confirmed> {
    if !terminal::is_there() {
        let hint = "add `--yes` to run it all the same".to_owned();
        return Err(Fault::of_lines(
            std::iter::once("The tool runs only with your word, and there is no terminal to ask on".to_owned())
                .chain(render::quoted(message)),
            Some(hint),
        ));
    }
    let message = message.to_owned();
    let (said, answer) = tokio::sync::oneshot::channel();
    // A thread of its own, which the end of this process does not wait for: nobody need answer once it is called off.
    std::thread::spawn(move || _ = said.send(terminal::says_yes(&message, "Run it?")));
    if answer.await?? { Ok(Confirmed::Question(question)) } else { Err(Fault::error("The tool was not run", None)) }
}

/// Prints how it ended.
fn show(called: Called, tool: &str, how: &How) -> anyhow::Result<ExitCode> {
    let How { log, as_json, .. } = *how;
    let (end, used, printed, dropped) = match called {
        Called::Ended { end, used, printed, dropped } => (end, used, printed, dropped),
        Called::Unknown { tools } => return Err(unknown(tool, &tools)),
        Called::Asks { .. } => anyhow::bail!("the host asked again what was answered"),
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
