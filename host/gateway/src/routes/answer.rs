//! The one table that turns every outcome of a route's call into HTTP: JSON, or a problem (RFC 9457).
//!
//! What [`reply`](crate::reply) is for MCP. A code is stable, and but for those of HTTP itself the outcome in the audit log.

use std::time::Duration;

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use portcullis_catalogue::{ArgumentError, CallError, Problem as Wrong, Reply};
use serde_json::{Map, Value, json};

use super::{
    arguments::BadRequest,
    body::BadBody,
    origin::Stranger,
    route::{Route, Source},
};
use crate::{consent::NotConfirmed, pipeline::Ended, reply::REFUSED};

/// The type of a problem.
pub(super) const PROBLEM: &str = "application/problem+json";
/// When to come again where something has to end or to be made first.
const SOON: Duration = Duration::from_secs(1);

/// What a client is told that does not get what it asked for.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    more: Map<String, Value>,
    again: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), more: Map::new(), again: None }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    fn after(mut self, again: Duration) -> Self {
        self.again = Some(again);
        self
    }

    /// There is no such route, or none that one may see.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here", "there is nothing at this path")
    }

    /// There is one, of other methods.
    pub(super) fn method_not_allowed() -> Self {
        let detail = "there is nothing for this method at this path";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not this method", detail)
    }

    /// What the layers around the routes refuse by a bare status.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is larger than 4 MiB"),
            StatusCode::REQUEST_TIMEOUT => ("too-slow", "the body did not come within 30 seconds"),
            StatusCode::TOO_MANY_REQUESTS => ("limited", "there are too many requests from this address at one time"),
            _ => ("refused", "the request was refused"),
        };
        Self::new(status, code, status.canonical_reason().unwrap_or("Refused"), detail)
    }
}

impl From<Stranger> for Problem {
    fn from(stranger: Stranger) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not from there", stranger.to_string())
    }
}

impl From<BadRequest> for Problem {
    fn from(bad: BadRequest) -> Self {
        let (status, code, title) = match &bad {
            BadRequest::Body(BadBody::OtherType) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON")
            }
            BadRequest::Path { .. }
            | BadRequest::Query(_)
            | BadRequest::Long
            | BadRequest::Body(_)
            | BadRequest::Twice { .. }
            | BadRequest::Set { .. } => (StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read"),
        };
        let problem = Self::new(status, code, title, bad.to_string());
        match bad.parameter() {
            Some(name) => problem.with("parameter", shown(name)),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, code, title, detail, more, again } = self;
        let mut object = Map::new();
        object.insert("type".into(), format!("urn:portcullis:problem:{code}").into());
        object.insert("title".into(), title.into());
        object.insert("status".into(), status.as_u16().into());
        object.insert("detail".into(), detail.into());
        object.insert("code".into(), code.into());
        object.extend(more);
        let mut response = json_response(status, PROBLEM, &Value::Object(object));
        if let Some(again) = again {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(again.as_secs()));
        }
        response
    }
}

fn json_response(status: StatusCode, kind: &'static str, value: &Value) -> Response {
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (status, headers, Body::from(value.to_string())).into_response()
}

/// The answer to a call that came by `route`.
pub(super) fn answer(route: &Route, ended: Ended) -> Response {
    match ended {
        // One that may not be called is one that is not there.
        Ended::UnknownTool | Ended::Denied => Problem::not_found().into_response(),
        Ended::Limited(exceeded) => {
            let again = exceeded.again;
            let detail = exceeded.to_string();
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "limited", "Too many calls", detail);
            problem.with("limit", exceeded.limit).after(again).into_response()
        }
        Ended::NotConfirmed(why) => not_confirmed(&why),
        // There is no way to put a question to whoever is behind a request of HTTP.
        Ended::Asks(_) => not_confirmed(&NotConfirmed::CannotAsk),
        Ended::NotRecorded => {
            let detail = "the call could not be recorded, so it was refused";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-recorded", "Not recorded", detail)
                .after(SOON)
                .into_response()
        }
        Ended::Answered(Ok(Reply::Structured(object)), _) => {
            json_response(StatusCode::OK, "application/json", &Value::Object(object))
        }
        Ended::Answered(Ok(Reply::ToolError(error)), account) => {
            let title = "The tool answered with an error";
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "tool-error", title, error.text);
            refused(problem.with("error", error.value), account.refusals).into_response()
        }
        Ended::Answered(Err(error), account) => refused(failed(route, &error), account.refusals).into_response(),
    }
}

fn not_confirmed(why: &NotConfirmed) -> Response {
    let title = "A person has to say yes";
    Problem::new(StatusCode::FORBIDDEN, "not-confirmed", title, why.to_string()).into_response()
}

