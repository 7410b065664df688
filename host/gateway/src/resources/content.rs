//! Values as resources: what kind of content each is, and how it is described.
//!
//! Plugins wrote them. Nothing in a value is obeyed: it is looked at to tell JSON and text from bytes, and passed on.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use portcullis_store::Entry;
use rmcp::model::{Annotations, MetaObject, Resource, ResourceContents};
use serde::de::IgnoredAny;

use super::Address;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    /// One JSON text (RFC 8259).
    Json(&'a str),
    /// UTF-8 that a person could have written: of control characters none but tab, line feed and carriage return.
    Text(&'a str),
    /// Anything else.
    Bytes(&'a [u8]),
}

impl<'a> Kind<'a> {
    fn of(value: &'a [u8]) -> Self {
        let odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
        match std::str::from_utf8(value) {
            Ok(text) if text.chars().any(odd) => Self::Bytes(value),
            Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Self::Json(text),
            Ok(text) => Self::Text(text),
            Err(_) => Self::Bytes(value),
        }
    }

    fn mime_type(self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Text(_) => "text/plain",
            Self::Bytes(_) => "application/octet-stream",
        }
    }
}

/// The content of an entry.
pub(super) fn contents(address: &Address, entry: &Entry) -> ResourceContents {
    let (uri, kind) = (address.to_string(), Kind::of(&entry.value));
    let contents = match kind {
        Kind::Json(text) | Kind::Text(text) => ResourceContents::text(text, uri),
        Kind::Bytes(bytes) => ResourceContents::blob(STANDARD.encode(bytes), uri),
    };
    contents.with_mime_type(kind.mime_type()).with_meta(meta(entry))
}

/// An entry in a list. Its name is the key as it stands in the address: a list shows no character that a plugin could
/// deceive a reader with.
pub(super) fn listed(address: &Address, entry: &Entry) -> Resource {
    let mut annotations = Annotations::default();
    annotations.last_modified = Some(time(entry.written_at_ms));
    Resource::new(address.to_string(), address.encoded_key())
        .with_mime_type(Kind::of(&entry.value).mime_type())
        .with_size(entry.value.len() as u64)
        .with_annotations(annotations)
        .with_meta(meta(entry))
}

/// What an entry has that MCP has no field for: its version, and when it ends.
fn meta(entry: &Entry) -> MetaObject {
    let mut meta = MetaObject::default();
    meta.0.insert("portcullis/version".into(), entry.version.0.into());
    if let Some(at) = entry.expires_at_ms {
        meta.0.insert("portcullis/expiresAt".into(), time(at).into());
    }
    meta
}

/// RFC 3339, as `lastModified` has it.
fn time(ms: u64) -> String {
    // The store's bounds keep times far below the end of what is written with four digits for the year.
    let since = Duration::from_millis(ms.min(LATEST_MS));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// The end of the year 9999, the last that RFC 3339 can write.
const LATEST_MS: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_says_what_it_is() {
        for (value, mime_type) in [
            (&b"{\"a\": [1, 2.5e3, null]}"[..], "application/json"),
            (b" [1]\n", "application/json"),
            (b"42", "application/json"),
            (b"{\"a\": 1", "text/plain"),
            (b"{} {}", "text/plain"),
            (b"", "text/plain"),
            (b"line\r\n\tline", "text/plain"),
            ("Zürich \u{202e}".as_bytes(), "text/plain"),
            (b"\x1b[2J", "application/octet-stream"),
            (b"a\0b", "application/octet-stream"),
            ("\u{85}".as_bytes(), "application/octet-stream"),
            ("{\"a\": \"\u{7f}\"}".as_bytes(), "application/octet-stream"),
            (b"\xff\xfe", "application/octet-stream"),
            (b"\xc0\xaf", "application/octet-stream"),
        ] {
            assert_eq!(Kind::of(value).mime_type(), mime_type, "{value:?}");
        }
        // Depth costs no stack.
        assert_eq!(Kind::of("[".repeat(1 << 20).as_bytes()).mime_type(), "text/plain");
    }

    #[test]
    fn times_are_of_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
