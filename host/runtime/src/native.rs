//! The one unsafe call of the house: native code from a file becomes code that runs.

#![allow(unsafe_code, reason = "wasmtime cannot check native code; the MAC of this host does")]

use wasmtime::{Engine, component::Component};

use crate::cache::Verified;

/// Maps the native code in `verified`.
///
/// # Errors
/// When the engine finds that the code is not for it.
pub(crate) fn load(engine: &Engine, verified: &Verified) -> wasmtime::Result<Component> {
    tracing::debug!(bytes = verified.length, "mapping native code");
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // The descriptor that was verified, not the path that it once had.
        let path = format!("/proc/self/fd/{}", verified.file.as_raw_fd());
        // SAFETY: the bytes carry the MAC of this host over the engine's compatibility hash and the component's digest,
        // so this program wrote them as what its compiler made. The directory is private to this user, and files in it
        // are replaced whole, never changed.
        unsafe { Component::deserialize_file(engine, path) }
    }
    #[cfg(not(target_os = "linux"))]
    {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; usize::try_from(verified.length)?];
        verified.file.read_exact_at(&mut bytes, 0)?;
        // SAFETY: as above.
        unsafe { Component::deserialize(engine, bytes) }
    }
}
