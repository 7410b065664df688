//! `requests.toml`: what a plugin asks to be granted, and why. It lies beside the plugin's manifest, and `build` puts it
//! into the component.
//!
//! A request grants nothing. Whether a pattern or a path can be granted is the host's to say, when it meets a grant.
//!
//! ```toml
//! [[http]]
//! pattern = "GET https://api.openweathermap.org/data/2.5/**"
//! reason = "the forecast comes from there"
//!
//! [[files]]
//! guest = "/data"
//! access = "read"
//! reason = "the list of cities"
//!
//! [[env]]
//! name = "UNITS"
//! reason = "metric or imperial"
//!
//! [[secrets]]
//! name = "openweather"
//! header = "x-api-key"
//! to = "https://api.openweathermap.org"
//! reason = "the service asks for a key"
//!
//! [[kv]]
//! bucket = "shared"
//! prefix = "weather/"
//! access = "read-write"
//! reason = "forecasts are kept for an hour"
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::reading;

/// The file beside `Cargo.toml`.
pub(crate) const FILE: &str = "requests.toml";

/// The longest text of a request, in bytes: an operator reads each of them.
const MAX_TEXT: usize = 256;
/// The longest reason, in bytes: two sentences.
const MAX_REASON: usize = 512;
/// The largest file, in bytes: all requests with their reasons, and as much in comments.
const MAX_FILE: u64 = 1 << 20;
/// The most requests of one plugin: more than an operator would read.
const MAX_REQUESTS: usize = 64;

/// All requests of a plugin. As JSON, it is the content of the section `portcullis:requests`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// HTTP requests that the plugin makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    http: Vec<Http>,
    /// Directories that it reads or writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<Files>,
    /// Environment variables that it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    env: Vec<Env>,
    /// Secrets that the host adds to its requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Secret>,
    /// Parts of the key-value store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kv: Vec<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    pattern: Pattern,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    guest: GuestPath,
    access: Access,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Env {
    name: Name,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    name: Name,
    header: Name,
    to: Origin,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    bucket: Bucket,
    /// Required, since without it a request would be for all of the bucket; write `""` for that.
    prefix: Prefix,
    access: Access,
    reason: Reason,
}

/// What is done with files or keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Access {
    Read,
    ReadWrite,
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $max:expr, $form:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        struct $name(String);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                let ok: fn(&str) -> bool = $ok;
                if text.len() > $max {
                    return Err(format!("expected at most {} bytes, found {}", $max, text.len()));
                }
                if text.chars().any(char::is_control) || !ok(&text) {
                    return Err(format!("expected {}, found `{}`", $form, text.escape_debug()));
                }
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }
    };
}

text! {
    /// A method and a URL, where `*` and `**` stand for more than one.
    Pattern, MAX_TEXT, "a method and a URL such as `GET https://example.com/**`",
    |text| text.split_once(' ').is_some_and(|(method, url)| {
        (method == "*" || is_word(method, |c| c.is_ascii_uppercase())) && is_url(url)
    })
}
text! {
    /// Where a secret is sent to: a scheme and a host.
    Origin, MAX_TEXT, "an origin such as `https://example.com`",
    |text| is_url(text) && text.bytes().filter(|byte| *byte == b'/').count() == 2
}
text! {
    /// Where the plugin sees a directory.
    GuestPath, MAX_TEXT, "an absolute path without `.` and `..`, such as `/data`",
    |text| text.starts_with('/') && !text.split('/').any(|part| part == "." || part == "..")
}
text! {
    /// The name of a variable, a secret or a header.
    Name, MAX_TEXT, "a name of letters, digits, `_`, `-` and `.`",
    |text| is_word(text, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
text! {
    /// The name of a bucket; `{principal}` stands for whoever calls.
    Bucket, MAX_TEXT, "a bucket's name such as `shared` or `agent-{principal}`",
    |text| is_word(&text.replace("{principal}", "p"), |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
text! {
    /// What the keys begin with; empty for all.
    Prefix, MAX_TEXT, "the beginning of a key", |_| true
}
text! {
    /// Why, for the operator.
    Reason, MAX_REASON, "a reason for the operator to read", |text| !text.trim().is_empty()
}

fn is_word(text: &str, allowed: fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace))
}

/// Why `requests.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RequestsError {
    /// It is there, and cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It does not say what it should.
    #[error("{}:{line}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// It asks for too much to be read.
    #[error("`{}` has {count} requests, more than the {MAX_REQUESTS} that an operator would read", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
}

impl RequestsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Parse { message, .. } if message.contains("missing field `reason`") => {
                Some("say in a sentence why the plugin needs it: `reason = \"…\"`".into())
            }
            Self::Parse { message, .. } if message.contains("missing field `prefix`") => {
                Some("say which keys: `prefix = \"weather/\"`, or `prefix = \"\"` for the whole bucket".into())
            }
            Self::TooMany { .. } => Some("widen patterns, or make two plugins of one".into()),
            Self::Read { .. } | Self::Parse { .. } => None,
        }
    }
}

