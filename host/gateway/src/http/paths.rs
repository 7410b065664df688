//! Where a request goes, by its path.

use std::{future::ready, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::Full;
use hyper::body::Bytes;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{peers::Peers, request::Entrance};
use crate::{
    auth::{Bindings, METADATA, Tokens},
    desk::store_trouble,
    handler::{Handler, ServerName, Shared, Who},
    pipeline::{Gateway, MAX_MESSAGE},
    routes::{Hosts, RouteDoor, told},
    sessions::Sessions,
};

/// Where MCP is spoken.
const MCP: &str = "/mcp";
/// Names that `Host` may have on a door of this machine alone: a page in a browser that has another name for the address is
/// somebody else's (DNS rebinding; ../shared/THREATS.md, A7).
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// All paths of a door.
#[derive(Clone)]
pub(super) struct Paths {
    guarded: Arc<Guarded>,
    /// What anybody may ask for; whatever is nothing else is a route.
    others: Router,
}

/// What is behind the entrance.
struct Guarded {
    entrance: Entrance,
    mcp: StreamableHttpService<Handler, Sessions>,
    routes: RouteDoor,
}

impl Paths {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        name: &ServerName,
        public_hosts: &[String],
        peers: &Arc<Peers>,
        shutdown: &CancellationToken,
    ) -> Self {
        // What clients know this host by, where the configuration says that, and this machine.
        let own = gateway.keeper().tokens().map(Tokens::authority);
        let hosts = OWN_HOSTS.into_iter().map(str::to_owned).chain(public_hosts.iter().cloned()).chain(own);
        let hosts: Vec<_> = hosts.collect();
        let route_hosts = Hosts::new(hosts.iter().map(String::as_str));
        let handler = Shared::new(Arc::clone(&gateway), name, None).handler(Who::Asked);
        let config = StreamableHttpServerConfig::default()
            .with_json_response(true)
            .with_max_request_body_bytes(MAX_MESSAGE)
            .with_cancellation_token(shutdown.child_token())
            .with_allowed_hosts(hosts)
            // A page in a browser has an Origin; only pages of this machine may have one here.
            .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"].map(str::to_owned))
            .enforce_origin_validation();
        let guarded = Arc::new(Guarded {
            entrance: Entrance { peers: Arc::clone(peers), bindings: Bindings::new(Arc::clone(gateway.keeper())) },
            mcp: StreamableHttpService::new(move || Ok(handler.for_caller()), Arc::new(Sessions::new()), config),
            routes: RouteDoor::new(Arc::clone(&gateway), route_hosts, &OWN_HOSTS, &name.0),
        });
        let others = match gateway.keeper().tokens() {
            Some(tokens) => described(Router::new(), tokens, name),
            None => Router::new(),
        };
        let of_routes = Arc::clone(&guarded);
        let others = others
            .route("/healthz", get(async || StatusCode::OK))
            .route("/readyz", get(move || readiness(Arc::clone(&gateway))))
            .fallback(move |request| Arc::clone(&of_routes).route(request));
        Self { guarded, others }
    }

    /// Answers a request.
    pub(super) async fn answer(self, request: Request) -> Response {
        if request.uri().path() == MCP {
            return self.guarded.mcp(request).await;
        }
        let Ok(response) = self.others.oneshot(request).await;
        response
    }
}

impl Guarded {
    async fn mcp(&self, request: Request) -> Response {
        // Boxed: it is seven kilobytes, which would move with each future around it.
        let answer = |request: hyper::Request<Bytes>| Box::pin(self.mcp.handle(request.map(Full::new)));
        let answer = async |request| answer(request).await.map(Body::new);
        self.entrance.pass(request, answer).await
    }

    async fn route(self: Arc<Self>, request: Request) -> Response {
        if !self.routes.is_open() {
            return StatusCode::NOT_FOUND.into_response();
        }
        told(self.entrance.pass(request, |request| self.routes.respond(request)).await)
    }
}

/// With what says where tokens are to be had: for the whole host, and for the address that clients have, behind a proxy
/// too (RFC 9728, section 3.1). Anybody may read it.
fn described(router: Router, tokens: &Tokens, name: &ServerName) -> Router {
    let metadata = Json(tokens.metadata(&name.0));
    let own = tokens.path().trim_matches('/').to_owned();
    let whole = metadata.clone();
    let of_path = move |Path(path): Path<String>| {
        let there = path == "mcp" || path == own;
        ready(if there { metadata.clone().into_response() } else { StatusCode::NOT_FOUND.into_response() })
    };
    router.route(METADATA, get(move || ready(whole.clone()))).route(&format!("{METADATA}/{{*path}}"), get(of_path))
}

/// Red while the lock is not the accepted one, a plugin is missing or broken, or the store is away. One that waits for an
/// operator's word is as it should be.
async fn readiness(gateway: Arc<Gateway>) -> (StatusCode, String) {
    let snapshot = gateway.catalogue().snapshot();
    let faults = snapshot.plugins().iter().filter(|plugin| plugin.state.is_fault()).map(|plugin| plugin.name.as_str());
    let lock = snapshot.trouble().map(|_| "the lock");
    // Why is the operator's: anybody may ask here.
    let store = store_trouble(gateway.store()).await.map(|_| "the store");
    let faults: Vec<_> = lock.into_iter().chain(store).chain(faults).collect();
    if faults.is_empty() {
        (StatusCode::OK, "ready\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not in order: {}\n", faults.join(", ")))
    }
}
