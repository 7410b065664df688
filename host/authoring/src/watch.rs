//! Which plugins have changed on disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::find::{self, Language, PluginSource};
use crate::requests;

/// How long a folder must be still: an editor writes a file in several steps, and version control writes many files.
pub const DEBOUNCE: Duration = Duration::from_millis(200);
/// After how many times [`DEBOUNCE`] a folder that is never still is told of all the same.
const MOST_WAITS: u32 = 10;

/// The folders of a Rust plugin that its component is made from, with all that is in them.
const FOLDERS: [&str; 2] = ["src", "wit"];
/// The files of a Rust plugin that its component is made from. Not `Cargo.lock`: a build may write it.
const FILES: [&str; 3] = ["Cargo.toml", "build.rs", requests::FILE];

/// Endings of the files that JavaScript and Python plugins are made from, in any folder of theirs but those of tools. What a
/// plugin is given to read (`data/`), its cases and its pages are none.
const ENDINGS: [&str; 8] = ["js", "mjs", "cjs", "json", "py", "pyi", "toml", "wit"];

/// Why nothing is watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch `{}`", path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

impl WatchError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        matches!(self.source.kind, notify::ErrorKind::MaxFilesWatch)
            .then(|| "sudo sysctl fs.inotify.max_user_watches=524288".into())
    }
}

/// A watch on the sources of plugins; ends when it is dropped.
pub struct Watch {
    watcher: RecommendedWatcher,
    /// Of each plugin.
    dirs: Vec<(PathBuf, Language)>,
    seen: Arc<Seen>,
    debounce: Duration,
}

/// What the thread of the watcher has seen and nobody has asked for. Bounded by the number of plugins.
#[derive(Default)]
struct Seen {
    changed: Mutex<BTreeSet<usize>>,
    news: Notify,
}

