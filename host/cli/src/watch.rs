//! Which files a running `serve` looks after: the configuration, the lock, what was accepted, and the components.
//!
//! News come from the operating system, and where those fail from looking: a folder that was replaced is watched no
//! more, and some file systems tell of nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, timeout_at},
};

/// How long the files must be still: an editor writes one in several steps, and version control many. A change has to
/// reach clients in under a second.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How long a change may be put off by further ones.
const AT_MOST: Duration = Duration::from_millis(400);
/// How often the files are looked at: a `stat` of each, a few microseconds.
const LOOK: Duration = Duration::from_secs(2);
/// Links that are followed on the way to a file, as Linux has it (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A watch on some files; ends when it is dropped.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    /// What is watched, and which folder stood there when that began.
    folders: BTreeMap<PathBuf, Inode>,
    files: BTreeSet<PathBuf>,
    /// What lay there when the files were last looked at.
    looks: BTreeMap<PathBuf, Option<Look>>,
    /// A folder that is looked at and not watched: the audit log is written there, and each of its lines would be news.
    busy: PathBuf,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    news: Notify,
    /// What is looked after, by whole paths.
    files: Mutex<BTreeSet<PathBuf>>,
}

/// Device, number, and when it was made, where that is known: numbers are used again at once.
type Inode = (u64, u64, Option<SystemTime>);

/// What a `stat` tells of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    inode: Inode,
    size: u64,
    modified: (i64, i64),
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let there = fs::metadata(path).ok()?;
        Some(Self { inode: inode(&there), size: there.size(), modified: (there.mtime(), there.mtime_nsec()) })
    }
}

fn inode(metadata: &Metadata) -> Inode {
    (metadata.dev(), metadata.ino(), metadata.created().ok())
}

