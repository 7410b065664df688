//! How much a call may do with shared context: each bound, and the error that names it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Engine, at, check, err, put, shared};
use crate::house::{House, built, deadline};

const ALL: &str = "kv = [{ bucket = 'b', access = 'read-write' }]";

async fn house(engine: &Engine) -> House {
    House::sharing(1, 1, engine.warehouse(), vec![shared("s", ALL)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_does_so_many_operations() {
    let house = house(&Engine::embedded()).await;
    let often = |times: u32| json!({ "bucket": "b", "key": "a", "times": times });
    // Opening is one.
    check(
        &house,
        &[
            ("s_get_often", often(9_999), Value::Null, None),
            (
                "s_get_often",
                often(10_001),
                json!([9_999, "limit: more than 10000 operations on shared context in one call"]),
                None,
            ),
            ("s_get", at("a"), Value::Null, None),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_carries_so_many_bytes() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        for key in ["a", "b", "c", "d"] {
            let stored = json!({ "bucket": "b", "key": key, "bytes": 1_000_000 });
            assert!(house.answer("s_set_bytes", stored).await.is_number());
        }
        // 4 MB each time: after 67 of them it is more than 256 MiB.
        let told = json!([68, "limit: more than 268435456 bytes to and from shared context in one call"]);
        check(&house, &[("s_list_often", json!({ "bucket": "b", "times": 100 }), told, None)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_bounded_and_the_error_says_how() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        let bytes = |bytes: u32| json!({ "bucket": "b", "key": "a", "bytes": bytes });
        let list = |limit: u32| json!({ "bucket": "b", "prefix": "", "limit": limit });
        let ttl = |ms: u64| json!({ "bucket": "b", "key": "a", "text": "", "when": "always", "ttl_ms": ms });
        let step = json!({ "what": "check", "key": "a", "text": "", "when": "always" });
        let steps = |count: usize| json!({ "bucket": "b", "steps": vec![step.clone(); count] });
        let keys = |count: usize| json!({ "bucket": "b", "keys": vec!["a"; count] });
        let twice = json!({ "bucket": "b", "steps": [
            { "what": "set", "key": "a", "text": "", "when": "always" },
            { "what": "delete", "key": "a", "text": "", "when": "always" },
        ] });
        let invalid = |text: &str| err(&format!("invalid-argument: {text}"));
        check(
            &house,
            &[
                ("s_set_bytes", bytes(1 << 20), json!(1), None),
                (
                    "s_set_bytes",
                    bytes((1 << 20) + 1),
                    invalid("`value` must have at most 1048576 bytes, has 1048577"),
                    None,
                ),
                (
                    "s_set",
                    put("b", "", "x", "always"),
                    invalid("`key` must be 1 to 512 bytes without control characters, is `` of 0 bytes"),
                    None,
                ),
                (
                    "s_set",
                    put("b", "a\nb", "x", "always"),
                    invalid("`key` must be 1 to 512 bytes without control characters, is `a\\nb` of 3 bytes"),
                    None,
                ),
                ("s_set", ttl(0), invalid("`ttl` must be 1 ms to 3650 days, is 0 ms"), None),
                ("s_keys", list(0), invalid("`limit` must be 1 to 1000, is 0"), None),
                ("s_keys", list(1001), invalid("`limit` must be 1 to 1000, is 1001"), None),
                ("s_transact", steps(128), json!(vec![Value::Null; 128]), None),
                ("s_transact", steps(129), invalid("`operations` must have at most 128 operations, has 129"), None),
                ("s_transact", twice, invalid("`operations` must write each key once, write this one twice: a"), None),
                ("s_get_many", keys(129), invalid("`keys` must have at most 128 keys, has 129"), None),
                (
                    "s_increment",
                    json!({ "bucket": "b", "key": "a", "delta": 1 }),
                    invalid("`key` must name an entry that holds a decimal number of 64 bits"),
                    None,
                ),
            ],
        )
        .await;
    }
}

/// Handles are small, and bounded as all handles of a call are.
#[tokio::test(flavor = "multi_thread")]
async fn handles_are_bounded() {
    let house = house(&Engine::embedded()).await;
    let hold = |times: u32| json!({ "bucket": "b", "times": times });
    assert_eq!(house.answer("s_hold", hold(5_000)).await, 5_000);
    assert!(house.answer("s_hold", hold(20_000)).await["err"].as_str().is_some_and(|told| told.starts_with("limit: ")));
    house.alive().await;
}

/// While the store does not answer, the call's time is not used up: it is told so, in time to say something.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_leaves_time_for_an_answer() {
    let Some(server) = crate::server::Server::start(false) else { return };
    let engine = Engine::Redis(Box::new(server));
    let limits = deadline(Duration::from_secs(4));
    let guest = built("s", portcullis_artifacts::SHARED, limits).granted(ALL);
    let house = House::sharing(1, 1, engine.warehouse(), vec![guest]).await;
    check(&house, &[("s_set", put("b", "a", "one", "always"), json!(1), None)]).await;
    let Engine::Redis(server) = &engine else { return };
    assert_eq!(server.say("CLIENT PAUSE 60000 ALL"), "+OK");
    let told = house.answer("s_get", at("a")).await;
    assert_eq!(told, err("timed-out"));
    let told = house.answer("s_set", put("b", "a", "two", "always")).await;
    assert_eq!(told, err("unknown-outcome"), "it may still be done");
    // A wait that the end of the call ends has nothing to tell, and that is no error.
    let asked = json!({ "bucket": "b", "prefix": "", "after": 1, "wait_ms": 60_000 });
    let told = house.answer("s_changes", asked).await;
    assert!(told == err("timed-out") || told[0] == json!([]), "{told}");
}

/// Its reasons are the operator's.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_says_nothing_of_itself() {
    let Some(server) = crate::server::Server::start(false) else { return };
    let mut engine = Engine::Redis(Box::new(server));
    let house = house(&engine).await;
    if let Engine::Redis(server) = &mut engine {
        server.down();
    }
    for (tool, arguments) in [("s_get", at("a")), ("s_set", put("b", "a", "x", "always"))] {
        let told = house.answer(tool, arguments).await;
        assert!(told == err("unavailable") || told == err("unknown-outcome"), "{tool}: {told}");
    }
    check(&house, &[("s_get", at("a"), err("unavailable"), None)]).await;
}
