//! One file a command, and the way to them.

mod approve;
mod build;
mod call;
mod check;
mod dev;
mod doctor;
mod explain;
mod inspect;
mod key;
mod list;
mod serve;

use std::{io, process::ExitCode};

use clap::CommandFactory;
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Args, Command},
    config::Config,
    render::{self, Fault},
};

/// Runs the command; an error is told by its caller.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { config, json, command } = args;
    match command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "portcullis", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { schema: true } => render::json(&Config::schema()).map(|()| ExitCode::SUCCESS),
        Command::Build { dir } => build::run(&dir, json),
        Command::Serve { stdio, http, agent, strict, harden } => {
            // What has to be done before the first thread starts.
            let how = serve::How { stdio, http, agent, strict, harden };
            let serve = serve::Serve::prepare(config, how)?;
            on_threads(serve.run())
        }
        command => on_threads(asynchronous(config, json, command)),
    }
}

/// Runs a command on threads that share its work.
fn on_threads(command: impl Future<Output = anyhow::Result<ExitCode>> + Send + 'static) -> anyhow::Result<ExitCode> {
    // In a task, since only tasks may say that they block.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async { tokio::spawn(command).await? })
}

async fn asynchronous(config: std::path::PathBuf, json: bool, command: Command) -> anyhow::Result<ExitCode> {
    let read = || Config::read(&config);
    match command {
        Command::Dev { dirs, http } => dev::run(dirs, http).await,
        Command::Inspect { what } => inspect::run(&config, &what, json).await,
        Command::Approve { name, lock, sha256, review, allow_downgrade } => {
            let how = approve::Approve { sha256, review, allow_downgrade, as_json: json };
            match name {
                Some(name) if !lock => approve::plugin(read()?, &name, how).await,
                Some(_) | None => approve::lock(read()?, how).await,
            }
        }
        Command::Diff { name, lock } => match name {
            Some(name) if !lock => approve::diff(read()?, &name, json).await,
            Some(_) | None => approve::diff_lock(&read()?, json),
        },
        Command::Disable { name } => approve::disable(read()?, &name, json).await,
        Command::Remove { name } => approve::remove(read()?, &name, json).await,
        Command::List => list::run(read()?, json).await,
        Command::Call { tool, arguments, log, dev } => call::run(&config, &dev, &tool, &arguments, log, json).await,
        Command::Explain { agent: Some(agent), what, question: None } => {
            explain::agent(&config, read()?, &agent, &what, json).await
        }
        Command::Explain { agent: None, what, question: Some(question) } => {
            explain::run(&config, read()?, &what, &question, json)
        }
        Command::Explain { .. } => Err(Fault::error(
            "`explain` takes a plugin and a question, or `--agent NAME` and a tool or a resource",
            Some("portcullis explain --help".to_owned()),
        )),
        Command::Key { what } => key::run(&read()?, what, json),
        Command::Check { .. } => check::run(&config, read()?, json).await,
        Command::Doctor => doctor::run(&config, json).await,
        Command::Serve { .. } | Command::Build { .. } | Command::Completions { .. } | Command::Worker(_) => {
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Fires at the first interrupt or end signal. The second ends the process at once.
pub(crate) fn shutdown() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
            if first {
                told.cancel();
            } else {
                std::process::exit(2);
            }
        }
    });
    Ok(token)
}
