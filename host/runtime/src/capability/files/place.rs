//! Which directories of this machine can be given to a plugin at all, and the opening of them: once, at load.

use std::{
    env,
    fs::File,
    io,
    path::{Component, Path, PathBuf},
};

use portcullis_policy::{Access, FileGrant};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::{capability::Surroundings, plugin::LoadError};

/// What is no data, but the kernel's view of this machine and its processes.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
/// How the folders above a granted one are opened: only to go on from them, which needs no right to read them.
#[cfg(target_os = "linux")]
const STEP: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const STEP: OFlags = OFlags::RDONLY;

/// A directory that may be given, opened. Where its path leads to later changes nothing.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: File,
    /// Where it was, without a symbolic link on the way.
    pub(super) path: PathBuf,
}

impl Place {
    /// Opens the directory of `grant`.
    ///
    /// # Errors
    /// When it is not there, is no directory, lies behind a symbolic link, or must not be given.
    pub(super) fn open(grant: &FileGrant, surroundings: &Surroundings) -> Result<Self, LoadError> {
        let refused = |reason: &str, hint: String| {
            Err(LoadError::Directory { host: grant.host().to_owned(), reason: reason.to_owned(), hint })
        };
        let base = match Some(&surroundings.base).filter(|base| !base.as_os_str().is_empty()) {
            Some(base) => base.canonicalize(),
            None => env::current_dir().and_then(|folder| folder.canonicalize()),
        };
        let asked = match base {
            Ok(base) => below(base, Path::new(grant.host())),
            Err(error) => return refused(&error.to_string(), "the folder of the configuration must be there".into()),
        };
        let shown = asked.display();
        let real = match asked.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return refused("it is not there", format!("mkdir -p {shown}"));
            }
            Err(error) => return refused(&error.to_string(), format!("ls -ld {shown}")),
        };
        if real != asked {
            let hint = format!("host = {:?}, which is where it leads now", real.display().to_string());
            return refused("it leads through a symbolic link", hint);
        }
        if !real.is_dir() {
            return refused("it is no directory", format!("ls -ld {shown}"));
        }
        if let Some(reason) = never(&real, grant.access(), surroundings) {
            return refused(reason, "grant a directory that holds only what the plugin works with".into());
        }
        if !reachable(&real, grant.access(), surroundings) {
            return refused(
                "it was not granted like this when the host was started with `--harden`, which closed it",
                "restart the host: then it is open to this plugin".into(),
            );
        }
        match open(&real) {
            Ok(dir) => Ok(Self { dir, path: real }),
            Err(error) => refused(&error.to_string(), format!("ls -ld {shown}")),
        }
    }

    /// Refuses two directories of one plugin of which one holds the other, unless the outer one is only read: what is
    /// written would count twice, and what is granted to read could be written.
    pub(super) fn check_apart(all: &[(&FileGrant, &Self)]) -> Result<(), LoadError> {
        for (outer, around) in all {
            for (inner, within) in all {
                let same = std::ptr::eq(*outer, *inner);
                let holds = !same && within.path.starts_with(&around.path);
                if holds && (outer.access() == Access::ReadWrite || within.path == around.path) {
                    return Err(LoadError::Directory {
                        host: inner.host().to_owned(),
                        reason: format!("`{}` of the same grants holds it too", outer.host()),
                        hint: format!("leave one of the two out: {:?} or {:?}", outer.host(), inner.host()),
                    });
                }
            }
        }
        Ok(())
    }
}

/// `path` from `base`, which has no symbolic link, so that `..` of it is what stands above.
fn below(base: PathBuf, path: &Path) -> PathBuf {
    let mut whole = base;
    for part in path.components() {
        match part {
            Component::ParentDir => _ = whole.pop(),
            Component::CurDir => {}
            // An absolute path begins anew.
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => whole.push(part),
        }
    }
    whole
}

/// Why this directory is never given with this access.
fn never(real: &Path, access: Access, surroundings: &Surroundings) -> Option<&'static str> {
    let holds = |inner: &Path| inner.starts_with(real);
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real.parent().is_none() {
        return Some("it is the whole machine");
    }
    if KERNEL.iter().any(|place| real.starts_with(place)) {
        return Some("it is the kernel's view of this machine and its processes");
    }
    let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| resolved(Path::new(&home)));
    if home.is_some_and(|home| holds(&home)) {
        return Some("it is or holds the home directory, with the keys and settings in it");
    }
    if surroundings.never.iter().map(|path| resolved(path)).any(|path| holds(&path) || real.starts_with(&path)) {
        return Some("it is, holds or lies in the state directory of this host");
    }
    // What can write the configuration can grant itself anything.
    let base = &surroundings.base;
    let base = if base.as_os_str().is_empty() { resolved(Path::new(".")) } else { resolved(base) };
    if access == Access::ReadWrite && holds(&base) {
        return Some("it holds the configuration and the lock, which nobody may write but the operator");
    }
    None
}

/// Whether a process that confined itself left this open.
fn reachable(real: &Path, access: Access, surroundings: &Surroundings) -> bool {
    let Some(open) = &surroundings.reachable else { return true };
    open.iter().any(|(place, most)| real.starts_with(place) && access <= *most)
}

/// Opens a path name by name, following no link: none may have taken a folder's place since it was looked at.
fn open(real: &Path) -> io::Result<File> {
    let whole = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let step = STEP | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = openat(CWD, "/", step, Mode::empty())?;
    let mut names = real.components().filter(|part| matches!(part, Component::Normal(_))).peekable();
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() { step } else { whole };
        here = openat(&here, name.as_os_str(), flags, Mode::empty())?;
    }
    Ok(File::from(here))
}
