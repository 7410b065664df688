//! The door of routes: which one a request is of, for this caller; the rest is the pipeline's.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    http::{
        HeaderName, HeaderValue, Method as Verb, Request, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use portcullis_catalogue::{Snapshot, Tool};
use portcullis_policy::{Principal, decide};

use super::{
    answer::{Problem, allowing, answer},
    arguments::{BadRequest, arguments},
    misfit::misfit,
    openapi::Documents,
    origin::Hosts,
    route::{Method, Route},
    shape::Schema,
    table::Matched,
};
use crate::{
    auth::Caller,
    consent::Consent,
    pipeline::{Ended, Gateway, Incoming},
};

/// Where the routes are described.
const DESCRIPTION: &str = "/openapi.json";
/// The methods of the description.
const TO_LOOK: &str = "GET, HEAD, OPTIONS";
/// What no browser should guess otherwise.
const NO_SNIFF: (HeaderName, HeaderValue) = (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// The door.
#[derive(Debug)]
pub(crate) struct RouteDoor {
    gateway: Arc<Gateway>,
    hosts: Hosts,
    /// Names of this machine, of which pages may ask.
    own: &'static [&'static str],
    documents: Documents,
}

impl RouteDoor {
    /// Over `gateway`, for a host of these names that calls itself `title`.
    pub(crate) fn new(gateway: Arc<Gateway>, hosts: Hosts, own: &'static [&'static str], title: &str) -> Self {
        let documents = Documents::new(title, gateway.keeper());
        Self { gateway, hosts, own, documents }
    }

    /// Whether there is anything here: without routes there is nothing, for nobody.
    pub(crate) fn is_open(&self) -> bool {
        !self.gateway.routes().is_empty()
    }

    /// Answers a request that has come in.
    pub(crate) async fn respond(&self, request: Request<Bytes>) -> Response {
        let (head, body) = request.into_parts();
        // The guard has found out who it is: without it nobody vouches.
        let Some(caller) = head.extensions.get::<Caller>().cloned() else {
            return Problem::not_found().into_response();
        };
        self.answer(head, body, caller.principal).await
    }

    async fn answer(&self, head: Parts, body: Bytes, principal: Principal) -> Response {
        let received = Instant::now();
        if let Err(stranger) = self.hosts.check(&head.uri, &head.headers, self.own) {
            return Problem::from(stranger).into_response();
        }
        if head.uri.path() == DESCRIPTION {
            return self.describe(&head, &principal);
        }
        let (table, snapshot) = (self.gateway.routes(), self.gateway.catalogue().snapshot());
        // A route that this caller does not see is none: what remains decides which one is meant, and what is allowed.
        let (seen, hidden): (Vec<_>, Vec<_>) = table
            .of_path(head.uri.path())
            .map(|matched| (seen(&snapshot, &principal, matched.route), matched))
            .partition(|(tool, _)| tool.is_some());
        let wanted = method(&head.method);
        let of_method = |(_, matched): &&(Option<&Tool>, Matched<'_>)| Some(matched.route.method()) == wanted;
        if let Some((Some(tool), matched)) = seen.iter().find(of_method) {
            return match given(matched, &head, &body, tool) {
                Ok(incoming) => answer(matched.route, self.call(matched.route, incoming, &principal, received).await),
                Err(bad) => Problem::from(bad).into_response(),
            };
        }
        if let Some((_, matched)) = hidden.iter().find(of_method)
            && let Some(answer) = self.turn_away(matched, &head, &body, &snapshot, &principal, received).await
        {
            return answer;
        }
        let allow = allow(seen.iter().map(|(_, matched)| matched.route.method()));
        match allow {
            None => Problem::not_found().into_response(),
            Some(allow) if head.method == Verb::OPTIONS => allowing(StatusCode::NO_CONTENT.into_response(), &allow),
            Some(allow) => allowing(Problem::method_not_allowed().into_response(), &allow),
        }
    }

    /// The call, along the path of every call. Dropped with the connection, it stops the guest.
    async fn call(
        &self,
        route: &Route,
        arguments: serde_json::Map<String, serde_json::Value>,
        principal: &Principal,
        received: Instant,
    ) -> Ended {
        let (tool, shown) = (route.tool().as_str(), Some(route.as_str()));
        let call =
            Incoming { principal, tool, arguments, reports: None, received, consent: Consent::Nobody, route: shown };
        Box::pin(self.gateway.call(call)).await
    }

    /// Has a call that this caller may not make denied, and so recorded. It learns nothing of it, unless it was allowed
    /// meanwhile.
    async fn turn_away(
        &self,
        matched: &Matched<'_>,
        head: &Parts,
        body: &Bytes,
        snapshot: &Snapshot,
        principal: &Principal,
        received: Instant,
    ) -> Option<Response> {
        let tool = snapshot.tool(matched.route.tool().as_str());
        // One that is served and allowed is hidden since it does not fit its tool.
        let tool = tool.filter(|tool| decide(principal, tool.rules()).is_err())?;
        let arguments = given(matched, head, body, tool).ok()?;
        since_allowed(matched.route, self.call(matched.route, arguments, principal, received).await)
    }

    fn describe(&self, head: &Parts, principal: &Principal) -> Response {
        match head.method {
            Verb::GET | Verb::HEAD => {
                let table = self.gateway.routes();
                let snapshot = self.gateway.catalogue().snapshot();
                let visible = |route: &Route| seen(&snapshot, principal, route).cloned();
                self.documents.answer(&head.headers, principal, &snapshot, &table, visible)
            }
            Verb::OPTIONS => allowing(StatusCode::NO_CONTENT.into_response(), TO_LOOK),
            _ => allowing(Problem::method_not_allowed().into_response(), TO_LOOK),
        }
    }
}

