//! The guard in front of `/mcp` and the routes: who it is, and whose session.

use std::{
    collections::HashMap,
    future::{Future, ready},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{
        HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use portcullis_policy::Principal;
use serde_json::json;

use super::{Doorkeeper, Pass, Refused, Tokens};

/// The header that names a session of the older era (MCP 2025-11-25, "Session Management").
const SESSION: &str = "mcp-session-id";
/// The type of a stream of messages.
const EVENTS: &[u8] = b"text/event-stream";
/// Sessions whose owner is kept; there are never so many at one time, and the oldest go first.
const MAX_BOUND: usize = 4096;

tokio::task_local! {
    /// Who the request is from that is being taken in: for what rmcp makes before it has read the request.
    pub(crate) static CALLER: Principal;
}

/// Who a request is from, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The keeper's edition from before it was let in: what is read of the request comes after it, as slowly as it may.
    pub(crate) edition: u64,
}

/// What the guard holds.
#[derive(Debug)]
pub(crate) struct Bindings {
    keeper: Arc<Doorkeeper>,
    owners: Mutex<Owners>,
}

/// The owner of each session, by its id, and the order in which they came.
#[derive(Debug, Default)]
struct Owners {
    by_session: HashMap<String, Owner>,
    next: u64,
}

#[derive(Debug)]
struct Owner {
    number: u64,
    name: String,
    role: Option<String>,
}

impl Owner {
    fn is(&self, pass: &Pass) -> bool {
        (self.name.as_str(), self.role.as_deref()) == pass.owner()
    }
}

impl Bindings {
    pub(crate) fn new(keeper: Arc<Doorkeeper>) -> Self {
        Self { keeper, owners: Mutex::default() }
    }

    fn is_of_another(&self, session: &str, pass: &Pass) -> bool {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.by_session.get(session).is_none_or(|owner| !owner.is(pass))
    }

    fn bind(&self, session: &str, pass: &Pass) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.by_session.len() >= MAX_BOUND {
            let oldest = owners.by_session.iter().min_by_key(|(_, owner)| owner.number).map(|(id, _)| id.clone());
            oldest.map(|id| owners.by_session.remove(&id));
        }
        let number = owners.next;
        owners.next += 1;
        let (name, role) = pass.owner();
        let owner = || Owner { number, name: name.to_owned(), role: role.map(str::to_owned) };
        owners.by_session.entry(session.to_owned()).or_insert_with(owner);
    }
}

/// Lets in who may, and nobody into another's session: that is as if there were none.
pub(crate) async fn guard<F>(bindings: &Bindings, mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let edition = bindings.keeper.edition();
    let admitted = bindings.keeper.admit(request.headers(), request.uri()).await;
    let pass = match admitted {
        Ok(pass) => pass,
        Err(refused) => return unauthorized(&refused, bindings.keeper.tokens()),
    };
    // What was shown ends here: nothing behind this has a use for it.
    request.headers_mut().remove(AUTHORIZATION);
    let principal = pass.principal.clone();
    let session = request.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
    if session.is_some_and(|session| bindings.is_of_another(&session, &pass)) {
        // What rmcp says of a session that it does not know.
        return (StatusCode::NOT_FOUND, "Not Found: Session not found").into_response();
    }
    request.extensions_mut().insert(Caller { principal: principal.clone(), edition });
    let response = CALLER.scope(principal, next(request)).await;
    if let Some(session) = response.headers().get(SESSION).and_then(|id| id.to_str().ok()) {
        bindings.bind(session, &pass);
    }
    let streams = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(EVENTS));
    if streams { while_let_in(&bindings.keeper, pass, response) } else { response }
}

/// A stream may go on for hours: it ends when who asked for it would not be let in any more.
fn while_let_in(keeper: &Arc<Doorkeeper>, pass: Pass, response: Response) -> Response {
    let (head, body) = response.into_parts();
    let revoked = Box::pin(Arc::clone(keeper).revoked(pass.clone()));
    let keeper = Arc::clone(keeper);
    // A key that expires makes no change; what would be sent after it is not.
    let stream = body.into_data_stream().take_until(revoked).take_while(move |_| ready(keeper.stands(&pass)));
    Response::from_parts(head, Body::from_stream(stream))
}