fn refused(problem: Problem, refusals: u32) -> Problem {
    if refusals > 0 { problem.with("note", REFUSED) } else { problem }
}

/// Whatever kept the tool from answering. The tool's own failures are 502: this host stands between.
fn failed(route: &Route, error: &CallError) -> Problem {
    let tool = |code| Problem::new(StatusCode::BAD_GATEWAY, code, "The tool failed", error.to_string());
    let later = |code| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, "The tool cannot be called just now", error.to_string())
            .after(SOON)
    };
    match error {
        CallError::BadArguments(error) => bad_arguments(route, error),
        CallError::Trapped { .. } => tool("trapped"),
        CallError::Exited { .. } => tool("exited"),
        CallError::OutOfFuel { .. } => tool("out-of-fuel"),
        CallError::OutOfMemory { .. } => tool("out-of-memory"),
        CallError::OutputTooLarge { .. } => tool("output-too-large"),
        CallError::LogFlood(_) => tool("log-flood"),
        CallError::Deadline { .. } => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "deadline", "The tool took too long", error.to_string())
        }
        CallError::Busy { .. } => later("busy"),
        CallError::Unavailable(_) => later("unavailable"),
        CallError::Host(_) => host_error(),
    }
}

fn host_error() -> Problem {
    let detail = "the host failed to run the tool";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "host-error", "The host failed", detail)
}

/// With the argument under the name that the request has for it.
fn bad_arguments(route: &Route, error: &ArgumentError) -> Problem {
    let rest = error.path.strip_prefix("$.").unwrap_or_default();
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (argument, within) = rest.split_at_checked(end).unwrap_or((rest, ""));
    // A name that is no plain word stands in quotes, and is none of a tool's.
    let (parameter, place) = match (argument, route.source(argument)) {
        ("", _) => (String::new(), if route.method().has_body() { "body" } else { "query" }),
        (_, Source::Path(name)) => (name, "path"),
        (_, Source::Query(name)) => (name, "query"),
        (_, Source::Field(name)) => (name, "body"),
        (_, Source::Body) => (String::new(), "body"),
        (_, Source::Constant(_)) => {
            // The operator's mistake and not the client's.
            tracing::error!(route = route.as_str(), %error, "a constant of a route does not fit its tool");
            return host_error();
        }
    };
    let at = match parameter.as_str() {
        "" if argument.is_empty() => format!("`{}`", error.path),
        "" if within.is_empty() => "the body".to_owned(),
        "" => format!("`${within}` of the body"),
        name => format!("`{}{within}` in the {place}", shown(name)),
    };
    let (said, expected, found) = match &error.problem {
        Wrong::Unexpected { expected, found } => {
            (format!("expected {expected}, found {found}"), Some(expected.clone()), Some(found.clone()))
        }
        Wrong::Missing { expected } => (format!("required, expected {expected}"), Some(expected.clone()), None),
        Wrong::Unknown { known } => {
            let mine = known.iter().filter_map(|name| name_of(&route.source(name)));
            let names: Vec<_> = mine.map(|name| format!("`{name}`")).collect();
            let expected = if names.is_empty() { "nothing here".to_owned() } else { names.join(" or ") };
            (format!("unknown, expected {expected}"), Some(expected), None)
        }
    };
    let title = "An argument does not fit";
    let mut problem =
        Problem::new(StatusCode::BAD_REQUEST, "bad-arguments", title, format!("{at}: {said}")).with("in", place);
    if !parameter.is_empty() {
        problem = problem.with("parameter", shown(&parameter));
    }
    for (name, value) in [("expected", expected), ("found", found)] {
        if let Some(value) = value {
            problem = problem.with(name, value);
        }
    }
    problem
}

/// The name that a request has for what it gives there.
fn name_of(source: &Source) -> Option<String> {
    match source {
        Source::Path(name) | Source::Query(name) | Source::Field(name) => Some(name.clone()),
        Source::Body | Source::Constant(_) => None,
    }
}

/// A name of a client's, short and without control characters.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// With the methods that there are.
pub(super) fn allowing(mut response: Response, allow: &str) -> Response {
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// The schema of a problem.
pub(super) fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why there is no result (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "What happened, for people and models." },
            "code": { "type": "string", "description": "What happened, for programs. Stable." },
            "parameter": { "type": "string", "description": "What of the request is wrong." },
            "in": { "enum": ["path", "query", "body"] },
            "expected": { "type": "string" },
            "found": { "type": "string" },
            "limit": { "type": "string", "description": "The limit of the agent." },
            "note": { "type": "string" },
            "error": { "description": "The tool's own error, as data." },
        },
    })
}
