//! From a request to the arguments of a call: path, query and body, each name from one place.

use axum::{
    body::Bytes,
    http::{HeaderMap, Uri},
};
use serde_json::{Map, Value};

use super::{
    body::{self, BadBody},
    route::Source,
    shape::{Schema, Shape},
    table::Matched,
    template::{BadText, query_text, segment_text, segment_texts},
};

/// Parameters of a query: more than any list that is written into an address.
const MAX_PAIRS: usize = 1024;

/// Why a request has no arguments. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    /// A parameter of the path.
    #[error("`{name}` in the path: {why}")]
    Path {
        /// Its name.
        name: String,
        /// Why.
        why: BadText,
    },
    /// A name or a value of the query.
    #[error("the query: {0}")]
    Query(BadText),
    /// The query has too many parameters.
    #[error("the query has more than {MAX_PAIRS} parameters")]
    Long,
    /// The body.
    #[error(transparent)]
    Body(#[from] BadBody),
    /// A name is there twice.
    #[error("`{name}` is given more than once")]
    Twice {
        /// The name.
        name: String,
    },
    /// What the route itself says is given too.
    #[error("`{name}` is not for the request to give")]
    Set {
        /// The name.
        name: String,
    },
}

impl BadRequest {
    /// The name of what is wrong, where one thing is.
    pub(super) fn parameter(&self) -> Option<&str> {
        match self {
            Self::Path { name, .. } | Self::Twice { name } | Self::Set { name } => Some(name),
            Self::Query(_) | Self::Long | Self::Body(_) => None,
        }
    }
}

/// What a request gives, by place.
struct Given {
    query: Vec<(String, Vec<String>)>,
    body: Body,
}

enum Body {
    Absent,
    Whole(Value, String),
    Fields(Map<String, Value>),
}

/// The arguments that a request of a route gives. Whether they fit the tool is for the call to find out.
///
/// # Errors
/// When they cannot be read, or one of them is there twice.
pub(super) fn arguments(
    matched: &Matched<'_>,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
    schema: Schema<'_>,
) -> Result<Map<String, Value>, BadRequest> {
    let route = matched.route;
    let mut given = Given { query: query(uri.query().unwrap_or_default())?, body: Body::Absent };
    if body::is_there(headers, body)? {
        given.body = match (route.method().has_body(), route.takes_whole_body()) {
            (false, _) => return Err(BadBody::Unwanted.into()),
            (true, true) => body::whole(body).map(|(value, text)| Body::Whole(value, text))?,
            (true, false) => Body::Fields(body::fields(body)?),
        };
    }
    let shape = |argument: &str| schema.argument(argument).map_or(Shape::Text, |parameter| parameter.shape);
    let mut arguments = Map::new();
    // What one argument takes from the query or the body may be for another too; afterwards it is nobody's.
    for (argument, source) in route.arguments() {
        let value = match source {
            Source::Path(name) => {
                let captured = matched.captured.iter().find(|(found, _)| found == name);
                let shape = shape(argument);
                let value = captured.map(|(_, sent)| match &shape {
                    Shape::List(_) => segment_texts(sent).map(|texts| shape.values(texts)),
                    Shape::Text | Shape::Integer | Shape::Number | Shape::Boolean | Shape::Json => {
                        segment_text(sent).map(|text| Some(shape.value(text)))
                    }
                });
                value.transpose().map_err(|why| BadRequest::Path { name: name.clone(), why })?.flatten()
            }
            Source::Query(name) => match given.query.iter().find(|(found, _)| found == name) {
                Some((_, texts)) => Some(texts_value(name, texts.clone(), &shape(argument))?),
                None => None,
            },
            Source::Field(name) => match &given.body {
                Body::Fields(fields) => fields.get(name).cloned(),
                Body::Absent | Body::Whole(..) => None,
            },
            Source::Body => match &given.body {
                Body::Whole(_, text) if shape(argument) == Shape::Text => Some(Value::String(text.clone())),
                Body::Whole(value, _) => Some(value.clone()),
                Body::Absent | Body::Fields(_) => None,
            },
            Source::Constant(value) => Some(value.clone()),
        };
        arguments.extend(value.map(|value| (argument.clone(), value)));
    }
    let is_query =
        |name: &str| route.arguments().values().any(|source| matches!(source, Source::Query(q) if q == name));
    let is_field =
        |name: &str| route.arguments().values().any(|source| matches!(source, Source::Field(f) if f == name));
    given.query.retain(|(name, _)| !is_query(name));
    // The rest is under the tool's own names, of which the route has taken some for itself.
    let mut add = |name: String, value: Value| {
        if route.arguments().contains_key(&name) {
            return Err(BadRequest::Set { name });
        }
        match arguments.insert(name.clone(), value) {
            Some(_) => Err(BadRequest::Twice { name }),
            None => Ok(()),
        }
    };
    for (name, texts) in given.query {
        let value = texts_value(&name, texts, &shape(&name))?;
        add(name, value)?;
    }
    if let Body::Fields(fields) = given.body {
        for (name, value) in fields {
            if !is_field(&name) {
                add(name, value)?;
            }
        }
    }
    absent_lists(matched, schema, &mut arguments);
    Ok(arguments)
}

