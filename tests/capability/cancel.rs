//! S25: a client that goes away, again and again. The guest stops, its slots come back, and the ledger says so.

use std::time::Duration;

use portcullis_artifacts as guests;
use portcullis_policy::Limits;
use serde_json::{Value, json};

use crate::{
    house::{House, begun, built, patient, wat},
    streams::STREAMS,
};

/// How often: `PORTCULLIS_CANCEL_ROUNDS`, for long runs.
fn rounds() -> usize {
    std::env::var("PORTCULLIS_CANCEL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_stops() {
    // One slot: each call that stays behind would keep all later ones out.
    let limits = || Limits { concurrency: 1, fuel: None, ..patient() };
    let house =
        House::open(1, vec![built("gone", guests::OUTCOMES, limits()), wat("streams", STREAMS, limits())]).await;
    let calls: [(&str, Value); 5] = [
        ("gone_spin", json!({})),
        ("gone_sleep_hour", json!({})),
        ("streams_large_writes", json!({})),
        ("streams_random_often", json!({})),
        ("streams_own_names", json!({})),
    ];
    for round in 0..rounds() {
        for (tool, arguments) in &calls {
            // From before the first yield to well behind the first quantum.
            let patience = Duration::from_micros(100 << (round % 7));
            let ended = tokio::time::timeout(patience, house.call(tool, arguments.clone())).await;
            assert!(ended.is_err(), "{tool} ended: {ended:?}");
        }
        let alive = tokio::time::timeout(Duration::from_secs(60), house.alive()).await;
        assert!(alive.is_ok(), "no slot came back in round {round}");
    }
    for (tool, _) in calls {
        assert_eq!(house.outcomes(tool), vec!["cancelled"; rounds()], "{tool}");
    }
    assert_eq!(house.answer("gone_counter", json!({})).await, 1);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks < 5, "{tasks} tasks are left");
}

/// A client that goes while its call waits for a slot leaves nothing in the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_left_the_queue_takes_no_slot() {
    let limits = Limits { concurrency: 1, ..patient() };
    let house = House::open(4, vec![built("queue", guests::OUTCOMES, limits)]).await;
    let mut held = std::pin::pin!(house.call("queue_sleep", json!({ "ms": 300 })));
    begun(&mut held).await;
    let left = async {
        for _ in 0..rounds() {
            let waiting = tokio::time::timeout(Duration::from_millis(1), house.call("queue_counter", json!({}))).await;
            if waiting.is_ok() {
                break;
            }
        }
    };
    tokio::join!(held, left);
    assert_eq!(house.answer("queue_counter", json!({})).await, 1);
    let outcomes = house.outcomes("queue_counter");
    assert_eq!(outcomes[0], "cancelled");
    assert_eq!(outcomes[outcomes.len() - 1], "ok");
}
