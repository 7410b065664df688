//! The host that runs in a state directory, where one does: commands go to it, and it owns what they would open.

use std::path::Path;

use portcullis_gateway::{Errand, ErrandError, Found, Hello, Owner, Wants, seek, visit};
use portcullis_runtime::StateDir;

use crate::{
    config::{Config, StoreAt},
    host::state_fault,
    render::{self, fault},
};

/// What a host and those who come to it have to mean the same by: the whole path of the configuration.
pub(crate) fn identity(config: &Path) -> String {
    let whole = config.canonicalize().or_else(|_| std::path::absolute(config));
    whole.unwrap_or_else(|_| config.to_owned()).to_string_lossy().into_owned()
}

/// How a command does what it does.
pub(crate) enum Way {
    /// Through the host that runs.
    To(Errand),
    /// By itself, and as the owner of the state directory where it opens what has one owner.
    Alone(Option<Owner>),
}

/// Finds the way of a command. One that `owns` waits until it can have the state directory, or a host answers.
pub(crate) async fn way(state_dir: &Path, identity: String, owns: bool) -> anyhow::Result<Way> {
    let state = StateDir::open(state_dir).map_err(|error| state_fault(&error))?.path().to_owned();
    let hello = Hello::new(identity, Wants::Answers);
    let found = tokio::task::spawn_blocking(move || {
        if owns {
            seek(&state, &hello).map(Some)
        } else {
            Ok(visit(&state, &hello)?.map(|(s, pid)| Found::Host(s, pid)))
        }
    });
    let found = render::waiting("waiting for whoever has the state directory…", found).await?;
    match found.map_err(|error| fault(&error, error.hint()))? {
        Some(Found::Host(stream, pid)) => Ok(Way::To(Errand::new(stream, pid)?)),
        Some(Found::Free(owner)) => Ok(Way::Alone(Some(owner))),
        None => Ok(Way::Alone(None)),
    }
}

/// The way of a command that calls tools or looks at plugins: it opens the store where one of them is granted a bucket.
pub(crate) async fn way_of(path: &Path, config: &Config) -> anyhow::Result<Way> {
    let embedded = matches!(config.store, StoreAt::Embedded(_));
    way(&config.state_dir, identity(path), embedded && config.shares()).await
}

/// Has a host that runs look at what this command has changed, so that it holds when the command is over. A host that does
/// not answer finds it by itself, a moment later.
pub(crate) async fn told(path: &Path, config: &Config) {
    let told = async {
        if let Way::To(mut errand) = way(&config.state_dir, identity(path), false).await? {
            errand.reload().await.map_err(|error| gone(&error))?;
        }
        anyhow::Ok(())
    };
    if let Err(error) = told.await {
        render::note(&format!("note: the host that runs here was not told, and looks by itself: {error}"));
    }
}

/// The host went away in the middle: nothing that the input is at fault for.
pub(crate) fn gone(error: &ErrandError) -> anyhow::Error {
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        text = format!("{text}: {cause}");
    }
    anyhow::anyhow!(text)
}
