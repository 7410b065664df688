//! Shared context for eyes and for programs. Guests wrote it: nothing of it reaches a terminal as it is.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytesize::ByteSize;
use portcullis_gateway::{KvChange, KvChangeKind, KvEntry, KvStats};
use portcullis_trust::{escaped, escaped_json, escaped_lines};
use serde_json::{Map, Value, json};

/// Characters of a value in a line.
const GLIMPSE: usize = 60;

/// A name or a key, on one line.
pub(super) fn text(text: &str) -> String {
    escaped(text).to_string()
}

/// A whole value: JSON laid out, text, or else base64.
pub(super) fn value(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("{}\n", STANDARD.encode(bytes)) };
    match serde_json::from_str::<Value>(text) {
        Ok(json @ (Value::Object(_) | Value::Array(_))) => {
            let laid_out = serde_json::to_string_pretty(&json).unwrap_or_default();
            format!("{}\n", escaped_json(&laid_out))
        }
        Ok(_) | Err(_) => format!("{}\n", escaped_lines(text)),
    }
}

/// The beginning of a value.
fn glimpse(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return format!("{} that are no text", ByteSize(bytes.len() as u64));
    };
    let mut start: String = text.chars().take(GLIMPSE).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// What stands beside the value.
pub(super) fn about(entry: &KvEntry) -> String {
    let expires = entry.expires_at_ms.map(|at| format!(", gone at {}", time(at))).unwrap_or_default();
    let encoded = if std::str::from_utf8(&entry.value.0).is_ok() { "" } else { ", shown in base64" };
    let (writer, written) = (writer(&entry.principal, &entry.plugin), time(entry.written_at_ms));
    format!("version {}, by {writer} at {written}{expires}{encoded}", entry.version)
}

fn writer(principal: &str, plugin: &str) -> String {
    if plugin.is_empty() { principal.to_owned() } else { format!("{principal} through {plugin}") }
}

fn time(ms: u64) -> String {
    // Years beyond four digits are no clock's.
    let at = UNIX_EPOCH + Duration::from_millis(ms.min(253_402_300_799_000));
    humantime::format_rfc3339_millis(at).to_string()
}

/// An entry as data: the value as `text`, or in `base64` where it is none.
pub(super) fn entry(bucket: &str, entry: &KvEntry) -> Value {
    let mut data = Map::new();
    data.insert("bucket".into(), bucket.into());
    data.insert("key".into(), entry.key.clone().into());
    data.insert("version".into(), entry.version.into());
    data.extend([valued(&entry.value.0)]);
    data.insert("principal".into(), entry.principal.clone().into());
    data.insert("plugin".into(), entry.plugin.clone().into());
    data.insert("digest".into(), entry.digest.clone().into());
    data.insert("writtenAtMs".into(), entry.written_at_ms.into());
    data.insert("expiresAtMs".into(), entry.expires_at_ms.into());
    Value::Object(data)
}

fn valued(bytes: &[u8]) -> (String, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => ("text".to_owned(), text.into()),
        Err(_) => ("base64".to_owned(), STANDARD.encode(bytes).into()),
    }
}

/// A change as data.
pub(super) fn change(bucket: &str, change: &KvChange) -> Value {
    let kind = kind(change.kind);
    let mut data = Map::from_iter([
        ("change".to_owned(), kind.into()),
        ("bucket".to_owned(), bucket.into()),
        ("key".to_owned(), change.key.clone().into()),
        ("version".to_owned(), json!(change.version)),
    ]);
    data.extend(change.value.as_ref().map(|value| valued(&value.0)));
    data.extend(change.principal.clone().map(|principal| ("principal".to_owned(), principal.into())));
    data.extend(change.plugin.clone().map(|plugin| ("plugin".to_owned(), plugin.into())));
    Value::Object(data)
}

fn kind(kind: KvChangeKind) -> &'static str {
    match kind {
        KvChangeKind::Set => "set",
        KvChangeKind::Delete => "delete",
        KvChangeKind::Expire => "expire",
    }
}

