//! `call`: one call along the path of a client's, with what it cost.

use std::{io::Read, path::Path, path::PathBuf, process::ExitCode, time::Instant};

use portcullis_catalogue::{CallError, Progress, Reply};
use portcullis_gateway::{Ended, Incoming};
use portcullis_policy::Principal;
use serde_json::{Map, Value, json};

use crate::{
    commands::{dev, shutdown},
    config::Config,
    host::Host,
    render::{self, Fault},
};

/// Reports of progress that wait to be printed.
const MAX_REPORTS: usize = 16;

pub(crate) async fn run(
    config: &Path,
    dev_dirs: &[PathBuf],
    tool: &str,
    arguments: &str,
    log: bool,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let arguments = read(arguments)?;
    let (host, plugins) = if dev_dirs.is_empty() {
        let config = Config::read(config)?;
        let host = Host::open(&config, "call")?;
        (host, config.plugins)
    } else {
        (dev::open("call")?, dev::build(dev_dirs, true)?.specs())
    };
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
    let call = Incoming {
        principal: &Principal::LocalOperator,
        tool,
        arguments,
        reports: Some(reports),
        received: Instant::now(),
    };
    let shutdown = shutdown()?;
    let ended = tokio::select! {
        ended = host.gateway.call(call) => ended,
        () = shutdown.cancelled() => return Err(Fault::error("The call was cancelled", None)),
    };
    printer.abort();
    host.close();
    let (result, account) = match ended {
        Ended::Answered(result, account) => (result, account),
        Ended::UnknownTool | Ended::Denied => return Err(unknown(tool, &host)),
        Ended::NotRecorded => anyhow::bail!("the audit log in `{}` could not be written", host.state.path().display()),
    };
    let (printed, dropped) = account.printed.unwrap_or_default();
    if log {
        for line in &printed {
            for text in line.text.split('\n') {
                render::note(&format!("{}: {text}", line.source.as_str()));
            }
        }
        if dropped > 0 {
            render::note(&format!("{dropped} more bytes were not kept"));
        }
    }
    let used = account.used;
    if as_json {
        let (name, value) = match &result {
            Ok(Reply::Structured(object)) => ("result", Value::Object(object.clone())),
            Ok(Reply::ToolError(error)) => ("toolError", error.value.clone()),
            Err(error) => ("error", json!({ "outcome": error.outcome(), "message": error.to_string() })),
        };
        let lines: Vec<_> =
            printed.iter().map(|line| json!({ "source": line.source.as_str(), "text": line.text })).collect();
        let mut end = Map::new();
        end.insert("used".into(), json!(used));
        end.insert(name.into(), value);
        if log {
            end.insert("log".into(), Value::Array(lines));
        }
        render::json(&end)?;
    }
    let cost = format!(
        "{:.3} ms, {} fuel, {:.1} MiB of memory",
        used.micros as f64 / 1e3,
        used.fuel.map_or_else(|| "unknown".to_owned(), |fuel| fuel.to_string()),
        used.memory as f64 / f64::from(1 << 20)
    );
    match result {
        Ok(Reply::Structured(object)) => {
            if !as_json {
                render::json(&object)?;
                render::note(&cost);
            }
            Ok(ExitCode::SUCCESS)
        }
        Ok(Reply::ToolError(error)) => {
            let what = format!("The tool answered with an error, after {cost}:");
            Err(Fault::of_lines(std::iter::once(what).chain(render::quoted(&error.text)), None))
        }
        Err(error @ CallError::BadArguments(_)) => {
            Err(Fault::error(error.to_string(), Some("`portcullis inspect NAME` shows what the tool takes".into())))
        }
        Err(error) => Err(anyhow::anyhow!("{error}, after {cost}")),
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

fn unknown(tool: &str, host: &Host) -> anyhow::Error {
    let snapshot = host.catalogue.snapshot();
    let names = snapshot.tools().iter().map(|tool| tool.definition().name.as_str());
    let best = names.max_by(|a, b| strsim::jaro(tool, a).total_cmp(&strsim::jaro(tool, b)));
    let hint = match best {
        Some(best) => format!("the nearest is `{best}`; `portcullis list --json` has all"),
        None => "no plugin is served; `portcullis list` says why".into(),
    };
    Fault::error(format!("There is no tool `{tool}`"), Some(hint))
}
