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
mod kv;
mod list;
mod serve;

use std::{io, path::Path, process::ExitCode};

use clap::CommandFactory;
use tokio_util::sync::CancellationToken;

pub(crate) use self::approve::operator;
use crate::{
    args::{Args, Command, Key},
    beside::told,
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
        Command::Build { dir } => on_threads(build::run(dir, json)),
        Command::Serve { stdio, http, agent, strict, harden } => {
            // What has to be done before the first thread starts.
            let how = serve::How { stdio, http, agent, strict, harden };
            match serve::prepare(config, how)? {
                serve::Prepared::Host(serve) => on_threads(serve.run()),
                serve::Prepared::Relay(relay) => relay.run(),
            }
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
            let read = read()?;
            let done = match name {
                Some(name) if !lock => approve::plugin(read.clone(), &name, how).await?,
                Some(_) | None => approve::lock(read.clone(), how).await?,
            };
            and_told(&config, &read, done).await
        }
        Command::Diff { name, lock } => match name {
            Some(name) if !lock => approve::diff(read()?, &name, json).await,
            Some(_) | None => approve::diff_lock(&read()?, json),
        },
        Command::Disable { name } => {
            let read = read()?;
            let done = approve::disable(read.clone(), &name, json).await?;
            and_told(&config, &read, done).await
        }
        Command::Remove { name } => {
            let read = read()?;
            let done = approve::remove(read.clone(), &name, json).await?;
            and_told(&config, &read, done).await
        }
        Command::List { dev } if dev.is_empty() => list::run(&config, read()?, json).await,
        Command::List { dev } => list::of_what_is_built(&dev, json).await,
        Command::Kv { what } => kv::run(&config, read()?, what, json).await,
        Command::Call { tool, arguments, log, yes, dev } => {
            call::run(&config, &dev, &tool, &arguments, &call::How { yes, log, as_json: json }).await
        }
        Command::Explain { agent: Some(agent), role, what, question: None } => {
            explain::agent(&config, read()?, &agent, role.as_deref(), &what, json).await
        }
        Command::Explain { agent: None, role: _, what, question: Some(question) } => {
            explain::run(&config, read()?, &what, &question, json)
        }
        Command::Explain { .. } => Err(Fault::error(
            "`explain` takes a plugin and a question, or `--agent NAME` and a tool or a resource",
            Some("portcullis explain --help".to_owned()),
        )),
        Command::Key { what: Key::List } => key::run(&read()?, Key::List, json),
        Command::Key { what } => {
            let read = read()?;
            let done = key::run(&read, what, json)?;
            and_told(&config, &read, done).await
        }
        Command::Check { .. } => check::run(&config, read()?, json).await,
        Command::Doctor => doctor::run(&config, json).await,
        Command::Serve { .. } | Command::Build { .. } | Command::Completions { .. } | Command::Worker(_) => {
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The end of a command that changed what a host reads: a host that runs has read it by then.
async fn and_told(path: &Path, config: &Config, done: ExitCode) -> anyhow::Result<ExitCode> {
    told(path, config).await;
    Ok(done)
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
