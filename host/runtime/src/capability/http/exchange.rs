//! One request and its response.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use portcullis_audit::CallNotes;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{
    Egress, Patience, Requests, Spent,
    body::{Incoming, Outgoing, Used},
    connect::ConnectFault,
    fault,
    line::Line,
    pool::{Pool, Route},
    request::Checked,
};

/// A request that is allowed, ready to be sent.
pub(super) struct Exchange {
    request: http::Request<Outgoing>,
    way: Way,
}

/// How it is sent.
struct Way {
    /// The request as it is shown: without its query.
    shown: String,
    route: Route,
    patience: Patience,
    spent: Arc<Spent>,
    egress: Arc<Egress>,
    pool: Arc<Pool>,
    notes: CallNotes,
}

impl Exchange {
    /// The request that was `checked`, with these headers and this body of the guest's, as one of `call`.
    ///
    /// # Errors
    /// When there are too many headers, or the length that they announce is too much.
    pub(super) fn new(
        checked: Checked,
        headers: HeaderMap,
        body: WasiBody,
        patience: Patience,
        call: &mut Requests,
    ) -> Result<Self, Error> {
        let (spent, egress) = (call.spent(), Arc::clone(&call.egress));
        let pool = egress.pool.clone().ok_or(Error::ConfigurationError)?;
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let body = Outgoing::new(body, announced, Arc::clone(&spent))?;
        let request = checked.head(headers, &egress.secrets)?.map(|()| body);
        let (shown, route) = (checked.shown(), Route::new(&checked.target, checked.private));
        let way = Way { shown, route, patience, spent, egress, pool, notes: call.notes.clone() };
        Ok(Self { request, way })
    }

    /// Sends it, and gives the response as soon as its head is there. Dropping the future closes the connection.
    pub(super) async fn run(self) -> Result<http::Response<WasiBody>, Error> {
        let Self { request, way } = self;
        let free = timeout(way.patience.connect, Arc::clone(&way.spent.at_once).acquire_owned());
        let place = free.await.ok().and_then(Result::ok).ok_or(Error::ConnectionLimitReached)?;
        let (response, line) = way.send(request).await?;
        let (mut head, body) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::HttpProtocolError);
        }
        let Way { egress, spent, pool, route, patience, .. } = way;
        egress.needles.mask_headers(&mut head.headers);
        spent.fields.fetch_add(head.headers.len() as u64, Ordering::Relaxed);
        let used = Used { pool, route, line, place };
        let body = Incoming::new(body, egress.needles.clone(), spent, patience.between_bytes, used);
        let mut response = http::Response::new(body.boxed_unsync());
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        Ok(response)
    }
}

impl Way {
    async fn send(
        &self,
        mut request: http::Request<Outgoing>,
    ) -> Result<(http::Response<hyper::body::Incoming>, Line), Error> {
        loop {
            let mut line = self.line().await?;
            let sent = timeout(self.patience.first_byte, line.send(request)).await;
            let mut error = match sent.map_err(|_| Error::HttpResponseTimeout)? {
                Ok(response) => {
                    line.settle(self.pool.runtime());
                    return Ok((response, line));
                }
                Err(error) => error,
            };
            match error.take_message() {
                // The server closed the connection before it was used again, and got nothing of this request.
                Some(unsent) if line.reused => request = unsent,
                Some(_) | None => {
                    let error = error.into_error();
                    tracing::debug!(plugin = %self.egress.plugin, request = self.shown, %error, "a request failed");
                    return Err(fault::of_hyper(&error));
                }
            }
        }
    }

    async fn line(&self) -> Result<Line, Error> {
        if let Some(line) = self.pool.take(&self.route) {
            return Ok(line);
        }
        self.pool.connect(&self.route, self.patience.connect).await.map_err(|fault| match fault {
            ConnectFault::Prohibited(address) => {
                note_address(&self.egress, &self.notes, &self.shown, address);
                Error::DestinationIpProhibited
            }
            ConnectFault::Failed(error) => error,
        })
    }
}

/// Tells the ledger and the operator of an address that is not global.
fn note_address(egress: &Egress, notes: &CallNotes, shown: &str, address: IpAddr) {
    let reason = format!("its host has the address {address}, which is not global");
    if notes.denied("http", shown, &reason) {
        let plugin = &egress.plugin;
        tracing::warn!(
            %plugin,
            "a request was denied: {shown}: {reason} \
             hint: in `[plugins.{plugin}.grants]`: http = [{{ allow = \"{shown}\", private = [\"{address}\"] }}]"
        );
    }
}
