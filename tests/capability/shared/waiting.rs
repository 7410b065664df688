//! A call that waits for a change takes no slot from others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_policy::Limits;
use serde_json::{Value, json};

use super::{Engine, err, put, shared};
use crate::house::{Guest, House, deadline};

const ALL: &str = "kv = [{ bucket = 'b', access = 'read-write' }]";
/// One with few slots of its own.
fn narrow(limits: Limits) -> Guest {
    Guest { limits: Limits { concurrency: 1, ..limits }, ..shared("s", ALL) }
}

fn changes(prefix: &str, after: u64, wait_ms: u32) -> Value {
    json!({ "bucket": "b", "prefix": prefix, "after": after, "wait_ms": wait_ms })
}

/// Waits for a change; again, where another has the last place for a moment.
async fn wait(house: &House, prefix: &str, places: u32) -> Value {
    loop {
        let answer = house.answer("s_changes", changes(prefix, 0, 200_000)).await;
        if answer != busy(places) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

fn busy(places: u32) -> Value {
    err(&format!("busy: {places} calls wait already (`server.max-waiting-calls`)"))
}

/// Waits until all places are taken. No test has more calls that wait than places.
async fn until_full(house: &House, places: u32) {
    let began = Instant::now();
    loop {
        let one_more = house.answer("s_changes", changes("other/", 0, 1)).await;
        if one_more == busy(places) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(200), "{one_more}");
        tokio::task::yield_now().await;
    }
}

/// Point 6 of the issue: 200 calls of one plugin wait, with one slot of the plugin and one of the host, while another call
/// of the same plugin wakes them.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_calls_wait_while_another_of_the_same_plugin_wakes_them() {
    for engine in Engine::all() {
        let limits = deadline(Duration::from_secs(300));
        let house = Arc::new(House::sharing(1, 200, engine.warehouse(), vec![narrow(limits)]).await);
        let waiters: Vec<_> = (0..200)
            .map(|_| {
                let house = Arc::clone(&house);
                tokio::spawn(async move { wait(&house, "wake/", 200).await })
            })
            .collect();
        // One more finds no place among them: then they all do.
        until_full(&house, 200).await;
        // Without waiting it works, and so does everything else: neither slot is taken.
        assert_eq!(house.answer("s_changes", changes("other/", 0, 0)).await[0], json!([]));
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        house.alive().await;
        assert_eq!(house.answer("s_set", put("b", "beside", "x", "always")).await, 1);
        assert_eq!(house.answer("s_set", put("b", "wake/all", "now", "always")).await, 2);
        for waiter in waiters {
            let answer = waiter.await.expect("an answer");
            assert_eq!((&answer[0], &answer[1]), (&json!(["set wake/all now"]), &json!(2)));
        }
    }
}

/// At the deadline a wait ends with an empty answer and not an error, and the guest has time to say so.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_a_wait_with_an_empty_answer() {
    for engine in Engine::all() {
        let limit = Duration::from_secs(4);
        let house = House::sharing(1, 1, engine.warehouse(), vec![narrow(deadline(limit))]).await;
        let began = Instant::now();
        let answer = house.answer("s_changes", changes("", 0, 600_000)).await;
        assert_eq!((&answer[0], &answer[1]), (&json!([]), &json!(0)));
        assert!(answer[2].as_u64().is_some_and(|left| left > 0), "{answer}");
        assert!(began.elapsed() > limit / 2 && began.elapsed() < limit, "{:?}", began.elapsed());
        // What the guest asks for before that, it gets.
        let began = Instant::now();
        assert_eq!(house.answer("s_changes", changes("", 0, 50)).await[0], json!([]));
        assert!(began.elapsed() >= Duration::from_millis(50));
        house.alive().await;
    }
}

/// Beyond the limit there is a typed error that names it; a call that has ended, or was called off, leaves its place.
#[tokio::test(flavor = "multi_thread")]
async fn places_are_as_many_as_configured_and_come_free() {
    let limits = deadline(Duration::from_secs(300));
    let house = Arc::new(House::sharing(1, 1, Engine::embedded().warehouse(), vec![narrow(limits)]).await);
    for _ in 0..3 {
        let waiter = {
            let house = Arc::clone(&house);
            tokio::spawn(async move { wait(&house, "wake/", 1).await })
        };
        until_full(&house, 1).await;
        // The client goes away.
        waiter.abort();
        assert!(waiter.await.is_err());
        while house.answer("s_changes", changes("other/", 0, 1)).await == busy(1) {
            tokio::task::yield_now().await;
        }
    }
    let house = House::sharing(1, 0, Engine::embedded().warehouse(), vec![narrow(patient())]).await;
    let told = house.answer("s_changes", changes("", 0, 10)).await;
    assert_eq!(told, busy(0));
    assert_eq!(house.answer("s_changes", changes("", 0, 0)).await[0], json!([]));
}

fn patient() -> Limits {
    deadline(Duration::from_secs(300))
}

/// A call that wakes computes in a slot again: while another has the only one, it does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn who_wakes_takes_a_slot_again() {
    const SPINS: &[(&str, Duration)] = &[("set-and-spin", Duration::from_secs(3))];
    let guest = Guest { deadlines: SPINS, ..narrow(patient()) };
    let house = Arc::new(House::sharing(2, 1, Engine::embedded().warehouse(), vec![guest]).await);
    let waiter = {
        let house = Arc::clone(&house);
        tokio::spawn(async move { (wait(&house, "", 1).await, Instant::now()) })
    };
    until_full(&house, 1).await;
    // It wakes the other at once, and computes on to its deadline.
    let spun = house.call("s_set_and_spin", json!({ "bucket": "b", "key": "k" })).await;
    let ended = Instant::now();
    assert!(crate::house::failed("spin", spun).to_string().contains("limit `deadline`"));
    let (answer, answered) = waiter.await.expect("an answer");
    assert_eq!(answer[0], json!(["set k spinning"]));
    assert!(
        answered + Duration::from_millis(250) > ended,
        "it answered {:?} before the slot was free",
        ended - answered
    );
    house.alive().await;
}
