//! What a guest asked of files and did not get: the error that it sees, and who else is told what.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use portcullis_audit::CallNotes;
use portcullis_policy::{Access, FileGrant, PluginName};
use rustix::io::Errno;
use wasmtime_wasi::p2::{FsError, bindings::filesystem::types::ErrorCode};

use super::{MAX_DESCRIPTORS, MAX_STREAMS, books::MAX_ENTRIES};

/// Bytes of a guest's path that are recorded.
const MAX_SHOWN: usize = 512;

/// Why a guest did not get what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The directory is granted to read.
    ReadOnly,
    /// It leads out of the directory, or the operating system forbids it.
    Outside,
    /// No link is ever made.
    Link,
    /// It is neither a regular file nor a directory.
    Kind,
    /// The bytes are used up.
    Quota,
    /// The entries are used up.
    Entries,
    /// The call has too many open.
    Descriptors,
    /// The same for streams.
    Streams,
}

impl Refusal {
    /// What the guest gets. Too many open is `ENOMEM`, since WASI has no `EMFILE`.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::ReadOnly | Self::Outside | Self::Link | Self::Kind => ErrorCode::NotPermitted,
            Self::Quota | Self::Entries => ErrorCode::InsufficientSpace,
            Self::Descriptors | Self::Streams => ErrorCode::InsufficientMemory,
        }
    }

    /// The same, as streams carry it.
    pub(super) fn errno(self) -> Errno {
        match self {
            Self::ReadOnly | Self::Outside | Self::Link | Self::Kind => Errno::PERM,
            Self::Quota | Self::Entries => Errno::NOSPC,
            Self::Descriptors | Self::Streams => Errno::NOMEM,
        }
    }

    fn reason(self, grant: &FileGrant) -> String {
        match self {
            Self::ReadOnly => "granted to read".into(),
            Self::Outside => "it leads out of what is granted, or the operating system forbids it".into(),
            Self::Link => "links are never made".into(),
            Self::Kind => "it is neither a regular file nor a directory".into(),
            Self::Quota => format!("quota of {} bytes is used up", grant.quota()),
            Self::Entries => format!("there are {MAX_ENTRIES} files and folders already"),
            Self::Descriptors => format!("the call has {MAX_DESCRIPTORS} files open"),
            Self::Streams => format!("the call has {MAX_STREAMS} streams of files open"),
        }
    }
}

/// Why an operation ended without a result.
pub(super) enum Fault {
    /// The guest may not.
    Refused(Refusal),
    /// The machine said no.
    Io(io::Error),
    /// Upstream said no.
    Fs(FsError),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FsError> for Fault {
    fn from(error: FsError) -> Self {
        Self::Fs(error)
    }
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self::Fs(code.into())
    }
}

/// Where the refusals of one call go.
pub(super) struct Told {
    notes: CallNotes,
    plugin: PluginName,
    /// A full directory is told once a call: each further write finds it full.
    full: AtomicBool,
}

impl Told {
    pub(super) fn new(plugin: PluginName, notes: CallNotes) -> Self {
        Self { notes, plugin, full: AtomicBool::new(false) }
    }

    /// Records that `path`, as the guest names it, was refused, and tells the operator what to write.
    pub(super) fn refused(&self, grant: &FileGrant, configured: Option<&FileGrant>, path: &str, refusal: Refusal) {
        let full = matches!(refusal, Refusal::Quota | Refusal::Entries);
        if full && self.full.swap(true, Ordering::Relaxed) {
            return;
        }
        let path = path.get(..path.floor_char_boundary(MAX_SHOWN)).unwrap_or_default();
        let reason = refusal.reason(grant);
        if !self.notes.denied("files", path, &reason) {
            return;
        }
        let (plugin, path) = (&self.plugin, path.escape_debug());
        match self.hint(grant, configured, refusal) {
            Some(hint) => tracing::warn!(%plugin, %path, %hint, "a plugin was refused a file: {reason}"),
            None => tracing::warn!(%plugin, %path, "a plugin was refused a file: {reason}"),
        }
    }

    fn hint(&self, grant: &FileGrant, configured: Option<&FileGrant>, refusal: Refusal) -> Option<String> {
        let plugin = &self.plugin;
        let below = |line: String| format!("in `[plugins.{plugin}.grants]`: files = [{line}]");
        let waits = || format!("it is configured and waits for approval: portcullis diff {plugin}");
        match refusal {
            Refusal::ReadOnly if configured.is_some_and(|entry| entry.access() == Access::ReadWrite) => Some(waits()),
            Refusal::ReadOnly => Some(below(grant.line(Access::ReadWrite, grant.quota()))),
            Refusal::Quota if configured.is_some_and(|entry| entry.quota() > grant.quota()) => Some(waits()),
            Refusal::Quota => Some(below(grant.line(grant.access(), grant.quota().saturating_mul(2)))),
            Refusal::Outside
            | Refusal::Link
            | Refusal::Kind
            | Refusal::Entries
            | Refusal::Descriptors
            | Refusal::Streams => None,
        }
    }
}
