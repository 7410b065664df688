//! S32, S33: hostile guests beside others, and more calls than there is room for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use portcullis_policy::Limits;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    house::{Guest, House, begun, built, deadline, failed, patient, wat},
    streams::STREAMS,
};

/// Starts all calls at once, each in a task of its own.
fn start(house: &Arc<House>, calls: impl IntoIterator<Item = (&'static str, Value)>) -> JoinSet<Outcome> {
    let mut running = JoinSet::new();
    for (tool, arguments) in calls {
        let house = Arc::clone(house);
        running.spawn(async move { failed(tool, house.call(tool, arguments).await).outcome() });
    }
    running
}

/// Five at once on two cores: one computes, one sleeps, one floods, one has the host copy for it, one has it wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_at_once_keep_nobody_from_answering() {
    let limits = || deadline(Duration::from_secs(5));
    let house =
        House::open(16, vec![built("bad", guests::OUTCOMES, limits()), wat("streams", STREAMS, limits())]).await;
    let house = Arc::new(house);
    let hostile = [
        ("bad_spin", json!({})),
        ("bad_sleep_hour", json!({})),
        ("bad_grow_memory", json!({})),
        ("streams_random_often", json!({})),
        ("streams_large_writes", json!({})),
    ];
    let mut running = start(&house, hostile);
    let began = Instant::now();
    let mut answered = 0;
    while began.elapsed() < Duration::from_secs(2) {
        house.alive().await;
        answered += 1;
    }
    assert!(began.elapsed() < Duration::from_secs(4), "an answer waited for the hostile calls to end");
    // Alone, a call takes a small part of a millisecond: this is a bound on starving, not on speed.
    assert!(answered > 20, "{answered} answers in two seconds");
    while let Some(outcome) = running.join_next().await {
        let outcome = outcome.expect("an end");
        assert!(matches!(outcome, Outcome::Deadline | Outcome::LogFlood | Outcome::OutOfMemory), "{outcome:?}");
    }
    house.alive().await;
}

/// More calls than slots wait for one, and all are answered.
#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_slots_wait_and_finish() {
    let limits = Limits { concurrency: 2, ..patient() };
    let house = Arc::new(House::open(8, vec![built("few", guests::OUTCOMES, limits)]).await);
    let mut running = JoinSet::new();
    for _ in 0..20 {
        let house = Arc::clone(&house);
        running.spawn(async move { house.answer("few_sleep", json!({ "ms": 5 })).await });
    }
    let answers = running.join_all().await;
    assert_eq!(answers, vec![Value::Null; 20]);
    assert_eq!(house.outcomes("few_sleep"), vec!["ok"; 20]);
}

/// A queue that is longer than the deadline ends with the limit that stood in the way, for the plugin and for the host.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_is_told_for_what() {
    const SHORT: &[(&str, Duration)] = &[("counter", Duration::from_millis(200))];
    for (slots, concurrency, text) in [(8, 1, "`concurrency`"), (1, 8, "`max-concurrent-calls`")] {
        let limits = Limits { concurrency, ..patient() };
        let guest = Guest { deadlines: SHORT, ..built("busy", guests::OUTCOMES, limits) };
        let house = House::open(slots, vec![guest]).await;
        let mut hold = std::pin::pin!(house.call("busy_sleep", json!({ "ms": 1000 })));
        begun(&mut hold).await;
        let wait = async {
            let error = failed("busy_counter", house.call("busy_counter", json!({})).await);
            assert_eq!(error.outcome(), Outcome::Busy, "{error}");
            let told = error.to_string();
            assert!(told.contains("no slot came free after 20") && told.contains(text), "{told}");
            assert_eq!(house.outcomes("busy_counter"), ["busy"]);
        };
        tokio::join!(hold, wait);
        assert_eq!(house.answer("busy_counter", json!({})).await, 1);
    }
}