/// The answer to a call that was hidden a moment ago. Should it be allowed since, it was made as it was asked for, and who
/// asked has to know what came of it; before a decision it is as if there were no such route.
fn since_allowed(route: &Route, ended: Ended) -> Option<Response> {
    match ended {
        Ended::UnknownTool | Ended::Denied | Ended::NotRecorded => None,
        Ended::Limited(_) | Ended::NotConfirmed(_) | Ended::Asks(_) | Ended::Answered(..) => Some(answer(route, ended)),
    }
}

/// The tool of a route, where it is served, takes what the route gives, and may be called by this principal.
fn seen<'a>(snapshot: &'a Snapshot, principal: &Principal, route: &Route) -> Option<&'a Tool> {
    let tool = snapshot.tool(route.tool().as_str())?;
    let fits = misfit(route, tool.definition()).is_none();
    (fits && decide(principal, tool.rules()).is_ok()).then_some(tool)
}

fn given(
    matched: &Matched<'_>,
    head: &Parts,
    body: &Bytes,
    tool: &Tool,
) -> Result<serde_json::Map<String, serde_json::Value>, BadRequest> {
    let schema = Schema::new(&tool.definition().input_schema);
    arguments(matched, &head.uri, &head.headers, body, schema)
}

/// The method of routes that a request's method asks for: of `HEAD` the answer to `GET` is wanted, without its body.
fn method(verb: &Verb) -> Option<Method> {
    match verb.as_str() {
        "HEAD" => Some(Method::Get),
        verb => Method::ALL.into_iter().find(|method| method.as_str() == verb),
    }
}

/// The methods of a path, as `Allow` has them; none where there is nothing.
fn allow(methods: impl Iterator<Item = Method>) -> Option<String> {
    let there: Vec<_> = methods.collect();
    let names = Method::ALL.into_iter().filter(|method| there.contains(method)).map(|method| match method {
        Method::Get => "GET, HEAD",
        Method::Post | Method::Put | Method::Patch | Method::Delete => method.as_str(),
    });
    let names: Vec<_> = names.chain(["OPTIONS"]).collect();
    (!there.is_empty()).then(|| names.join(", "))
}

/// The answer to a request of a route: what was refused on the way in says why, as routes do.
pub(crate) fn told(mut response: Response) -> Response {
    let status = response.status();
    if status.is_client_error() && !response.headers().contains_key(CONTENT_TYPE) {
        let told = Problem::of_status(status).into_response();
        let (told, body) = told.into_parts();
        *response.body_mut() = body;
        for (name, value) in [CONTENT_TYPE, CACHE_CONTROL].into_iter().filter_map(|name| {
            let value = told.headers.get(&name).cloned();
            Some((name, value?))
        }) {
            response.headers_mut().insert(name, value);
        }
    }
    let (name, value) = NO_SNIFF;
    response.headers_mut().insert(name, value);
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use portcullis_audit::Used;
    use portcullis_catalogue::Reply;
    use serde_json::Map;

    use super::*;
    use crate::pipeline::Account;

    /// A call that was hidden, and allowed before it was made, has run: who asked is told. Else there is no route.
    #[test]
    fn what_ran_after_all_is_answered() {
        let route = Route::new("POST", "/x", "a_b", Default::default(), None).expect("a route");
        let account = Account { used: Used::default(), printed: None, refusals: 0 };
        let ran = Ended::Answered(Ok(Reply::Structured(Map::new())), Box::new(account));
        assert_eq!(since_allowed(&route, ran).map(|answer| answer.status()), Some(StatusCode::OK));
        for nothing in [Ended::Denied, Ended::UnknownTool, Ended::NotRecorded] {
            assert!(since_allowed(&route, nothing).is_none());
        }
    }
}
