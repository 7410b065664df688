//! What a grant opens works, on both engines, as `wit/kv.wit` says.

use serde_json::{Value, json};

use super::{Engine, at, check, err, put, shared};
use crate::house::House;

const ALL: &str = "kv = [{ bucket = 'b', access = 'read-write' }, { bucket = 'small', access = 'read-write' }]";

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_does_what_it_says() {
    for engine in Engine::all() {
        let house = House::sharing(1, 1, engine.warehouse(), vec![shared("s", ALL)]).await;
        let mine = |text: &str, version: u64| json!([text, version, "local-operator", "s"]);
        check(
            &house,
            &[
                ("s_get", at("a"), Value::Null, None),
                ("s_set", put("b", "a", "one", "absent"), json!(1), None),
                ("s_set", put("b", "a", "two", "absent"), err("conflict: a one"), None),
                ("s_set", put("b", "a", "two", "1"), json!(2), None),
                ("s_set", put("b", "a", "three", "1"), err("conflict: a two"), None),
                ("s_set", put("b", "c", "x", "present"), err("conflict: nothing"), None),
                ("s_get", at("a"), mine("two", 2), None),
                ("s_exists", at("a"), json!(true), None),
                ("s_exists", at("z"), json!(false), None),
                ("s_increment", json!({ "bucket": "b", "key": "n", "delta": 5 }), json!([5, 3]), None),
                ("s_increment", json!({ "bucket": "b", "key": "n", "delta": -7 }), json!([-2, 4]), None),
                ("s_get_many", json!({ "bucket": "b", "keys": ["n", "z", "a"] }), json!(["-2", null, "two"]), None),
                (
                    "s_keys",
                    json!({ "bucket": "b", "prefix": "", "limit": 1 }),
                    json!({ "keys": ["a"], "next": "a" }),
                    None,
                ),
                (
                    "s_keys",
                    json!({ "bucket": "b", "prefix": "", "after": "a", "limit": 10 }),
                    json!({ "keys": ["n"], "next": null }),
                    None,
                ),
                (
                    "s_transact",
                    json!({ "bucket": "b", "steps": [
                        { "what": "check", "key": "a", "text": "", "when": "2" },
                        { "what": "set", "key": "t", "text": "new", "when": "absent" },
                        { "what": "delete", "key": "gone", "text": "", "when": "always" },
                        { "what": "delete", "key": "n", "text": "", "when": "present" },
                    ] }),
                    json!([null, 5, null, 6]),
                    None,
                ),
                (
                    "s_transact",
                    json!({ "bucket": "b", "steps": [
                        { "what": "set", "key": "u", "text": "", "when": "always" },
                        { "what": "check", "key": "a", "text": "", "when": "1" },
                    ] }),
                    err("conflict: a two"),
                    None,
                ),
                ("s_exists", at("u"), json!(false), None),
                ("s_delete", json!({ "bucket": "b", "key": "t", "when": "always" }), json!(7), None),
                ("s_delete", json!({ "bucket": "b", "key": "t", "when": "always" }), Value::Null, None),
                ("s_usage", json!({ "bucket": "b" }), json!([1, 4]), None),
            ],
        )
        .await;
        let changes = json!({ "bucket": "b", "prefix": "", "after": 4, "wait_ms": 0 });
        let answer = house.answer("s_changes", changes).await;
        assert_eq!((&answer[0], &answer[1]), (&json!(["set t new", "delete n", "delete t"]), &json!(7)));
        let expiring = json!({ "bucket": "b", "key": "e", "text": "soon", "when": "always", "ttl_ms": 1 });
        assert_eq!(house.answer("s_set", expiring).await, 8);
        let changes = json!({ "bucket": "b", "prefix": "e", "after": 8, "wait_ms": 60_000 });
        assert_eq!(house.answer("s_changes", changes).await[0], json!(["expire e"]), "an expiry wakes too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_says_what_it_holds() {
    for engine in Engine::all() {
        let house = House::sharing(1, 1, engine.warehouse(), vec![shared("s", ALL)]).await;
        check(
            &house,
            &[
                ("s_set", put("small", "a", "1", "always"), json!(1), None),
                ("s_set", put("small", "b", "2", "always"), json!(2), None),
                ("s_set", put("small", "c", "3", "always"), err("quota-exceeded: 2 of 2"), None),
                ("s_usage", json!({ "bucket": "small" }), json!([2, 4]), None),
            ],
        )
        .await;
    }
}

/// What one call wrote, another plugin's reads, with who wrote it.
#[tokio::test(flavor = "multi_thread")]
async fn plugins_share_what_both_are_granted() {
    for engine in Engine::all() {
        let read = "kv = [{ bucket = 'b', prefix = 'of/' }]";
        let guests = vec![shared("s", ALL), shared("reader", read)];
        let house = House::sharing(1, 1, engine.warehouse(), guests).await;
        check(
            &house,
            &[
                ("s_set", put("b", "of/a", "one", "always"), json!(1), None),
                ("reader_get", at("of/a"), json!(["one", 1, "local-operator", "s"]), None),
            ],
        )
        .await;
    }
}
