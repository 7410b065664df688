//! Which files a running `serve` looks after: the configuration, the lock, what was accepted, and the components.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// How long the files must be still: an editor writes one in several steps, and version control many. A change has to
/// reach clients in under a second.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How long a change may be put off by further ones.
const AT_MOST: Duration = Duration::from_millis(400);

/// A watch on some files; ends when it is dropped.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    news: Notify,
    /// What is looked after, by whole paths.
    files: Mutex<BTreeSet<PathBuf>>,
}

impl Watch {
    /// A watch on nothing yet.
    pub(crate) fn new() -> notify::Result<Self> {
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            Ok(event) => {
                let files = told.files.lock().unwrap_or_else(PoisonError::into_inner);
                // Events that were lost name no path.
                if event.paths.is_empty() || event.paths.iter().any(|path| files.contains(path)) {
                    told.news.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "files may have changed unseen");
                told.news.notify_one();
            }
        })?;
        Ok(Self { watcher, folders: BTreeSet::new(), seen })
    }

    /// Looks after these files, instead of those before. A file need not be there, and may be replaced; its folder must
    /// be there to be watched.
    pub(crate) fn look_after<'a>(&mut self, files: impl IntoIterator<Item = &'a Path>) {
        let mut wanted = BTreeSet::new();
        let mut names = BTreeSet::new();
        for file in files {
            let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { continue };
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            // Events name paths without symbolic links; a link may also be what is replaced.
            for (folder, name) in
                [folder.canonicalize().ok().map(|folder| (folder, name.to_owned())), target(file)].into_iter().flatten()
            {
                names.insert(folder.join(name));
                wanted.insert(folder);
            }
        }
        *self.seen.files.lock().unwrap_or_else(PoisonError::into_inner) = names;
        for gone in self.folders.difference(&wanted) {
            // A folder that is gone is watched no more by itself.
            _ = self.watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for folder in wanted {
            if self.folders.contains(&folder) || self.watched(&folder) {
                watched.insert(folder);
            }
        }
        self.folders = watched;
    }

    fn watched(&mut self, folder: &Path) -> bool {
        let watching = self.watcher.watch(folder, RecursiveMode::NonRecursive);
        if let Err(error) = &watching {
            tracing::warn!(folder = %folder.display(), %error, "changes in a folder are not seen");
        }
        watching.is_ok()
    }

    /// Waits for a change, and until the files are still.
    pub(crate) async fn changed(&mut self) {
        self.seen.news.notified().await;
        let last = Instant::now() + AT_MOST;
        loop {
            let still = (Instant::now() + DEBOUNCE).min(last);
            if timeout_at(still, self.seen.news.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// Where a symbolic link leads to.
fn target(file: &Path) -> Option<(PathBuf, std::ffi::OsString)> {
    let real = file.canonicalize().ok()?;
    Some((real.parent()?.to_owned(), real.file_name()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_replaced_and_one_that_appears_are_seen_and_others_are_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let (ours, later, other) = (dir.path().join("ours"), dir.path().join("later"), dir.path().join("other"));
        fs::write(&ours, "1").expect("written");
        let mut watch = Watch::new().expect("a watch");
        watch.look_after([ours.as_path(), later.as_path()]);
        async fn soon(watch: &mut Watch) -> Result<(), tokio::time::error::Elapsed> {
            tokio::time::timeout(Duration::from_secs(60), watch.changed()).await
        }
        fs::write(dir.path().join("new"), "2").expect("written");
        fs::rename(dir.path().join("new"), &ours).expect("replaced");
        soon(&mut watch).await.expect("the replacement is seen");
        fs::write(&later, "1").expect("written");
        soon(&mut watch).await.expect("the new file is seen");
        fs::write(&other, "1").expect("written");
        let unseen = tokio::time::timeout(DEBOUNCE, watch.changed()).await;
        assert!(unseen.is_err(), "another file is none of ours");
    }
}
