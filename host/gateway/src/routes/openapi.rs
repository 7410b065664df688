//! `/openapi.json`: OpenAPI 3.1 of the routes that somebody sees, of the tools' own schemas.
//!
//! Made once for each change of the tools or the routes and each role. The same routes make the same bytes.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
    },
    response::{IntoResponse, Response},
};
use portcullis_catalogue::{Snapshot, Tool};
use portcullis_policy::{Digest, Principal, Role};
use serde_json::{Map, Value, json};

use super::{
    answer::{PROBLEM, problem_schema},
    route::{Method, Route, Source},
    shape::{Parameter, Schema, Shape},
    table::RouteTable,
};
use crate::auth::Doorkeeper;

/// Text without U+0000, which no path and no query may have.
const PLAIN: &str = "^[^\\u0000]*$";
/// Base64 as the mapping reads it: in whole groups, without bits that stand for nothing.
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
/// 2^63: what is bounded above it is a `u64`, and what is bounded by it an `s64`.
const MAX_S64: f64 = 9_223_372_036_854_775_808.0;
/// Each status that a route answers with beside 200, what it means, and when.
const REFUSALS: [(&str, &str); 12] = [
    ("400", "An argument does not fit, or the request cannot be read."),
    (
        "403",
        "The request comes from a page of another origin or by another name of this host, or a person would have to say yes.",
    ),
    ("404", "There is nothing here, or nothing that the caller may call."),
    ("408", "The body took too long."),
    ("413", "The body is larger than 4 MiB."),
    ("415", "The body is not JSON."),
    ("422", "The tool answered with an error of its own."),
    ("429", "The agent asks for more than it may just now."),
    ("500", "The host failed."),
    ("502", "The tool crashed, or used up what a call may use."),
    ("503", "The tool cannot be called just now."),
    ("504", "The tool did not finish within its deadline."),
];

/// The descriptions that were made.
#[derive(Debug)]
pub(super) struct Documents {
    title: String,
    /// Whether callers have to say who they are, and whether by tokens too.
    security: (bool, bool),
    made: ArcSwap<Vec<Made>>,
    /// Held while one is made, so that it is made once.
    making: Mutex<()>,
}

/// One description, and what it is of.
#[derive(Clone, Debug)]
struct Made {
    generation: u64,
    table: Arc<RouteTable>,
    /// None for who may call everything.
    role: Option<Arc<Role>>,
    document: Arc<Document>,
}

#[derive(Debug)]
struct Document {
    body: Bytes,
    tag: String,
}

impl Made {
    fn is_of(&self, generation: u64, table: &Arc<RouteTable>, role: Option<&Arc<Role>>) -> bool {
        let same_role = match (&self.role, role) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, Some(_)) | (Some(_), None) => false,
        };
        self.generation == generation && Arc::ptr_eq(&self.table, table) && same_role
    }
}

impl Documents {
    pub(super) fn new(title: &str, keeper: &Doorkeeper) -> Self {
        let security = (keeper.asks(), keeper.tokens().is_some());
        Self { title: title.to_owned(), security, made: ArcSwap::default(), making: Mutex::default() }
    }