impl Requests {
    /// Whether the plugin asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        self.http.len() + self.files.len() + self.env.len() + self.secrets.len() + self.kv.len()
    }

    /// The requests of the plugin in `dir`; none where there is no file.
    pub(crate) fn read(dir: &Path) -> Result<Self, RequestsError> {
        let path = dir.join(FILE);
        match reading::text(&path, MAX_FILE) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(RequestsError::Read { path, source }),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, RequestsError> {
        let requests: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            RequestsError::Parse {
                path: path.into(),
                line: text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1,
                message: error.message().trim().replace('\n', ", "),
            }
        })?;
        match requests.count() {
            count if count > MAX_REQUESTS => Err(RequestsError::TooMany { path: path.into(), count }),
            _ => Ok(requests),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"
        [[http]]
        pattern = "GET https://api.openweathermap.org/data/2.5/**"
        reason = "the forecast comes from there"
        [[files]]
        guest = "/data"
        access = "read"
        reason = "the list of cities"
        [[env]]
        name = "UNITS"
        reason = "metric or imperial"
        [[secrets]]
        name = "openweather"
        header = "x-api-key"
        to = "https://api.openweathermap.org"
        reason = "the service asks for a key"
        [[kv]]
        bucket = "agent-{principal}"
        prefix = ""
        access = "read-write"
        reason = "forecasts are kept for an hour"
    "#;

    #[test]
    fn every_request_becomes_json() {
        let requests = Requests::parse(Path::new(FILE), ALL).unwrap();
        assert_eq!(
            serde_json::to_value(&requests).unwrap(),
            serde_json::json!({
                "http": [{
                    "pattern": "GET https://api.openweathermap.org/data/2.5/**",
                    "reason": "the forecast comes from there",
                }],
                "files": [{ "guest": "/data", "access": "read", "reason": "the list of cities" }],
                "env": [{ "name": "UNITS", "reason": "metric or imperial" }],
                "secrets": [{
                    "name": "openweather",
                    "header": "x-api-key",
                    "to": "https://api.openweathermap.org",
                    "reason": "the service asks for a key",
                }],
                "kv": [{
                    "bucket": "agent-{principal}",
                    "prefix": "",
                    "access": "read-write",
                    "reason": "forecasts are kept for an hour",
                }],
            })
        );
        assert!(!requests.is_empty());
        assert!(Requests::parse(Path::new(FILE), "").unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        let long = "x".repeat(MAX_REASON + 1);
        for (text, expected) in [
            ("[[http]]\npattern = \"GET https://a/\"\n", "requests.toml:1: missing field `reason`"),
            (
                "\n[[http]]\npattern = \"https://a/\"\nreason = \"r\"",
                "requests.toml:3: expected a method and a URL such as `GET https://example.com/**`, found `https://a/`",
            ),
            (
                "[[env]]\nname = \"A=B\"\nreason = \"r\"",
                "requests.toml:2: expected a name of letters, digits, `_`, `-` and `.`, found `A=B`",
            ),
            (
                "[[env]]\nname = \"A\"\nreason = \" \"",
                "requests.toml:3: expected a reason for the operator to read, found ` `",
            ),
            (
                "[[env]]\nname = \"A\"\nreason = \"a\\u001b[2J\"",
                "requests.toml:3: expected a reason for the operator to read, found `a\\u{1b}[2J`",
            ),
            (
                "[[files]]\nguest = \"/a/../b\"\naccess = \"read\"\nreason = \"r\"",
                "requests.toml:2: expected an absolute path without `.` and `..`, such as `/data`, found `/a/../b`",
            ),
            (
                "[[secrets]]\nname = \"a\"\nheader = \"x\"\nto = \"https://a/b\"\nreason = \"r\"",
                "requests.toml:4: expected an origin such as `https://example.com`, found `https://a/b`",
            ),
            (
                "[[files]]\nguest = \"/a\"\naccess = \"write\"\nreason = \"r\"",
                "requests.toml:3: unknown variant `write`, expected `read` or `read-write`",
            ),
            (
                "[[sockets]]\n",
                "requests.toml:1: unknown field `sockets`, expected one of `http`, `files`, `env`, `secrets`, `kv`",
            ),
            ("[[kv]]\nbucket = \"b\"\naccess = \"read\"\nreason = \"r\"", "requests.toml:1: missing field `prefix`"),
            ("[[env]]\nname = ", "requests.toml:2: string values must be quoted, expected literal string"),
        ] {
            check(text, expected);
        }
        check(
            &format!("[[env]]\nname = \"A\"\nreason = \"{long}\""),
            "requests.toml:3: expected at most 512 bytes, found 513",
        );
        check(
            &"[[env]]\nname = \"A\"\nreason = \"r\"\n".repeat(65),
            "`requests.toml` has 65 requests, more than the 64 that an operator would read",
        );
    }

    fn check(text: &str, expected: &str) {
        let error = Requests::parse(Path::new(FILE), text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