impl Seen {
    fn add(&self, indices: impl IntoIterator<Item = usize>) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.extend(indices);
        if !changed.is_empty() {
            self.news.notify_one();
        }
    }

    fn any(&self) -> bool {
        !self.changed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Watches what these plugins are made from: of Rust `src/`, `wit/`, `Cargo.toml`, `build.rs` and `requests.toml`, of the
/// others what ends as sources do. Not `target/`, `dist/`, `node_modules/` and the like, which tools write.
///
/// # Errors
/// When a folder cannot be watched.
pub fn watch(sources: &[PluginSource], debounce: Duration) -> Result<Watch, WatchError> {
    let dirs = sources
        .iter()
        // Events name real paths.
        .map(|source| {
            let dir = source.dir.canonicalize().map_err(|error| failed(&source.dir, error.into()))?;
            Ok((dir, source.language))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let seen = Arc::new(Seen::default());
    let (for_events, watched) = (Arc::clone(&seen), dirs.clone());
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
        Ok(event) if event.need_rescan() => for_events.add(0..watched.len()),
        Ok(event) => for_events.add(affected(&event, &watched)),
        Err(error) => {
            tracing::warn!(%error, "changes of plugins may have been missed");
            for_events.add(0..watched.len());
        }
    })
    .map_err(|error| failed(Path::new("."), error))?;
    let mut watch = Watch { watcher, dirs, seen, debounce };
    for index in 0..watch.dirs.len() {
        watch.attach(index)?;
    }
    Ok(watch)
}

impl Watch {
    /// Waits for a change, and until the sources are still, and names the plugins by their place in the list that
    /// [`watch`] was given. Never an empty set.
    ///
    /// What changes between two calls is kept for the next one, also when the future is dropped before it is done.
    pub async fn changed(&mut self) -> BTreeSet<usize> {
        while !self.seen.any() {
            self.seen.news.notified().await;
        }
        let latest = Instant::now() + self.debounce * MOST_WAITS;
        while Instant::now() < latest {
            let still = latest.min(Instant::now() + self.debounce);
            if timeout_at(still, self.seen.news.notified()).await.is_err() {
                break;
            }
        }
        let changed = self.seen.take();
        for index in &changed {
            // A folder that was made, or made anew, is not watched yet. One that is gone shows when it is built.
            if let Err(error) = self.attach(*index) {
                tracing::debug!(%error, "a plugin's folder is not watched");
            }
        }
        changed
    }

    /// Watches a plugin's folders, those anew that are watched already.
    fn attach(&mut self, index: usize) -> Result<(), WatchError> {
        let Some((dir, language)) = self.dirs.get(index) else {
            return Ok(());
        };
        let folders = match language {
            Language::Rust => FOLDERS.map(|folder| dir.join(folder)).into(),
            // One by one: `node_modules` has more folders than a system watches.
            Language::JavaScript | Language::Python => find::subfolders(dir).unwrap_or_default(),
        };
        let folders = folders.into_iter().filter(|path| path.is_dir()).map(|path| (path, RecursiveMode::Recursive));
        let itself = (dir.clone(), RecursiveMode::NonRecursive);
        for (path, mode) in folders.chain([itself]) {
            self.watcher.watch(&path, mode).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }
}

fn failed(path: &Path, source: notify::Error) -> WatchError {
    WatchError { path: path.into(), source }
}

/// The plugins whose sources an event is about.
fn affected(event: &Event, dirs: &[(PathBuf, Language)]) -> BTreeSet<usize> {
    // A build reads the sources: an event for each read would start the next build.
    if matches!(event.kind, EventKind::Access(_)) {
        return BTreeSet::new();
    }
    let of = |(dir, language): &(PathBuf, Language)| {
        event.paths.iter().filter_map(|path| path.strip_prefix(dir).ok()).any(|inside| is_source(inside, *language))
    };
    dirs.iter().enumerate().filter(|(_, plugin)| of(plugin)).map(|(index, _)| index).collect()
}

/// Whether a component is made from this path in its plugin's folder.
fn is_source(inside: &Path, language: Language) -> bool {
    match language {
        Language::Rust => {
            let mut parts = inside.iter();
            let first = parts.next().and_then(|part| part.to_str()).unwrap_or_default();
            FOLDERS.contains(&first) || (FILES.contains(&first) && parts.next().is_none())
        }
        Language::JavaScript | Language::Python => {
            // Without an ending it may be a folder that was made, moved or removed.
            let ending = inside.extension().map(|ending| ending.to_str().unwrap_or_default());
            inside.iter().all(|part| !find::is_skipped(part))
                && inside.iter().next().is_some()
                && ending.is_none_or(|ending| ENDINGS.contains(&ending))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use portcullis_policy::PluginName;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(20);

    fn plugin(root: &Path, name: &str) -> PluginSource {
        let dir = root.join(name);
        fs::create_dir_all(dir.join("src")).unwrap();
        fs::write(dir.join("Cargo.toml"), "").unwrap();
        PluginSource { name: PluginName::new(name).unwrap(), dir, language: Language::Rust }
    }

    async fn next(watch: &mut Watch) -> Vec<usize> {
        let changed = tokio::time::timeout(LONG, watch.changed()).await;
        changed.expect("a change").into_iter().collect()
    }

    #[tokio::test]
    async fn a_change_names_its_plugin_and_nothing_else_does() {
        let root = tempfile::tempdir().unwrap();
        let sources = [plugin(root.path(), "one"), plugin(root.path(), "two")];
        let mut watch = watch(&sources, SHORT).unwrap();

        fs::write(sources[1].dir.join("src/lib.rs"), "a").unwrap();
        assert_eq!(next(&mut watch).await, [1]);

        // What a build does comes first, and the change after it is all that is told.
        for written in ["target/x", "dist/one.wasm"] {
            let path = sources[0].dir.join(written);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(sources[0].dir.join("Cargo.lock"), "").unwrap();
        fs::read(sources[0].dir.join("Cargo.toml")).unwrap();
        fs::write(sources[1].dir.join("requests.toml"), "").unwrap();
        assert_eq!(next(&mut watch).await, [1]);

        fs::write(sources[0].dir.join("Cargo.toml"), "b").unwrap();
        fs::write(sources[1].dir.join("Cargo.toml"), "b").unwrap();
        let mut both: BTreeSet<usize> = BTreeSet::new();
        while both.len() < 2 {
            both.extend(next(&mut watch).await);
        }
    }

    #[tokio::test]
    async fn a_folder_that_comes_later_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let sources = [plugin(root.path(), "one")];
        let mut watch = watch(&sources, SHORT).unwrap();

        fs::create_dir(sources[0].dir.join("wit")).unwrap();
        assert_eq!(next(&mut watch).await, [0]);
        fs::write(sources[0].dir.join("wit/one.wit"), "").unwrap();
        assert_eq!(next(&mut watch).await, [0]);

        fs::remove_dir_all(sources[0].dir.join("src")).unwrap();
        assert_eq!(next(&mut watch).await, [0]);
        fs::create_dir(sources[0].dir.join("src")).unwrap();
        assert_eq!(next(&mut watch).await, [0]);
        fs::write(sources[0].dir.join("src/lib.rs"), "").unwrap();
        assert_eq!(next(&mut watch).await, [0]);
    }

    #[tokio::test]
    async fn a_change_outlives_a_dropped_wait() {
        let root = tempfile::tempdir().unwrap();
        let sources = [plugin(root.path(), "one")];
        let mut watch = watch(&sources, LONG).unwrap();
        fs::write(sources[0].dir.join("src/lib.rs"), "").unwrap();
        while !watch.seen.any() {
            tokio::task::yield_now().await;
        }
        // Given up while it waits for the folder to be still.
        let waited = tokio::time::timeout(SHORT, watch.changed()).await;
        assert!(waited.is_err());
        watch.debounce = SHORT;
        assert_eq!(next(&mut watch).await, [0]);
    }

    #[tokio::test]
    async fn of_other_languages_what_tools_write_is_no_change() {
        let root = tempfile::tempdir().unwrap();
        let mut sources = [plugin(root.path(), "js"), plugin(root.path(), "py")];
        (sources[0].language, sources[1].language) = (Language::JavaScript, Language::Python);
        let mut watch = watch(&sources, SHORT).unwrap();
        let [js, py] = sources.map(|source| source.dir);
        for (path, changed) in [
            (js.join("node_modules/a/index.js"), None),
            (py.join("src/__pycache__/app.pyc"), None),
            (py.join(".venv/lib/x.py"), None),
            (js.join("dist/js.wasm"), None),
            (py.join("customers.csv"), None),
            (js.join("index.js"), Some(0)),
            (py.join("src/app.py"), Some(1)),
            (js.join("package.json"), Some(0)),
            (py.join("requests.toml"), Some(1)),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            if let Some(changed) = changed {
                assert_eq!(next(&mut watch).await, [changed], "{}", path.display());
            }
        }
        // A folder that comes later is watched too.
        fs::create_dir(js.join("lib")).unwrap();
        assert_eq!(next(&mut watch).await, [0]);
        fs::write(js.join("lib/deep.mjs"), "").unwrap();
        assert_eq!(next(&mut watch).await, [0]);
    }
}
