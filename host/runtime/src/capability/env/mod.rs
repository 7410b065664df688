//! `wasi:cli/environment`: the variables that a grant names, with the values that it gives, and nothing of the host's own.

use portcullis_policy::Effective;
use wasmtime_wasi::WasiCtxBuilder;

/// The variables of one plugin.
#[derive(Debug)]
pub(crate) struct Variables(pub(super) Vec<(String, String)>);

impl Variables {
    /// Those that `grants` give.
    pub(crate) fn of(grants: &Effective) -> Self {
        Self(grants.env().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Gives them to one call.
    pub(crate) fn give(&self, wasi: &mut WasiCtxBuilder) {
        wasi.envs(&self.0);
    }
}
