//! One route: which requests are of it, which tool it calls, and where each argument comes from.

use std::{collections::BTreeMap, fmt};

use portcullis_policy::ToolName;
use serde_json::Value;

use super::template::{Template, is_name};

/// Arguments that one route sets: more than any tool takes that is called by hand.
const MAX_ARGUMENTS: usize = 64;
/// Bytes of the name of an argument, of a parameter of the query or of a field of the body.
const MAX_NAME: usize = 128;
/// Bytes of a description, as of a tool's.
const MAX_DESCRIPTION: usize = 4096;
/// Bytes of a constant as JSON: it is for a scope or a limit, not for a document.
const MAX_CONSTANT: usize = 4096;

/// What a request may want. `HEAD` is answered where `GET` is, and `OPTIONS` everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// To look. What the tool does is the tool's affair.
    Get,
    /// To do.
    Post,
    /// To put in place.
    Put,
    /// To change.
    Patch,
    /// To take away.
    Delete,
}

/// Where an argument comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A parameter of the path.
    Path(String),
    /// A parameter of the query.
    Query(String),
    /// A field of the body.
    Field(String),
    /// The whole body; where the tool wants a text, its JSON as it was sent.
    Body,
    /// This, whatever the request says.
    Constant(Value),
}

/// A route, checked by itself. Whether its tool takes such arguments is found out where the tool is served.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    method: Method,
    path: Template,
    tool: ToolName,
    /// By argument: those that the operator wrote, and one for each parameter of the path that they do not use.
    arguments: BTreeMap<String, Source>,
    description: Option<String>,
    shown: String,
}

/// A route that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {why}")]
pub struct RouteError {
    /// The key of it that is wrong.
    pub key: &'static str,
    /// Why.
    pub why: String,
    /// What to write instead.
    pub hint: String,
}

impl RouteError {
    pub(super) fn new(key: &'static str, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key, why: why.into(), hint: hint.into() }
    }
}

impl Method {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether its requests have a body that means something (RFC 9110, section 9.3).
    pub fn has_body(self) -> bool {
        match self {
            Self::Post | Self::Put | Self::Patch => true,
            Self::Get | Self::Delete => false,
        }
    }

