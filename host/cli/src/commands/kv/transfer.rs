//! `kv export` and `kv import`: JSON lines, a head and then the entries of each bucket, as they were.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_gateway::{Bytes, KvAnswer, KvEntry, KvRequest};
use serde::Deserialize;
use serde_json::json;

use super::{Desk, garbled, show};
use crate::render::{self, Fault};

/// The format of the lines.
const FORMAT: u32 = 1;
/// Bytes of a line: a value of a mebibyte whose every byte JSON writes with six, with its key and writer.
const MAX_LINE: u64 = 8 << 20;
/// Bytes of values that go in at once, and entries: as base64 they fit into a request with their writers.
const MAX_BYTES: usize = 2 << 20;
const MAX_ENTRIES: usize = 256;

/// A line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Head(Head),
    Entry(Box<Exported>),
}

/// The first line of a bucket.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(rename = "kvExport")]
    format: u32,
    bucket: String,
    version: u64,
}

/// An entry, as `show::entry` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Exported {
    bucket: String,
    key: String,
    version: u64,
    text: Option<String>,
    base64: Option<String>,
    principal: String,
    plugin: String,
    digest: String,
    written_at_ms: u64,
    expires_at_ms: Option<u64>,
}

pub(super) async fn export(desk: &mut Desk, buckets: Vec<String>) -> anyhow::Result<ExitCode> {
    let buckets = match buckets.is_empty() {
        false => buckets,
        true => match desk.must("", "", KvRequest::Stats { bucket: None }).await? {
            KvAnswer::Stats(stats) => stats.into_iter().map(|stats| stats.bucket).collect(),
            _ => return Err(garbled()),
        },
    };
    for bucket in buckets {
        let (mut after, mut begun) = (None, false);
        loop {
            let page = desk.must(&bucket, "", KvRequest::Export { bucket: bucket.clone(), after }).await?;
            let KvAnswer::Page { version, entries, next } = page else { return Err(garbled()) };
            if !std::mem::replace(&mut begun, true) {
                render::json_line(&json!({ "kvExport": FORMAT, "bucket": bucket, "version": version }))?;
            }
            for entry in &entries {
                render::json_line(&show::entry(&bucket, entry))?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is put together before it goes in.
struct Batch {
    bucket: String,
    version: u64,
    entries: Vec<KvEntry>,
    bytes: usize,
    /// Nothing of the bucket is in yet, its version neither.
    fresh: bool,
}

impl Batch {
    async fn put(&mut self, desk: &mut Desk) -> anyhow::Result<()> {
        if self.entries.is_empty() && !self.fresh {
            return Ok(());
        }
        (self.bytes, self.fresh) = (0, false);
        let (bucket, version, entries) = (self.bucket.clone(), self.version, std::mem::take(&mut self.entries));
        desk.must(&self.bucket, "", KvRequest::Import { bucket, version, entries }).await.map(drop)
    }
}

pub(super) async fn import(desk: &mut Desk, file: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let from: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let opened = File::open(file).map_err(|error| {
            Fault::error(
                format!("Could not read `{}`: {error}", file.display()),
                Some("portcullis kv export > FILE".into()),
            )
        })?;
        Box::new(opened)
    };
    let mut from = BufReader::new(from);
    let (mut batch, mut buckets, mut total, mut number): (Option<Batch>, u64, u64, u64) = (None, 0, 0, 0);
    while let Some(line) = next(&mut from, number)? {
        number += 1;
        match read(&line, number)? {
            Line::Head(Head { bucket, version, .. }) => {
                if let Some(batch) = &mut batch {
                    batch.put(desk).await?;
                }
                buckets += 1;
                batch = Some(Batch { bucket, version, entries: Vec::new(), bytes: 0, fresh: true });
            }
            Line::Entry(entry) => {
                let batch = batch.as_mut().filter(|batch| batch.bucket == entry.bucket);
                let batch = batch.ok_or_else(|| wrong(number, "it is of no bucket that began before it"))?;
                let entry = imported(*entry).map_err(|reason| wrong(number, &reason))?;
                let bytes = entry.key.len() + entry.value.0.len();
                if batch.bytes + bytes > MAX_BYTES || batch.entries.len() >= MAX_ENTRIES {
                    batch.put(desk).await?;
                }
                batch.bytes += bytes;
                batch.entries.push(entry);
                total += 1;
            }
        }
    }
    if let Some(batch) = &mut batch {
        batch.put(desk).await?;
    }
    if as_json {
        render::json(&json!({ "buckets": buckets, "entries": total }))?;
    } else {
        render::data(&format!("imported {total} entries of {buckets} buckets\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The next line; none at the end.
fn next(from: &mut impl BufRead, number: u64) -> anyhow::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 == MAX_LINE => Err(wrong(number + 1, "it is longer than any entry")),
        // An export that was cut off in the middle of a line is none; one without a line feed at its end may be.
        Some(_) => Ok(Some(line)),
    }
}

fn read(line: &[u8], number: u64) -> anyhow::Result<Line> {
    match serde_json::from_slice(line) {
        Ok(Line::Head(head)) if head.format != FORMAT => {
            Err(wrong(number, &format!("it has format {}, and this Portcullis knows {FORMAT}", head.format)))
        }
        Ok(line) => Ok(line),
        Err(_) => Err(wrong(number, "it is no line of an export")),
    }
}

fn imported(entry: Exported) -> Result<KvEntry, String> {
    let Exported { key, version, text, base64, principal, plugin, digest, written_at_ms, expires_at_ms, .. } = entry;
    let value = match (text, base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).map_err(|error| format!("its value is no base64: {error}"))?,
        _ => return Err("it has not one of `text` and `base64`".to_owned()),
    };
    Ok(KvEntry { key, value: Bytes(value), version, principal, plugin, digest, written_at_ms, expires_at_ms })
}

fn wrong(number: u64, reason: &str) -> anyhow::Error {
    let hint = "what is before it is in; the same import may be run again".to_owned();
    Fault::error(format!("Line {number} cannot be imported: {reason}"), Some(hint))
}
