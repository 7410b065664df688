//! S1 to S4, S18, S23, S24, S26: guests that compute or wait without end, and guests that end themselves.

use std::time::Duration;

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use portcullis_policy::Limits;
use serde_json::json;

use crate::house::{House, built, deadline, patient, wat};

/// Loops where the host may not expect guest code to run.
pub(crate) const LOOPS: &str = include_str!("wat/loops.wat");
/// A loop in a start function: it runs while the sandbox is made.
pub(crate) const START: &str = include_str!("wat/start.wat");

fn little_fuel() -> Limits {
    Limits { fuel: Some(50_000_000), ..patient() }
}

fn little_time() -> Limits {
    deadline(Duration::from_millis(200))
}

#[tokio::test(flavor = "multi_thread")]
async fn fuel_ends_every_loop() {
    let house = House::open(
        2,
        vec![
            built("fuel", guests::OUTCOMES, little_fuel()),
            wat("loops", LOOPS, little_fuel()),
            wat("start", START, little_fuel()),
        ],
    )
    .await;
    for (tool, arguments) in [
        ("fuel_spin", json!({})),
        ("fuel_spend", json!({ "units": 1_u64 << 40 })),
        ("loops_in_realloc", json!({ "text": "x" })),
        ("loops_in_post_return", json!({})),
        ("loops_fill", json!({})),
        ("loops_copy", json!({})),
        ("start_never", json!({})),
    ] {
        house.check(tool, arguments, Outcome::OutOfFuel, "used up its fuel of 50000000 (limit `fuel`)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_every_loop_and_every_wait() {
    let house = House::open(
        2,
        vec![
            built("time", guests::OUTCOMES, little_time()),
            wat("loops", LOOPS, little_time()),
            wat("start", START, little_time()),
        ],
    )
    .await;
    for (tool, arguments) in [
        ("time_spin", json!({})),
        ("time_sleep_hour", json!({})),
        ("time_sleep", json!({ "ms": u64::MAX })),
        ("loops_in_realloc", json!({ "text": "x" })),
        ("loops_in_post_return", json!({})),
        ("loops_fill", json!({})),
        ("loops_copy", json!({})),
        ("start_never", json!({})),
    ] {
        house.check(tool, arguments, Outcome::Deadline, "did not finish within 200ms (limit `deadline`)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_itself_ends_alone() {
    let house = House::open(2, vec![built("end", guests::OUTCOMES, patient()), wat("loops", LOOPS, patient())]).await;
    let crashed = Outcome::Trapped;
    for (tool, arguments, outcome, text) in [
        ("end_recurse", json!({ "n": 0 }), crashed, "crashed: wasm trap: call stack exhausted"),
        ("loops_recurse", json!({}), crashed, "crashed: wasm trap: call stack exhausted"),
        ("end_trap", json!({}), crashed, "crashed: wasm trap: wasm `unreachable` instruction executed"),
        ("end_abort", json!({}), crashed, "crashed: wasm trap: wasm `unreachable` instruction executed"),
        ("loops_divide", json!({}), crashed, "crashed: wasm trap: integer divide by zero"),
        ("loops_outside", json!({}), crashed, "crashed: wasm trap: out of bounds memory access"),
        ("loops_wrong_call", json!({}), crashed, "crashed: wasm trap: indirect call type mismatch"),
        ("end_exit", json!({ "code": 0 }), Outcome::Exited, "exited with code 0 instead of answering"),
        ("end_exit", json!({ "code": 1 }), Outcome::Exited, "exited with code 1 instead of answering"),
    ] {
        house.check(tool, arguments, outcome, text).await;
        // A fresh sandbox: what ended the call before leaves nothing to this one.
        assert_eq!(house.answer("end_counter", json!({})).await, 1, "after {tool}");
    }
}