    fn read(written: &str) -> Result<Self, RouteError> {
        let wrong = |why: String, hint: &str| Err(RouteError::new("method", why, hint));
        if let Some(method) = Self::ALL.into_iter().find(|method| method.as_str() == written) {
            return Ok(method);
        }
        let shown: String = written.chars().take(MAX_NAME).flat_map(char::escape_debug).collect();
        match Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(written)) {
            Some(method) => wrong(
                format!("methods are written in capitals: `{shown}`"),
                &format!("method = \"{}\"", method.as_str()),
            ),
            None if matches!(written, "HEAD" | "OPTIONS") => {
                wrong(format!("`{shown}` is answered by the host itself"), "leave the route out")
            }
            None => wrong(
                format!("expected `GET`, `POST`, `PUT`, `PATCH` or `DELETE`, found `{shown}`"),
                "method = \"GET\"",
            ),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Source {
    /// Reads `path.NAME`, `query.NAME`, `body.NAME` or `body`.
    ///
    /// # Errors
    /// In words, where it is none of them.
    pub fn read(written: &str) -> Result<Self, String> {
        let (place, name) = written.split_once('.').unwrap_or((written, ""));
        let plain = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
        match place {
            "path" if is_name(name) => Ok(Self::Path(name.to_owned())),
            "query" if plain => Ok(Self::Query(name.to_owned())),
            "body" if plain => Ok(Self::Field(name.to_owned())),
            "body" if written == "body" => Ok(Self::Body),
            _ => {
                let shown: String = written.chars().take(MAX_NAME).flat_map(char::escape_debug).collect();
                Err(format!("expected `path.NAME`, `query.NAME`, `body.NAME` or `body`, found `{shown}`"))
            }
        }
    }
}

impl Route {
    /// Checks what an operator wrote.
    ///
    /// # Errors
    /// When it is no route, with the key and the mend.
    pub fn new(
        method: &str,
        path: &str,
        tool: &str,
        arguments: BTreeMap<String, Source>,
        description: Option<String>,
    ) -> Result<Self, RouteError> {
        let method = Method::read(method)?;
        let path = Template::new(path).map_err(|(why, hint)| RouteError::new("path", why, hint))?;
        let tool = ToolName::new(tool).map_err(|error| {
            RouteError::new("tool", error.to_string(), "tool = \"read_context\", as `tools/list` has it")
        })?;
        if description.as_ref().is_some_and(|text| text.len() > MAX_DESCRIPTION || text.chars().any(is_control)) {
            let why = format!("expected at most {MAX_DESCRIPTION} bytes of plain text");
            return Err(RouteError::new("description", why, "a shorter one"));
        }
        let arguments = all_arguments(method, &path, arguments)?;
        let shown = format!("{method} {path}");
        Ok(Self { method, path, tool, arguments, description, shown })
    }

    /// Its method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Its path.
    pub(super) fn path(&self) -> &Template {
        &self.path
    }

    /// The tool that it calls.
    pub fn tool(&self) -> &ToolName {
        &self.tool
    }

    /// What it says of itself.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Arguments that do not come from the query or the body under their own name.
    pub fn arguments(&self) -> &BTreeMap<String, Source> {
        &self.arguments
    }

    /// Method and path, as in records.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// Whether an argument is the whole body, so that the others stand elsewhere.
    pub(super) fn takes_whole_body(&self) -> bool {
        self.arguments.values().any(|source| *source == Source::Body)
    }

    /// Where an argument is looked for first, and said to stand in the description.
    pub(super) fn source(&self, argument: &str) -> Source {
        self.arguments.get(argument).cloned().unwrap_or_else(|| {
            let in_body = self.method.has_body() && !self.takes_whole_body();
            if in_body { Source::Field(argument.to_owned()) } else { Source::Query(argument.to_owned()) }
        })
    }
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\n'
}

/// What was written, and the parameters of the path that go to the argument of their own name.
fn all_arguments(
    method: Method,
    path: &Template,
    mut arguments: BTreeMap<String, Source>,
) -> Result<BTreeMap<String, Source>, RouteError> {
    let wrong = |why: String, hint: String| Err(RouteError::new("arguments", why, hint));
    if arguments.len() > MAX_ARGUMENTS {
        return wrong(
            format!("expected at most {MAX_ARGUMENTS}"),
            "leave out those that the request has by their own name".into(),
        );
    }
    let has = |name: &str| path.parameters().any(|parameter| parameter == name);
    for (argument, source) in &arguments {
        let shown: String = argument.chars().take(MAX_NAME).flat_map(char::escape_debug).collect();
        if argument.is_empty() || argument.len() > MAX_NAME {
            return wrong(
                format!("the name of an argument has 1 to {MAX_NAME} bytes: `{shown}`"),
                "the tool's own name of it".into(),
            );
        }
        match source {
            Source::Path(name) if !has(name) => {
                let known: Vec<_> = path.parameters().map(|name| format!("`path.{name}`")).collect();
                let hint = if known.is_empty() { format!("path = \"{path}/{{{name}}}\"") } else { known.join(" or ") };
                return wrong(format!("`{shown}` comes from `path.{name}`, which the path does not have"), hint);
            }
            Source::Field(_) | Source::Body if !method.has_body() => {
                let hint = format!("{shown} = \"query.{shown}\", or method = \"POST\"");
                return wrong(format!("`{shown}` comes from the body, and {method} has none"), hint);
            }
            Source::Constant(value) if value.to_string().len() > MAX_CONSTANT => {
                return wrong(
                    format!("the constant `{shown}` has more than {MAX_CONSTANT} bytes"),
                    "a shorter one".into(),
                );
            }
            Source::Path(_) | Source::Query(_) | Source::Field(_) | Source::Body | Source::Constant(_) => {}
        }
    }
    let bodies = arguments.values().filter(|source| **source == Source::Body).count();
    let fields = arguments.values().filter(|source| matches!(source, Source::Field(_))).count();
    if bodies > 1 || (bodies == 1 && fields > 0) {
        return wrong(
            "the body goes to one argument as a whole, or by its fields".into(),
            "`body.NAME` for each".into(),
        );
    }
    for name in path.parameters() {
        let used = arguments.values().any(|source| *source == Source::Path(name.to_owned()));
        if used {
            continue;
        }
        if arguments.contains_key(name) {
            let hint = format!("another name for the parameter, or {name} = \"path.{name}\"");
            return wrong(format!("the parameter `{name}` of the path goes to no argument"), hint);
        }
        arguments.insert(name.to_owned(), Source::Path(name.to_owned()));
    }
    Ok(arguments)
}