/// RFC 6750, section 3: without a token no error code, with one `invalid_token`, and with one that is good for less than
/// this `insufficient_scope`. Why is the operator's to read.
fn unauthorized(refused: &Refused, tokens: Option<&Tokens>) -> Response {
    let (status, challenge, error) = match refused {
        Refused::Nothing => (StatusCode::UNAUTHORIZED, "Bearer realm=\"portcullis\"", "unauthorized"),
        Refused::InAddress | Refused::Malformed => {
            (StatusCode::BAD_REQUEST, "Bearer realm=\"portcullis\", error=\"invalid_request\"", "invalid_request")
        }
        Refused::Token(refused) if refused.is_insufficient() => {
            (StatusCode::FORBIDDEN, "Bearer realm=\"portcullis\", error=\"insufficient_scope\"", "insufficient_scope")
        }
        Refused::Key(_) | Refused::NoAgent(_) | Refused::Token(_) => {
            (StatusCode::UNAUTHORIZED, "Bearer realm=\"portcullis\", error=\"invalid_token\"", "invalid_token")
        }
    };
    let mut response = (status, Json(json!({ "error": error }))).into_response();
    let more = tokens.and_then(|tokens| tokens.challenge(challenge));
    response.headers_mut().insert(WWW_AUTHENTICATE, more.unwrap_or(HeaderValue::from_static(challenge)));
    response
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::SystemTime};

    use portcullis_audit::Ledger;
    use portcullis_policy::{AgentName, RoleName, RoleRules, Statutes};

    use super::*;
    use crate::auth::KeyRing;

    /// What changes while a request is read is no part of what its caller was found to be.
    #[tokio::test]
    async fn a_caller_is_of_the_edition_before_it_was_let_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::open(&dir.path().join("audit.jsonl"), "s".into(), &[7; 32], SystemTime::now);
        let statutes = |name: &str| {
            let role = RoleName::new(name).expect("a name");
            Statutes::new(BTreeMap::from([(role, RoleRules::default())]), BTreeMap::new()).expect("statutes")
        };
        let keeper =
            Doorkeeper::new(statutes("a"), KeyRing::default(), Arc::new(ledger.expect("a ledger")), SystemTime::now);
        let inner = async |request: Request| {
            let caller = request.extensions().get::<Caller>().cloned().expect("a caller");
            let before = caller.edition == keeper.edition();
            keeper.replace(statutes("b"), KeyRing::default());
            format!("{before} {}", caller.edition == keeper.edition()).into_response()
        };
        let bindings = Bindings::new(Arc::clone(&keeper));
        let answer = guard(&bindings, Request::new(Body::empty()), inner).await;
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.expect("a body");
        assert_eq!(body, "true false");
    }

    /// Who reads the edition and then the roles has no older roles under a newer edition.
    #[test]
    fn an_edition_is_raised_after_what_it_counts() {
        const TIMES: u64 = 20_000;
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::open(&dir.path().join("audit.jsonl"), "s".into(), &[7; 32], SystemTime::now);
        let name = |number: u64| AgentName::new(format!("a{number}")).expect("a name");
        let statutes = |number: u64| {
            let role = RoleName::new("r").expect("a name");
            let roles = BTreeMap::from([(role.clone(), RoleRules::default())]);
            Statutes::new(roles, BTreeMap::from([(name(number), role)])).expect("statutes")
        };
        let keeper =
            Doorkeeper::new(statutes(0), KeyRing::default(), Arc::new(ledger.expect("a ledger")), SystemTime::now);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=TIMES {
                    keeper.replace(statutes(number), KeyRing::default());
                }
            });
            let mut edition = 0;
            while edition < TIMES {
                edition = keeper.edition();
                let older = edition.checked_sub(1).and_then(|older| keeper.agent(&name(older)));
                assert!(older.is_none(), "{edition}");
            }
        });
    }

    /// What is shown to come in, in whatever form, is not there for what is behind the door.
    #[tokio::test]
    async fn what_was_shown_ends_here() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::open(&dir.path().join("audit.jsonl"), "s".into(), &[7; 32], SystemTime::now);
        let statutes = Statutes::new(BTreeMap::new(), BTreeMap::new()).expect("statutes");
        let keeper =
            Doorkeeper::new(statutes, KeyRing::default(), Arc::new(ledger.expect("a ledger")), SystemTime::now);
        let inner = async |request: Request| {
            assert!(request.extensions().get::<Caller>().is_some(), "it came through the guard");
            format!("{:?}", request.headers()).into_response()
        };
        let shown = ["Bearer canary-key", "bearer canary.a.b", "Basic canary"];
        let request = shown.iter().fold(Request::get("/mcp").header("x-other", "stays"), |request, shown| {
            request.header(AUTHORIZATION, *shown)
        });
        let request = request.body(Body::empty()).expect("a request");
        let answer = guard(&Bindings::new(keeper), request, inner).await;
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.expect("a body");
        let seen = String::from_utf8_lossy(&body);
        assert!(seen.contains("stays") && !seen.contains("canary"), "{seen}");
    }
}
