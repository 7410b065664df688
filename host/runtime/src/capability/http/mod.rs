//! `wasi:http`: the one way from a guest to other machines.
//!
//! [`Egress`] is what a plugin may send and the connections that its calls share; [`Requests`] the requests of one
//! call, and the one choke point: [`Requests::send_request`]. A request is checked before anything is looked up
//! (`request`), sent over a connection to an address that was checked (`exchange`, `connect`, `pool`, `line`), with the secrets
//! that its target gets (`secrets`), and what comes back is counted and masked (`body`, `mask`). What fails becomes the
//! interface's own error, and nothing of the host's, in `fault`.

mod body;
mod connect;
mod exchange;
mod fault;
mod line;
mod mask;
mod pool;
mod request;
mod secrets;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::HeaderName;
use portcullis_audit::CallNotes;
use portcullis_policy::{Effective, PluginName};
use tokio::{runtime::Handle, sync::Semaphore};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use self::{mask::Needles, pool::Pool, secrets::Secrets};
use crate::{
    capability::{Surroundings, Terms},
    plugin::LoadError,
};

/// Requests that a call may send. A tool that needs more asks for too much in one answer; each costs others a look-up
/// and a connection.
const MAX_REQUESTS: u32 = 64;
/// Requests of a call that are on their way at one time, their responses being read included. Each holds a connection,
/// and a descriptor of the host's. What browsers allow a site is 6.
const MAX_AT_ONCE: usize = 8;
/// Bytes of all response bodies of a call together. The guest keeps them in its memory, which is 64 MiB by default.
const MAX_RESPONSE_BYTES: u64 = 64 << 20;
/// Bytes of one piece of a request body. Two of them wait at a time, in memory of the host.
const PIECE: usize = 64 << 10;
/// Request bodies of a call that may have pieces of that size; later ones may only have single bytes, since a guest can
/// make thousands of requests that it never sends, with [`PIECE`]s waiting in each.
const MAX_BODIES: u32 = MAX_REQUESTS;
/// Header fields that the guest of a call may set, append to or delete. Upstream bounds one map of fields to 16 KiB and
/// the maps to the resources of a call, which together were 160 MiB of the host's memory; this makes it 64 MiB.
const MAX_FIELD_OPERATIONS: u32 = 4096;

/// Headers that the host writes, that say where a message ends, or that concern a connection, which is the host's (RFC
/// 9110, section 7.6.1). Not `Content-Length`: clients set it (`fetch` in JavaScript does), and wasmtime holds the body
/// to it. It does not travel: the host frames by itself.
const FORBIDDEN: [&str; 9] =
    ["connection", "expect", "host", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

fn is_forbidden(name: &HeaderName) -> bool {
    FORBIDDEN.contains(&name.as_str()) || name.as_str().starts_with("proxy-")
}

/// What one plugin may send, and the connections that its calls share.
#[derive(Debug)]
pub(crate) struct Egress {
    plugin: PluginName,
    grants: Effective,
    secrets: Secrets,
    /// What no response shows.
    needles: Needles,
    pool: Option<Arc<Pool>>,
}

impl Egress {
    /// Reads the secrets that `terms` grant, once. What outlives a call is looked after on the runtime in which this is
    /// called: those of calls may not outlive them.
    ///
    /// # Errors
    /// When a secret cannot be had.
    pub(crate) fn open(terms: &Terms, surroundings: &Surroundings) -> Result<Self, LoadError> {
        let secrets = Secrets::read(terms)?;
        let needles = secrets.needles();
        let pool = Handle::try_current().ok().map(|runtime| Pool::new(runtime, Arc::clone(&surroundings.resolve)));
        Ok(Self { plugin: terms.plugin.clone(), grants: terms.grants.clone(), secrets, needles, pool })
    }
}

/// The requests of one call.
pub(crate) struct Requests {
    egress: Arc<Egress>,
    notes: CallNotes,
    sent: u32,
    bodies: u32,
    field_operations: u32,
    /// Made with the first request: most calls send none.
    spent: Option<Arc<Spent>>,
}

/// What all requests of a call share.
#[derive(Debug)]
struct Spent {
    /// Bytes of response bodies.
    received: AtomicU64,
    /// Header fields that came in responses; the guest did not make them.
    fields: AtomicU64,
    at_once: Arc<Semaphore>,
    /// Whether the call is over. What its request bodies still lack will never come.
    over: AtomicBool,
}

impl Requests {
    pub(crate) fn new(egress: &Arc<Egress>, notes: CallNotes) -> Self {
        Self { egress: Arc::clone(egress), notes, sent: 0, bodies: 0, field_operations: 0, spent: None }
    }

    fn spent(&mut self) -> Arc<Spent> {
        let fresh = || {
            Arc::new(Spent {
                received: AtomicU64::new(0),
                fields: AtomicU64::new(0),
                at_once: Arc::new(Semaphore::new(MAX_AT_ONCE)),
                over: AtomicBool::new(false),
            })
        };
        Arc::clone(self.spent.get_or_insert_with(fresh))
    }

    fn start(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<exchange::Exchange, Error> {
        let (parts, body) = request.into_parts();
        let checked = match request::check(&parts, &self.egress.grants) {
            Ok(checked) => checked,
            Err(refused) => {
                refused.note(&self.egress.plugin, &self.notes);
                return Err(Error::HttpRequestDenied);
            }
        };
        if self.sent >= MAX_REQUESTS {
            return Err(Error::InternalError(Some(format!("more than {MAX_REQUESTS} requests in one call"))));
        }
        self.sent += 1;
        exchange::Exchange::new(checked, parts.headers, body, Patience::of(options), self)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        if let Some(spent) = &self.spent {
            spent.over.store(true, Ordering::Release);
        }
    }
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Done,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done), Error>> + Send> {
        let started = self.start(request, options);
        let mut running = Box::pin(async move {
            let response = started?.run().await?;
            Ok((response, Box::new(std::future::ready(Ok(()))) as Done))
        });
        // Upstream makes a task of it. What can be done at once is on its way before that begins.
        match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => Box::new(std::future::ready(ended)),
            Poll::Pending => Box::new(running),
        }
    }

    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        self.field_operations = self.field_operations.saturating_add(1);
        let received = self.spent.as_ref().map_or(0, |spent| spent.fields.load(Ordering::Relaxed));
        is_forbidden(name) || u64::from(self.field_operations) > u64::from(MAX_FIELD_OPERATIONS) + received
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    /// `Host` is the target's, not the guest's.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.bodies = self.bodies.saturating_add(1);
        if self.bodies <= MAX_BODIES { PIECE } else { 1 }
    }
}

/// How long a request may take where the guest does not ask for less.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For looking up and for connecting, each.
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

/// Looking a name up, and connecting: handshakes within a continent take a tenth of a second.
const CONNECT: Duration = Duration::from_secs(5);
/// From sending a request to the beginning of its response: the default deadline of a call.
const FIRST_BYTE: Duration = Duration::from_secs(15);
/// Between two pieces of a response: the same.
const BETWEEN_BYTES: Duration = Duration::from_secs(15);

impl Patience {
    /// Zero is a time like any other: nothing can be had in it (GHSA-w4qr).
    fn of(options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        let least = |ours: Duration, theirs: Option<Duration>| theirs.map_or(ours, |theirs| theirs.min(ours));
        Self {
            connect: least(CONNECT, options.connect_timeout),
            first_byte: least(FIRST_BYTE, options.first_byte_timeout),
            between_bytes: least(BETWEEN_BYTES, options.between_bytes_timeout),
        }
    }
}