/// In a query a list of nothing is a name that is not there.
fn absent_lists(matched: &Matched<'_>, schema: Schema<'_>, arguments: &mut Map<String, Value>) {
    for name in schema.arguments() {
        let Some(parameter) = schema.argument(name).filter(|_| !arguments.contains_key(name)) else { continue };
        let in_query = matches!(matched.route.source(name), Source::Query(_));
        if in_query && parameter.required && matches!(parameter.shape, Shape::List(_)) {
            arguments.insert(name.to_owned(), Value::Array(Vec::new()));
        }
    }
}

fn texts_value(name: &str, texts: Vec<String>, shape: &Shape) -> Result<Value, BadRequest> {
    shape.values(texts).ok_or_else(|| BadRequest::Twice { name: name.to_owned() })
}

/// The parameters of a query, by name, in the order in which they came.
fn query(text: &str) -> Result<Vec<(String, Vec<String>)>, BadRequest> {
    let mut pairs: Vec<(String, Vec<String>)> = Vec::new();
    for (at, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if at >= MAX_PAIRS {
            return Err(BadRequest::Long);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = query_text(name).map_err(BadRequest::Query)?;
        let value = query_text(value).map_err(BadRequest::Query)?;
        match pairs.iter_mut().find(|(found, _)| *found == name) {
            Some((_, values)) => values.push(value),
            None => pairs.push((name, vec![value])),
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::routes::{route::Route, table::RouteTable};

    fn schema() -> Value {
        json!({ "type": "object", "required": ["key", "tags"], "properties": {
            "key": { "type": "string" }, "value": { "type": "string" }, "count": { "type": "integer" },
            "tags": { "type": "array", "items": { "type": "string" } }, "data": { "type": "object" },
        } })
    }

    fn ask(method: &str, path: &str, sources: &[(&str, &str)], target: &str, body: &str) -> Result<Value, BadRequest> {
        let mut all: BTreeMap<_, _> =
            sources.iter().map(|(name, source)| ((*name).to_owned(), Source::read(source).expect(source))).collect();
        if all.contains_key("count") && all["count"] == Source::Query("fixed".into()) {
            all.insert("count".into(), Source::Constant(json!(7)));
        }
        let table = RouteTable::new(vec![Route::new(method, path, "t", all, None).expect("a route")]).expect("a table");
        let uri: Uri = target.parse().expect(target);
        let matched = table.of_path(uri.path()).next().expect("a match");
        let headers = HeaderMap::from_iter([(
            "content-type".parse().expect("a name"),
            HeaderValue::from_static("application/json"),
        )]);
        let schema = schema();
        let body = Bytes::from(body.to_owned());
        arguments(&matched, &uri, &headers, &body, Schema::new(schema.as_object().expect("an object")))
            .map(Value::Object)
    }

    #[test]
    fn arguments_come_from_path_query_and_body() {
        let get = |target: &str| ask("GET", "/c/{key}", &[], target, "");
        assert_eq!(get("/c/a%2Fb"), Ok(json!({ "key": "a/b", "tags": [] })));
        assert_eq!(get("/c/a?tags=x&tags=y%20z&count=5"), Ok(json!({ "key": "a", "tags": ["x", "y z"], "count": 5 })));
        assert_eq!(get("/c/5?count=x&other="), Ok(json!({ "key": "5", "tags": [], "count": "x", "other": "" })));
        assert_eq!(
            ask("GET", "/c/{tags}", &[], "/c/x,y%2Cz?key=k", ""),
            Ok(json!({ "tags": ["x", "y,z"], "key": "k" }))
        );
        assert_eq!(get("/c/a?&&"), Ok(json!({ "key": "a", "tags": [] })));
        let mapped = [("key", "path.agent"), ("count", "query.max"), ("value", "body.note")];
        let post = |target: &str, body: &str| ask("POST", "/c/{agent}", &mapped, target, body);
        assert_eq!(
            post("/c/al?max=3", r#"{"note":"n","tags":["t"]}"#),
            Ok(json!({ "key": "al", "count": 3, "value": "n", "tags": ["t"] }))
        );
        assert_eq!(post("/c/al", ""), Ok(json!({ "key": "al" })));
        // The body as a whole: as the text that it was, where a text is wanted.
        let whole = |argument: &str, body: &str| {
            ask("POST", "/c/{key}", &[(argument, "body")], "/c/a?tags=x", body).map(|found| found[argument].clone())
        };
        assert_eq!(whole("value", r#" {"b":1,"a":2.50} "#), Ok(json!(r#"{"b":1,"a":2.50}"#)));
        assert_eq!(whole("data", "[1]"), Ok(json!([1])));
        let fixed = [("count", "query.fixed")];
        assert_eq!(ask("GET", "/c/{key}", &fixed, "/c/a", ""), Ok(json!({ "count": 7, "key": "a", "tags": [] })));
    }

    #[test]
    fn a_name_has_one_place() {
        let twice = |name: &str| Err(BadRequest::Twice { name: name.into() });
        let set = |name: &str| Err(BadRequest::Set { name: name.into() });
        assert_eq!(ask("GET", "/c/{key}", &[], "/c/a?count=1&count=2", ""), twice("count"));
        assert_eq!(ask("GET", "/c/{key}", &[], "/c/a?count=1&c%6funt=2", ""), twice("count"));
        assert_eq!(ask("POST", "/c/{key}", &[], "/c/a?count=1", r#"{"count":1}"#), twice("count"));
        assert_eq!(ask("POST", "/c/{key}", &[], "/c/a?key=b", "{}"), set("key"));
        assert_eq!(ask("POST", "/c/{key}", &[], "/c/a", r#"{"key":"b"}"#), set("key"));
        let mapped = [("key", "path.agent"), ("count", "query.fixed")];
        assert_eq!(ask("POST", "/c/{agent}", &mapped, "/c/a", r#"{"key":"b"}"#), set("key"));
        assert_eq!(ask("GET", "/c/{agent}", &mapped, "/c/a?count=9", ""), set("count"));
        assert_eq!(
            ask("GET", "/c/{agent}", &[("key", "path.agent"), ("value", "query.v")], "/c/a?value=x", ""),
            set("value")
        );
    }

    #[test]
    fn what_stands_for_no_text_is_refused() {
        let path = |why| Err(BadRequest::Path { name: "key".into(), why });
        for (target, expected) in [
            ("/c/%00", path(BadText::Nul)),
            ("/c/%C0%AF", path(BadText::NotUtf8)),
            ("/c/%2e%2e", path(BadText::Dots)),
            ("/c/%x", path(BadText::Percent)),
            ("/c/a?value=%00", Err(BadRequest::Query(BadText::Nul))),
            ("/c/a?%FF=1", Err(BadRequest::Query(BadText::NotUtf8))),
            ("/c/a?value=%", Err(BadRequest::Query(BadText::Percent))),
        ] {
            assert_eq!(ask("GET", "/c/{key}", &[], target, ""), expected, "{target}");
        }
        assert_eq!(ask("GET", "/c/{key}", &[], &format!("/c/a?{}", "tags=x&".repeat(1025)), ""), Err(BadRequest::Long));
        assert!(ask("GET", "/c/{key}", &[], &format!("/c/a?{}", "tags=x&".repeat(1024)), "").is_ok());
        assert_eq!(ask("GET", "/c/{key}", &[], "/c/a", "{}"), Err(BadBody::Unwanted.into()));
    }
}