/// A change for eyes.
pub(super) fn change_line(change: &KvChange) -> String {
    let by = change.principal.as_ref().map(|principal| writer(principal, change.plugin.as_deref().unwrap_or_default()));
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    let value = change.value.as_ref().map(|value| format!(": {}", glimpse(&value.0))).unwrap_or_default();
    format!("{}\n", text(&format!("{} {} {}{by}{value}", change.version, kind(change.kind), change.key)))
}

/// Entries as a table, with its head.
pub(super) fn rows(entries: &[KvEntry]) -> Vec<Vec<String>> {
    let mut rows = vec![["KEY", "VERSION", "BYTES", "EXPIRES", "WRITER", "VALUE"].map(String::from).to_vec()];
    rows.extend(entries.iter().map(|entry| {
        vec![
            entry.key.clone(),
            entry.version.to_string(),
            entry.value.0.len().to_string(),
            entry.expires_at_ms.map(time).unwrap_or_default(),
            writer(&entry.principal, &entry.plugin),
            glimpse(&entry.value.0),
        ]
    }));
    rows
}

/// Buckets as a table, with its head.
pub(super) fn usage(stats: &[KvStats]) -> Vec<Vec<String>> {
    let mut rows = vec![["BUCKET", "ENTRIES", "OF", "BYTES", "OF", ""].map(String::from).to_vec()];
    rows.extend(stats.iter().map(|stats| {
        let share = (stats.bytes.saturating_mul(100) / stats.max_bytes.max(1))
            .max(stats.entries.saturating_mul(100) / stats.max_entries.max(1));
        vec![
            stats.bucket.clone(),
            stats.entries.to_string(),
            stats.max_entries.to_string(),
            stats.bytes.to_string(),
            stats.max_bytes.to_string(),
            format!("{share} % full"),
        ]
    }));
    rows
}

/// What a full bucket holds.
pub(super) fn held(stats: &KvStats) -> String {
    format!("it holds {} of {} entries, {} of {} bytes", stats.entries, stats.max_entries, stats.bytes, stats.max_bytes)
}

/// The lines that give a full bucket twice the room.
pub(super) fn more_room(stats: &KvStats) -> String {
    let line = if stats.entries >= stats.max_entries {
        format!("max-entries = {}", stats.max_entries.saturating_mul(2))
    } else {
        format!("max-bytes = {}", stats.max_bytes.saturating_mul(2))
    };
    format!("delete something, or in the configuration: [buckets.{}] {line}", stats.bucket)
}

#[cfg(test)]
mod tests {
    use portcullis_gateway::Bytes;

    use super::*;

    /// What a guest wrote moves no cursor and makes no line of its own.
    #[test]
    fn no_value_reaches_a_terminal_raw() {
        let hostile = "x\u{1b}[2J\r\nhint: run this\u{202e}";
        let entry = |value: &[u8]| KvEntry {
            key: "k\u{202e}".into(),
            value: Bytes(value.to_vec()),
            version: 1,
            principal: "p\u{1b}[2J".into(),
            plugin: "g".into(),
            digest: String::new(),
            written_at_ms: u64::MAX,
            expires_at_ms: Some(1),
        };
        let hostile_json = format!("[{}]", serde_json::to_string(hostile).expect("JSON").replace("\\u001b", "\u{9b}"));
        let change = KvChange {
            kind: KvChangeKind::Set,
            key: "k".into(),
            version: 1,
            value: Some(Bytes(hostile.into())),
            principal: Some(hostile.into()),
            plugin: None,
        };
        for shown in [
            value(hostile.as_bytes()),
            value(hostile_json.as_bytes()),
            value(b"\x1b\xff"),
            crate::render::table(&rows(&[entry(hostile.as_bytes()), entry(b"\x1b\xff")])),
            change_line(&change),
            escaped(&about(&entry(hostile.as_bytes()))).to_string(),
        ] {
            let raw = shown.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(raw, None, "{shown:?}");
        }
        assert_eq!(change_line(&change).lines().count(), 1);
        assert_eq!(value(b"plain"), "plain\n");
        assert_eq!(value(br#"{"a":1}"#), "{\n  \"a\": 1\n}\n");
    }
}
