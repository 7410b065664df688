//! `wasi:filesystem`: the directories that grants open.

use portcullis_audit::CallNotes;
use portcullis_policy::Effective;
use wasmtime::component::Linker;
use wasmtime_wasi::{filesystem::WasiFilesystem, filesystem::WasiFilesystemView, p2::bindings};

use crate::{capability::Surroundings, plugin::LoadError, sandbox::Sandbox};

/// The directories of one plugin, opened once.
#[derive(Debug)]
pub(crate) struct Directories;

impl Directories {
    pub(crate) fn open(_grants: &Effective, _surroundings: &Surroundings) -> Result<Self, LoadError> {
        Ok(Self)
    }
}

/// What one call sees of them.
pub(crate) struct Ctx;

impl Ctx {
    pub(crate) fn new(_directories: &std::sync::Arc<Directories>, _notes: CallNotes) -> Self {
        Self
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    bindings::filesystem::types::add_to_linker::<Sandbox, WasiFilesystem>(linker, Sandbox::filesystem)?;
    bindings::filesystem::preopens::add_to_linker::<Sandbox, WasiFilesystem>(linker, Sandbox::filesystem)
}
