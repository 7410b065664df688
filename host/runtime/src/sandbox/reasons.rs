//! `wasi:io/error`: why a stream failed, for the guest. Upstream's prints the host's own stack where `RUST_BACKTRACE` is
//! set; here it is the error and its causes, and nothing else.

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi_io::{
    bindings::wasi::io::error::{self, Host, HostError},
    streams::Error,
};

use super::Sandbox;

/// The table in which the errors are.
pub(super) struct Reasons<'a>(&'a mut ResourceTable);

impl HasData for Reasons<'static> {
    type Data<'a> = Reasons<'a>;
}

pub(super) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    error::add_to_linker::<_, Reasons<'static>>(linker, |sandbox| Reasons(&mut sandbox.table))
}

impl Host for Reasons<'_> {}

impl HostError for Reasons<'_> {
    fn to_debug_string(&mut self, error: Resource<Error>) -> wasmtime::Result<String> {
        Ok(format!("{:#}", self.0.get(&error)?))
    }

    fn drop(&mut self, error: Resource<Error>) -> wasmtime::Result<()> {
        self.0.delete(error)?;
        Ok(())
    }
}