impl Watch {
    /// A watch on nothing yet. What lies in `busy` is looked at alone: twice for each call something is written there,
    /// and a thread that wakes for that doubles the time of a call.
    pub(crate) fn new(busy: &Path) -> notify::Result<Self> {
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
        let (folders, files, looks) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { watcher, folders, files, looks, busy: busy.to_owned(), seen })
    }

    /// Looks after these files, instead of those before. A file need not be there, and may be replaced, and so may any
    /// link and any folder on the way to it.
    pub(crate) fn look_after<'a>(&mut self, files: impl IntoIterator<Item = &'a Path>) {
        self.files = files.into_iter().map(Path::to_owned).collect();
        // First, so that what changes from now on differs.
        self.looks = self.files.iter().map(|file| (file.clone(), Look::at(file))).collect();
        self.watch();
    }

    /// Watches the folder of every part of every path in which something could be replaced.
    fn watch(&mut self) {
        let entries: BTreeSet<_> = self.files.iter().flat_map(|file| way(file)).collect();
        let folder = |entry: &PathBuf| entry.parent().map(Path::to_owned);
        let wanted: BTreeMap<_, _> = entries
            .iter()
            .filter_map(folder)
            .filter(|folder| *folder != self.busy)
            .filter_map(|folder| Some((folder.clone(), inode(&fs::metadata(&folder).ok()?))))
            .collect();
        *self.seen.files.lock().unwrap_or_else(PoisonError::into_inner) = entries;
        let (before, watcher) = (std::mem::take(&mut self.folders), &mut self.watcher);
        // One that was replaced by another of its name is watched no more, and may not be known as that.
        for (gone, _) in before.iter().filter(|(folder, inode)| wanted.get(*folder) != Some(inode)) {
            _ = watcher.unwatch(gone);
        }
        for (folder, inode) in wanted {
            if before.get(&folder) == Some(&inode) {
                self.folders.insert(folder, inode);
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => _ = self.folders.insert(folder, inode),
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "changes in a folder are seen late");
                }
            }
        }
    }

    /// Whether something is another than when the files were last looked at, and remembers what is there now.
    fn differs(&mut self) -> bool {
        let now: BTreeMap<_, _> = self.files.iter().map(|file| (file.clone(), Look::at(file))).collect();
        let differs = now != self.looks;
        self.looks = now;
        differs
    }

    /// Waits for a change, and until the files are still.
    pub(crate) async fn changed(&mut self) {
        let seen = Arc::clone(&self.seen);
        let mut look = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = seen.news.notified() => break,
                _ = look.tick() => {
                    let differs = self.differs();
                    self.watch();
                    if differs {
                        break;
                    }
                }
            }
        }
        let last = Instant::now() + AT_MOST;
        loop {
            let still = (Instant::now() + DEBOUNCE).min(last);
            if timeout_at(still, seen.news.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// The entries on the way to `file` that are replaced to make it another: each link, and the file and its folder behind
/// the links. Their paths have no link in them but perhaps the last part, as events name them. What is replaced further
/// above is found by looking.
fn way(file: &Path) -> BTreeSet<PathBuf> {
    let Ok(start) = std::path::absolute(file) else { return BTreeSet::new() };
    let mut entries = BTreeSet::new();
    let mut rest: Vec<OsString> = parts(&start);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(part);
        match fs::read_link(&entry) {
            Ok(to) if links < MAX_LINKS => {
                links += 1;
                if to.is_absolute() {
                    at = PathBuf::from("/");
                }
                rest.extend(parts(&to));
                entries.insert(entry);
            }
            Ok(_) | Err(_) => at = entry,
        }
    }
    entries.extend(at.ancestors().take(2).map(Path::to_owned));
    entries
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn soon(watch: &mut Watch, what: &str) {
        tokio::time::timeout(Duration::from_secs(60), watch.changed())
            .await
            .unwrap_or_else(|_| panic!("{what}: unseen"));
    }

    /// What is told of, and not only found by looking.
    async fn at_once(watch: &mut Watch, what: &str) {
        let begun = Instant::now();
        soon(watch, what).await;
        assert!(begun.elapsed() < LOOK, "{what}: only found by looking");
    }

    fn watching(files: &[&Path]) -> Watch {
        let mut watch = Watch::new(Path::new("")).expect("a watch");
        watch.look_after(files.iter().copied());
        watch
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_and_one_that_appears_are_seen_and_others_are_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let (ours, later, other) = (dir.path().join("ours"), dir.path().join("later"), dir.path().join("other"));
        fs::write(&ours, "1").expect("written");
        let mut watch = watching(&[&ours, &later]);
        fs::write(dir.path().join("new"), "2").expect("written");
        fs::rename(dir.path().join("new"), &ours).expect("replaced");
        soon(&mut watch, "the replacement").await;
        fs::write(&later, "1").expect("written");
        soon(&mut watch, "the new file").await;
        watch.look_after([ours.as_path(), later.as_path()]);
        fs::write(&other, "1").expect("written");
        let unseen = tokio::time::timeout(DEBOUNCE, watch.changed()).await;
        assert!(unseen.is_err(), "another file is none of ours");
    }

    /// M3: a build that empties its folder by making another.
    #[tokio::test]
    async fn a_folder_that_is_replaced_is_watched_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let (dist, file) = (dir.path().join("dist"), dir.path().join("dist/x.wasm"));
        fs::create_dir(&dist).expect("a folder");
        fs::write(&file, "1").expect("written");
        let mut watch = watching(&[&file]);
        for round in ["2", "3"] {
            fs::remove_dir_all(&dist).expect("removed");
            fs::create_dir(&dist).expect("a folder");
            fs::write(&file, round).expect("written");
            at_once(&mut watch, "the folder").await;
            watch.look_after([file.as_path()]);
            fs::write(&file, format!("{round} again")).expect("written");
            at_once(&mut watch, "a change in the new folder").await;
            watch.look_after([file.as_path()]);
        }
    }

    /// M3: `portcullis.toml → ..data/portcullis.toml`, `..data → 1`, as Kubernetes mounts it.
    #[tokio::test]
    async fn a_link_above_the_file_that_leads_elsewhere_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        for version in ["1", "2", "3"] {
            fs::create_dir(dir.path().join(version)).expect("a folder");
            fs::write(dir.path().join(version).join("x.toml"), version).expect("written");
        }
        symlink("1", dir.path().join("..data")).expect("a link");
        let file = dir.path().join("x.toml");
        symlink("..data/x.toml", &file).expect("a link");
        let mut watch = watching(&[&file]);
        for version in ["2", "3"] {
            symlink(version, dir.path().join("new")).expect("a link");
            fs::rename(dir.path().join("new"), dir.path().join("..data")).expect("swapped");
            at_once(&mut watch, version).await;
            watch.look_after([file.as_path()]);
        }
    }

    /// M3: where nothing is told of, it is found all the same.
    #[tokio::test]
    async fn what_is_not_told_of_is_found_by_looking() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("x");
        fs::write(&file, "1").expect("written");
        let mut watch = watching(&[&file]);
        for folder in std::mem::take(&mut watch.folders).into_keys() {
            watch.watcher.unwatch(&folder).expect("unwatched");
        }
        fs::write(&file, "22").expect("written");
        soon(&mut watch, "the change").await;
    }

    /// Each line of the audit log would wake the watching thread, twice a call.
    #[test]
    fn the_state_directory_itself_is_not_watched() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().canonicalize().expect("a path").join("state");
        fs::create_dir_all(state.join("trust")).expect("folders");
        let mut watch = Watch::new(&state).expect("a watch");
        watch.look_after([state.join("trust/accepted.json").as_path(), state.join("audit.jsonl").as_path()]);
        assert!(watch.folders.contains_key(&state.join("trust")) && !watch.folders.contains_key(&state));
    }
}
