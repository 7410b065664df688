//! The configuration of what `dev` builds: `portcullis.toml` in one of its folders.
//!
//! Of it count the plugins with all that stands below them, `[limits]`, `[secrets]`, `[buckets]`, `[[routes]]` and how many
//! calls there may be. The rest says how others are served: `dev` serves this machine, without keys, on a state directory of its own.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    config::Config,
    render::{self, Fault},
};

/// The file.
const FILE: &str = "portcullis.toml";

/// A configuration that was read, and where.
pub(crate) struct Settings {
    pub(super) path: PathBuf,
    pub(crate) config: Config,
}

impl Settings {
    /// Reads the configuration in these folders, where one of them has one.
    pub(super) fn find(dirs: &[PathBuf]) -> anyhow::Result<Option<Self>> {
        let there: Vec<_> = candidates(dirs).into_iter().filter(|path| path.is_file()).collect();
        match there.as_slice() {
            [] => Ok(None),
            [path] => Ok(Some(Self { config: Config::read(path)?, path: path.clone() })),
            [first, second, ..] => Err(Fault::error(
                format!("Several folders have a configuration: `{}`, `{}`", first.display(), second.display()),
                Some("name one of them, or put both into one".to_owned()),
            )),
        }
    }

    /// Reads it again. What concerns more than plugins waits for the next start, and that is told.
    pub(super) fn reload(&mut self) -> anyhow::Result<()> {
        let read = Config::read(&self.path)?;
        let more = |config: &Config| (config.buckets.clone(), config.max_concurrent_calls, config.max_waiting_calls);
        if more(&read) != more(&self.config) {
            render::note("warning: a change of buckets and of numbers of calls takes effect when `dev` starts again");
        }
        self.config = self.config.with_plugins_of(&read);
        Ok(())
    }
}

/// Where the configuration of these folders could be, each place once.
pub(super) fn candidates(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let new = |dir: &&PathBuf| seen.insert(dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf()));
    dirs.iter().filter(new).map(|dir| Path::new(dir).join(FILE)).collect()
}
