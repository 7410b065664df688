//! `wasi:http`: the one way from a guest to other machines.

use std::sync::Arc;

use portcullis_audit::CallNotes;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::{
    capability::{Surroundings, Terms},
    plugin::LoadError,
};

/// What one plugin may send, and the connections that its calls share.
#[derive(Debug)]
pub(crate) struct Egress;

impl Egress {
    pub(crate) fn open(_terms: &Terms, _surroundings: &Surroundings) -> Result<Self, LoadError> {
        Ok(Self)
    }
}

/// The requests of one call.
pub(crate) struct Requests;

impl Requests {
    pub(crate) fn new(_egress: &Arc<Egress>, _notes: CallNotes) -> Self {
        Self
    }
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: Done,
    ) -> Box<dyn Future<Output = wasmtime::Result<(http::Response<WasiBody>, Done), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}
