//! Directories by grant. No path is opened or resolved here: the runtime must refuse what only shows when it is.

use std::{collections::BTreeSet, fmt};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{GrantError, access::Access, check_entries};
use crate::{ChangeKind, size::size};

/// Longest path, in bytes: Linux' `PATH_MAX`.
const MAX_PATH: usize = 4096;
/// Bytes that a plugin may write where nothing is said: 16 MiB.
pub const DEFAULT_QUOTA: u64 = 16 << 20;
/// Largest quota: 1 TiB, more than a tool has to write.
pub const MAX_QUOTA: u64 = 1 << 40;
/// What is no data, but the kernel's view of this machine and its processes.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// An entry of `files`: a directory of the host, and where the plugin finds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct FileGrant {
    pub(super) guest: String,
    pub(super) host: String,
    pub(super) access: Access,
    pub(super) quota: u64,
}

impl FileGrant {
    /// The directory on the host: absolute, or relative to the configuration. It may begin with `..`, and is not
    /// resolved: whether it leads through a symbolic link, or to a place that is never granted, shows when it is opened.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where the plugin finds it: an absolute path without `.`, `..` and a slash at the end.
    pub fn guest(&self) -> &str {
        &self.guest
    }

    /// What may be done in it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// How many bytes may be written, from 1 to [`MAX_QUOTA`].
    pub fn quota(&self) -> u64 {
        self.quota
    }

    /// The entry as it would be written with another access and quota; for hints.
    pub fn line(&self, access: Access, quota: u64) -> String {
        let (host, guest, quota) = (&self.host, &self.guest, size(quota));
        format!("{{ host = {host:?}, guest = {guest:?}, access = \"{access}\", quota = \"{quota}\" }}")
    }
}

impl fmt::Display for FileGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}, {}, {}", self.host, self.guest, self.access, size(self.quota))
    }
}

/// May this be done with a path of the guest?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileDecision {
    /// It may.
    Allowed(FileGrant),
    /// The entry opens the directory to be read alone.
    ReadOnly(FileGrant),
    /// The configuration allows it by this entry, and what was approved does not.
    Unapproved(FileGrant),
    /// No entry of `files` opens the directory.
    NoEntry,
}

/// The entry whose directory holds `path`, the deepest of several.
pub(super) fn holding<'a>(entries: &'a [FileGrant], path: &str) -> Option<&'a FileGrant> {
    let holds = |entry: &&FileGrant| {
        let rest = path.strip_prefix(entry.guest.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    entries.iter().filter(holds).max_by_key(|entry| entry.guest.len())
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    host: String,
    guest: String,
    #[serde(default)]
    access: Access,
    quota: Option<String>,
}

impl TryFrom<Written> for FileGrant {
    type Error = GrantError;

    fn try_from(written: Written) -> Result<Self, GrantError> {
        Ok(Self {
            guest: guest_path(&written.guest)?,
            host: host_path(&written.host)?,
            access: written.access,
            quota: written.quota.map_or(Ok(DEFAULT_QUOTA), |text| quota(&text))?,
        })
    }
}

impl From<FileGrant> for Written {
    fn from(grant: FileGrant) -> Self {
        let FileGrant { guest, host, access, quota } = grant;
        Self { host, guest, access, quota: Some(size(quota)) }
    }
}

fn fault<T>(fault: &str, found: &str) -> Result<T, GrantError> {
    Err(GrantError::new(ChangeKind::Files, fault, found))
}

fn quota(text: &str) -> Result<u64, GrantError> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if (1..=MAX_QUOTA).contains(&bytes) => Ok(bytes),
        _ => fault("must have a `quota` from `1B` to `1TiB`, as `16MiB`", text),
    }
}

fn plain(path: &str) -> bool {
    !path.is_empty() && path.len() <= MAX_PATH && !path.chars().any(char::is_control)
}

/// The path without `.` and doubled slashes, which mean nothing to any file system.
fn host_path(path: &str) -> Result<String, GrantError> {
    if !plain(path) {
        return fault("must have a `host` path of 1 to 4096 bytes without control characters", path);
    }
    let absolute = path.starts_with('/');
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    // Behind a name, `..` leads to wherever a symbolic link of that name says.
    let below = parts.iter().skip_while(|part| !absolute && **part == "..");
    if below.into_iter().any(|part| *part == "..") {
        return fault("must have `..` only at the beginning of a relative `host` path", path);
    }
    let path = format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"));
    let kernel =
        KERNEL.iter().any(|place| path.strip_prefix(place).is_some_and(|r| r.is_empty() || r.starts_with('/')));
    // Nobody expands it here, and a folder of that name is most likely a mistake.
    if path.starts_with('~') {
        return fault(
            "must have a `host` path that is absolute or relative to the configuration, without `~` first",
            &path,
        );
    }
    if path == "/" || kernel {
        return fault("must not have `/`, `/proc`, `/sys` or `/dev` as its `host` path", &path);
    }
    Ok(if path.is_empty() { ".".to_owned() } else { path })
}

fn guest_path(path: &str) -> Result<String, GrantError> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let mut parts = trimmed.split('/');
    let absolute = path.starts_with('/') && parts.next() == Some("");
    if !plain(path) || !absolute || parts.any(|part| matches!(part, "" | "." | "..")) {
        return fault("must have an absolute `guest` path without `.` and `..`, as `/data`", path);
    }
    Ok(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
}

/// In one order; two directories in one place are refused.
pub(super) fn normal(mut entries: Vec<FileGrant>) -> Result<Vec<FileGrant>, GrantError> {
    check_entries(ChangeKind::Files, "files", entries.len())?;
    let mut guests = BTreeSet::new();
    if let Some(twice) = entries.iter().find(|entry| !guests.insert(&entry.guest)) {
        return fault("must have a `guest` path of its own", &twice.guest);
    }
    entries.sort();
    Ok(entries)
}