    /// The description for `principal`, who sees the routes that `visible` gives the tool of.
    pub(super) fn answer(
        &self,
        headers: &HeaderMap,
        principal: &Principal,
        snapshot: &Snapshot,
        table: &Arc<RouteTable>,
        visible: impl Fn(&Route) -> Option<Tool>,
    ) -> Response {
        let role = match principal {
            Principal::LocalOperator | Principal::Loopback => None,
            Principal::Agent(agent) => agent.role(),
        };
        let document = match (principal, role) {
            // Of nobody's role nothing is kept: there is nothing in it.
            (Principal::Agent(_), None) => Arc::new(self.document(table, visible)),
            (Principal::Agent(_) | Principal::LocalOperator | Principal::Loopback, role) => {
                self.kept(snapshot.generation(), table, role, visible)
            }
        };
        let tag = HeaderValue::from_str(&document.tag).unwrap_or(HeaderValue::from_static("\"\""));
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let mut known = known.flat_map(|tags| tags.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let headers = [
            (ETAG, tag),
            // Whoever keeps it asks again: what one sees can change at any time.
            (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
            (VARY, HeaderValue::from_static("Authorization")),
        ];
        if known.any(|known| known == document.tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (headers, kind, Body::from(document.body.clone())).into_response()
    }

    fn kept(
        &self,
        generation: u64,
        table: &Arc<RouteTable>,
        role: Option<&Arc<Role>>,
        visible: impl Fn(&Route) -> Option<Tool>,
    ) -> Arc<Document> {
        let there = || {
            let made = self.made.load();
            made.iter().find(|made| made.is_of(generation, table, role)).map(|made| Arc::clone(&made.document))
        };
        if let Some(document) = there() {
            return document;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        there().unwrap_or_else(|| {
            let document = Arc::new(self.document(table, visible));
            // What is of the past goes, as do roles that nobody else holds.
            let kept = self.made.load();
            let held = |made: &Made| made.role.as_ref().is_none_or(|role| Arc::strong_count(role) > 1);
            let kept = kept
                .iter()
                .filter(|made| made.generation == generation && Arc::ptr_eq(&made.table, table) && held(made));
            let mut made: Vec<_> = kept.cloned().collect();
            let (table, role, document) = (Arc::clone(table), role.cloned(), document);
            made.push(Made { generation, table, role, document: Arc::clone(&document) });
            self.made.store(Arc::new(made));
            document
        })
    }

    fn document(&self, table: &RouteTable, visible: impl Fn(&Route) -> Option<Tool>) -> Document {
        let routes = table.named().filter_map(|(route, name)| Some((route, name, visible(route)?)));
        let document = describe(&self.title, self.security, routes);
        let body = Bytes::from(document.to_string());
        let tag = format!("\"{}\"", Digest::of(&body).short());
        Document { body, tag }
    }
}

/// The document of some routes.
fn describe<'a>(
    title: &str,
    (asks, tokens): (bool, bool),
    routes: impl Iterator<Item = (&'a Route, &'a str, Tool)>,
) -> Value {
    let mut schemas = Map::new();
    schemas.insert("Problem".into(), problem_schema());
    let mut paths: Vec<(&str, Vec<(Method, Value)>)> = Vec::new();
    for (route, name, tool) in routes {
        let operation = operation(route, name, &tool, asks, &mut schemas);
        let path = route.path().as_str();
        match paths.iter_mut().find(|(found, _)| *found == path) {
            Some((_, operations)) => operations.push((route.method(), operation)),
            None => paths.push((path, vec![(route.method(), operation)])),
        }
    }
    paths.sort_by_key(|(path, _)| *path);
    let paths = paths.into_iter().map(|(path, mut operations)| {
        operations.sort_by_key(|(method, _)| *method);
        let operations =
            operations.into_iter().map(|(method, operation)| (method.as_str().to_ascii_lowercase(), operation));
        (path.to_owned(), Value::Object(operations.collect()))
    });
    let paths: Map<_, _> = paths.collect();
    schemas.sort_keys();
    let mut components = json!({ "schemas": schemas, "responses": responses(asks) });
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Tools as routes of HTTP. Each call runs in a sandbox of its own, made for it by Portcullis.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
    });
    if asks {
        let mut schemes = Map::new();
        schemes.insert("key".into(), json!({
            "type": "http", "scheme": "bearer", "description": "A key of an agent, as `portcullis key new` shows it once.",
        }));
        if tokens {
            schemes.insert(
                "token".into(),
                json!({
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "An access token of the issuer that /.well-known/oauth-protected-resource names.",
                }),
            );
        }
        let security: Vec<_> = schemes.keys().map(|name| json!({ name.as_str(): [] })).collect();
        put(&mut document, "security", json!(security));
        put(&mut components, "securitySchemes", Value::Object(schemes));
    }
    put(&mut document, "components", components);
    document
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// The answers that routes share.
fn responses(asks: bool) -> Value {
    let problem = |what: &str| json!({ "description": what, "content": { PROBLEM: { "schema": { "$ref": "#/components/schemas/Problem" } } } });
    let mut responses = Map::new();
    for (status, what) in REFUSALS {
        let mut response = problem(what);
        if matches!(status, "429" | "503") {
            let seconds = json!({ "description": "Seconds.", "schema": { "type": "integer", "minimum": 1 } });
            put(&mut response, "headers", json!({ "Retry-After": seconds }));
        }
        responses.insert(status.to_owned(), response);
    }
    if asks {
        responses.insert(
            "401".into(),
            json!({
                "description": "Nobody that this host knows shows the key or the token, or none was shown.",
                "headers": { "WWW-Authenticate": { "schema": { "type": "string" } } },
                "content": { "application/json": { "schema": {
                    "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } },
                } } },
            }),
        );
    }
    responses.insert("default".into(), problem("Any other refusal."));
    Value::Object(responses)
}

fn operation(route: &Route, name: &str, tool: &Tool, asks: bool, schemas: &mut Map<String, Value>) -> Value {
    let definition = tool.definition();
    let own = definition.name.as_str();
    let schema = Schema::new(&definition.input_schema);
    let mut places = Places::default();
    for argument in schema.arguments() {
        if let Some(parameter) = schema.argument(argument) {
            places.put(route.source(argument), argument, &parameter, &definition.input_schema, own);
        }
    }
    hoist(&definition.input_schema, own, "in", schemas);
    let output = hoist(&definition.output_schema, own, "out", schemas);
    let mut operation = Map::new();
    operation.insert("operationId".into(), name.into());
    operation.insert("tags".into(), json!([tool.rules().plugin.as_str()]));
    if let Some(description) = route.description().or(definition.description.as_deref()) {
        operation.insert("description".into(), description.into());
    }
    let Places { path, query, fields, required, body } = places;
    // In the order of the path, and then of the tool.
    let parameters: Vec<_> = path.into_iter().chain(query).collect();
    if !parameters.is_empty() {
        operation.insert("parameters".into(), Value::Array(parameters));
    }
    let fields = (!fields.is_empty()).then(|| {
        let mut schema = json!({ "type": "object", "properties": fields, "additionalProperties": false });
        if !required.is_empty() {
            put(&mut schema, "required", json!(required));
        }
        (schema, !required.is_empty())
    });
    if let Some((schema, required)) = body.or(fields) {
        let content = json!({ "application/json": { "schema": schema } });
        operation.insert("requestBody".into(), json!({ "required": required, "content": content }));
    }
    let mut responses = Map::new();
    responses.insert(
        "200".into(),
        json!({
            "description": "The result of the tool.", "content": { "application/json": { "schema": output } },
        }),
    );
    for status in REFUSALS.into_iter().map(|(status, _)| status).chain(["default"]).chain(asks.then_some("401")) {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    operation.insert("responses".into(), Value::Object(responses));
    Value::Object(operation)
}

/// The arguments of a route, by where a request has them.
#[derive(Default)]
struct Places {
    path: Vec<Value>,
    query: Vec<Value>,
    fields: Map<String, Value>,
    required: Vec<String>,
    /// The whole body, and whether it has to be there.
    body: Option<(Value, bool)>,
}

impl Places {
    fn put(&mut self, source: Source, argument: &str, parameter: &Parameter<'_>, root: &Map<String, Value>, own: &str) {
        let moved = |schema: &Value| moved(schema, own, "in");
        match source {
            Source::Constant(_) => {}
            Source::Path(name) => {
                let path = in_text(&name, "path", true, parameter, moved(parameter.schema));
                // One parameter may be for several arguments; the first says what it is.
                if !self.path.iter().any(|found| found.get("name") == path.get("name")) {
                    self.path.push(path);
                }
            }
            Source::Query(name) => {
                let list = matches!(parameter.shape, Shape::List(_));
                let query = in_text(&name, "query", parameter.required && !list, parameter, moved(parameter.schema));
                if !self.query.iter().any(|found| found.get("name") == query.get("name")) {
                    self.query.push(query);
                }
            }
            Source::Field(name) => {
                // With its `null`, which a body can have.
                let whole = root.get("properties").and_then(|properties| properties.get(argument));
                if parameter.required {
                    self.required.push(name.clone());
                }
                self.fields.insert(name, moved(whole.unwrap_or(parameter.schema)));
            }
            Source::Body => {
                let any = json!({ "description": format!("Any JSON; the tool gets it as text, in `{argument}`.") });
                let schema = if parameter.shape == Shape::Text { any } else { moved(parameter.schema) };
                self.body = Some((schema, parameter.required));
            }
        }
    }
}

/// A parameter of a path or a query.
fn in_text(name: &str, place: &str, required: bool, parameter: &Parameter<'_>, mut schema: Value) -> Value {
    let base = json!({ "name": name, "in": place, "required": required });
    let mut base = base;
    if parameter.shape == Shape::Json {
        put(&mut base, "content", json!({ "application/json": { "schema": schema } }));
        return base;
    }
    let text = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "string");
    let plain = |schema: &Value| text(schema) && schema.get("enum").is_none() && schema.get("pattern").is_none();
    if place == "path" && text(&schema) && schema.get("enum").is_none() {
        put(&mut schema, "minLength", json!(1));
    }
    if plain(&schema) {
        put(&mut schema, "pattern", json!(PLAIN));
    } else if let Some(items) = schema.get_mut("items").filter(|items| plain(items)) {
        put(items, "pattern", json!(PLAIN));
    }
    if place == "path" && matches!(parameter.shape, Shape::List(_)) {
        // Without an element the segment would be empty, and none.
        put(&mut schema, "minItems", json!(1));
    }
    put(&mut base, "schema", schema);
    base
}

/// Moves the definitions of a tool's schema to the components of the document; the schema without them.
fn hoist(schema: &Map<String, Value>, tool: &str, side: &str, schemas: &mut Map<String, Value>) -> Value {
    let mut rest = schema.clone();
    if let Some(Value::Object(definitions)) = rest.shift_remove("$defs") {
        for (name, definition) in definitions {
            schemas.insert(format!("{tool}.{side}.{name}"), moved(&definition, tool, side));
        }
    }
    moved(&Value::Object(rest), tool, side)
}

/// With references to where [`hoist`] has moved definitions; with what base64 is, in the words that validators know; and
/// integers of 64 bits with their own bounds: definitions have those that are exact in a double, from which whoever makes
/// requests of a document would count back and be wrong.
fn moved(schema: &Value, tool: &str, side: &str) -> Value {
    let bound = schema.get("exclusiveMaximum").filter(|_| schema.get("type").is_some_and(|kind| kind == "integer"));
    if let (Value::Object(fields), Some(bound)) = (schema, bound.and_then(Value::as_f64)) {
        let (maximum, format) = if bound > MAX_S64 { (json!(u64::MAX), "uint64") } else { (json!(i64::MAX), "int64") };
        let mut fields = fields.clone();
        fields.shift_remove("exclusiveMaximum");
        fields.insert("maximum".into(), maximum);
        fields.insert("format".into(), format.into());
        return Value::Object(fields);
    }
    match schema {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let target =
                    value.as_str().filter(|_| key == "$ref").and_then(|target| target.strip_prefix("#/$defs/"));
                let value = match target {
                    Some(name) => format!("#/components/schemas/{tool}.{side}.{name}").into(),
                    None => moved(value, tool, side),
                };
                (key.clone(), value)
            });
            let mut fields: Map<_, _> = fields.collect();
            if fields.get("contentEncoding").is_some_and(|encoding| encoding == "base64") {
                fields.insert("pattern".into(), BASE64.into());
            }
            Value::Object(fields)
        }
        Value::Array(items) => items.iter().map(|item| moved(item, tool, side)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}
