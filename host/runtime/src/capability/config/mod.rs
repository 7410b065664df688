//! `wasi:config/store`: the variables of the grant `env`, for programs that ask here. Upstream's implementation.

use portcullis_policy::Effective;
use wasmtime::component::Linker;
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use crate::sandbox::Sandbox;

/// The settings of one plugin.
pub(crate) fn variables(grants: &Effective) -> WasiConfigVariables {
    grants.env().collect()
}

pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    wasmtime_wasi_config::add_to_linker(linker, |sandbox| WasiConfig::new(&sandbox.granted.settings))
}
