//! S10, S11, S15 to S17: guests that use what the host gives them too often, with too much, or without giving back.

use std::time::Duration;

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use serde_json::json;
use tokio::sync::mpsc;

use crate::house::{House, built, deadline, patient, wat};

/// Keeps handles of its own.
const HANDLES: &str = include_str!("wat/handles.wat");

/// Calls the host's functions by hand.
pub(crate) const STREAMS: &str = include_str!("wat/streams.wat");

const FLOOD: &str = "flooded its log: more than 1000000 operations on standard output and error";

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_at_their_count() {
    let house =
        House::open(2, vec![built("flood", guests::OUTCOMES, patient()), wat("streams", STREAMS, patient())]).await;
    for (tool, arguments) in [
        ("flood_flood_stdout", json!({})),
        ("flood_empty_writes", json!({ "count": 100_000_000 })),
        ("streams_check_writes", json!({})),
        ("streams_flushes", json!({})),
        ("streams_empty_writes", json!({})),
    ] {
        house.check(tool, arguments, Outcome::LogFlood, FLOOD).await;
    }
}

/// Time in host calls counts too: a guest that has the host copy for it ends at its deadline like one that computes.
#[tokio::test(flavor = "multi_thread")]
async fn time_in_the_host_is_time() {
    let house = House::open(2, vec![wat("streams", STREAMS, deadline(Duration::from_millis(200)))]).await;
    for tool in ["streams_large_writes", "streams_zeroes", "streams_random_often", "streams_own_names"] {
        house.check(tool, json!({}), Outcome::Deadline, "did not finish within 200ms (limit `deadline`)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_at_once_is_refused_before_it_is_held() {
    let house = House::open(
        2,
        vec![
            built("leak", guests::OUTCOMES, patient()),
            wat("handles", HANDLES, patient()),
            wat("streams", STREAMS, patient()),
        ],
    )
    .await;
    let memory = Outcome::OutOfMemory;
    for (tool, arguments, outcome, text) in [
        ("leak_leak_pollables", json!({ "count": 1_000_000 }), memory, "too many host resources at one time"),
        ("handles_keep", json!({}), memory, "wanted too many handles at one time"),
        ("streams_streams_kept", json!({}), memory, "too many host resources at one time"),
        ("streams_pollables_kept", json!({}), memory, "too many host resources at one time"),
        ("streams_poll_many", json!({}), memory, "wanted to hand the host too much at once"),
        ("streams_huge_write", json!({}), memory, "wanted to hand the host too much at once"),
        ("streams_huge_message", json!({}), memory, "wanted to hand the host too much at once"),
        ("leak_random", json!({ "len": 1_u64 << 63 }), Outcome::Trapped, "exceeds limit 1048576"),
        ("streams_random_without_end", json!({}), Outcome::Trapped, "exceeds limit 1048576"),
        ("streams_endless_zeroes", json!({}), Outcome::Trapped, "cannot write more zeroes"),
        ("streams_write_outside", json!({}), Outcome::Trapped, "out of bounds"),
        ("streams_poll_nothing", json!({}), Outcome::Trapped, "empty poll list"),
    ] {
        house.check(tool, arguments, outcome, text).await;
    }
}

/// Reports that a client does not take are dropped; the call goes on, and no client waits for the guest's pleasure.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_progress_is_thinned() {
    let house = House::open(2, vec![wat("streams", STREAMS, patient())]).await;
    let (reports, mut taken) = mpsc::channel(4);
    house.call_with("streams_progress_flood", json!({}), Some(reports)).await;
    assert_eq!(house.outcomes("streams_progress_flood"), ["ok"]);
    let mut told = Vec::new();
    while let Some(report) = taken.recv().await {
        told.push(report);
    }
    let progress: Vec<_> = told.iter().map(|report| report.progress).collect();
    assert_eq!(progress, [1.0, 2.0, 3.0, 4.0], "as many as the client has room for");
    for report in told {
        assert!(report.message.is_some_and(|message| message.len() <= 1024));
    }
}
