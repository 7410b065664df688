//! Shared context from a guest, beside what the same costs without Portcullis.

mod embedded;
mod large;
mod server;

use std::{sync::Arc, time::Duration};

use portcullis_store::{BucketName, BucketPattern, Limits, Store, Warehouse};
use serde_json::{Map, Value, json};

use super::in_process::{Ours, Subject};
use crate::{report::Report, samples::Least, server::Bench};

/// Bytes of a value: a note of an agent.
const VALUE: usize = 100;
/// Keys that are written in turn.
const KEYS: usize = 1_000;
/// Writers at one time, and how often each writes a round.
const WRITERS: usize = 64;
const TIMES: usize = 40;
/// Writes of one writer alone a round.
const WRITES: usize = 300;
const GRANT: &str = "kv = [{ bucket = 'shared', access = 'read-write' }]";

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    embedded::measure(bench, report, &tokio)?;
    server::measure(bench, report, &tokio)?;
    large::measure(bench, report, &tokio)
}

fn name() -> anyhow::Result<BucketName> {
    BucketName::new("shared").map_err(|error| anyhow::anyhow!("{error}"))
}

/// The store as the host has it, with room for all that is measured.
fn warehouse(store: Store) -> anyhow::Result<Arc<Warehouse>> {
    let limits = Limits { max_entries: 10_000_000, max_bytes: 8 << 30, ..Limits::default() };
    let pattern = BucketPattern::new("shared").map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Arc::new(Warehouse::new(store, [(pattern, limits)])))
}

async fn guest(
    bench: &Bench,
    folder: &std::path::Path,
    state: &str,
    function: &str,
    shared: Arc<Warehouse>,
) -> anyhow::Result<Ours> {
    let component = if function == "write" { portcullis_artifacts::NOTE } else { portcullis_artifacts::SHARED };
    let subject = Subject { component, function, arguments: Map::new(), grants: GRANT, shared: Some(shared) };
    Ours::new(bench, folder, state, subject).await
}

fn key(number: usize) -> String {
    format!("notes/{:06}", number % KEYS)
}

/// The arguments of the guest's `write`.
fn setting(number: usize) -> Map<String, Value> {
    let arguments = json!({ "bucket": "shared", "key": key(number), "text": "x".repeat(VALUE) });
    arguments.as_object().cloned().unwrap_or_default()
}

/// One durable write by the guest.
async fn set(ours: &Ours, number: usize) -> anyhow::Result<Duration> {
    ours.timed_with(setting(number), Value::is_u64).await
}

/// Many writers at one time: how long all of it takes.
async fn together(ours: &Arc<Ours>) -> anyhow::Result<Duration> {
    let began = std::time::Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let ours = Arc::clone(ours);
            tokio::spawn(async move {
                for time in 0..TIMES {
                    set(&ours, writer * TIMES + time).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    Ok(began.elapsed())
}

/// The best of two sides' rounds.
#[derive(Default)]
struct Two {
    floor: Least,
    ours: Least,
}
