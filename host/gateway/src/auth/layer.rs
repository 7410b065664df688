//! The layer in front of `/mcp`: who it is, and whose session.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    middleware::Next,
    response::{IntoResponse, Response},
};
use portcullis_policy::Principal;
use serde_json::json;

use super::{Doorkeeper, Refused};

/// The header that names a session of the older era (MCP 2025-11-25, "Session Management").
const SESSION: &str = "mcp-session-id";
/// Sessions whose owner is kept; there are never so many at one time, and the oldest go first.
const MAX_BOUND: usize = 4096;

/// Who a request is from, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Principal);

/// What the layer holds.
#[derive(Debug)]
pub(crate) struct Bindings {
    keeper: Arc<Doorkeeper>,
    owners: Mutex<Owners>,
}

/// The owner of each session, by its id, and the order in which they came.
#[derive(Debug, Default)]
struct Owners {
    by_session: HashMap<String, (u64, String)>,
    next: u64,
}

impl Bindings {
    pub(crate) fn new(keeper: Arc<Doorkeeper>) -> Arc<Self> {
        Arc::new(Self { keeper, owners: Mutex::default() })
    }

    fn is_of_another(&self, session: &str, principal: &Principal) -> bool {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.by_session.get(session).is_none_or(|(_, owner)| owner != principal.as_str())
    }

    fn bind(&self, session: &str, principal: &Principal) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.by_session.len() >= MAX_BOUND {
            let oldest = owners.by_session.iter().min_by_key(|(_, (number, _))| *number).map(|(id, _)| id.clone());
            oldest.map(|id| owners.by_session.remove(&id));
        }
        let number = owners.next;
        owners.next += 1;
        owners.by_session.entry(session.to_owned()).or_insert_with(|| (number, principal.as_str().to_owned()));
    }
}

/// Lets in who may, and nobody into another's session: that is as if there were none.
pub(crate) async fn guard(State(bindings): State<Arc<Bindings>>, mut request: Request, next: Next) -> Response {
    let principal = match bindings.keeper.admit(request.headers(), request.uri()) {
        Ok(principal) => principal,
        Err(refused) => return unauthorized(&refused),
    };
    let session = request.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
    if session.is_some_and(|session| bindings.is_of_another(&session, &principal)) {
        // What rmcp says of a session that it does not know.
        return (StatusCode::NOT_FOUND, "Not Found: Session not found").into_response();
    }
    request.extensions_mut().insert(Caller(principal.clone()));
    let response = next.run(request).await;
    if let Some(session) = response.headers().get(SESSION).and_then(|id| id.to_str().ok()) {
        bindings.bind(session, &principal);
    }
    response
}

/// RFC 6750, section 3: without a token no error code, with one `invalid_token`. Why is the operator's to read.
fn unauthorized(refused: &Refused) -> Response {
    let (status, challenge, error) = match refused {
        Refused::Nothing => (StatusCode::UNAUTHORIZED, "Bearer realm=\"portcullis\"", "unauthorized"),
        Refused::InAddress | Refused::Malformed => {
            (StatusCode::BAD_REQUEST, "Bearer realm=\"portcullis\", error=\"invalid_request\"", "invalid_request")
        }
        Refused::Key(_) | Refused::NoAgent(_) => {
            (StatusCode::UNAUTHORIZED, "Bearer realm=\"portcullis\", error=\"invalid_token\"", "invalid_token")
        }
    };
    let mut response = (status, Json(json!({ "error": error }))).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
