//! Programs over `wasi:keyvalue`, in both drafts, unchanged.

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use super::{DENIED, Engine, NO_BUCKET, NO_READ, NO_WRITE, at, check, err, put, shared};
use crate::house::{House, built, patient};

const GRANTS: &str =
    "kv = [{ bucket = 'b', access = 'read-write' }, { bucket = 'c', prefix = 'p/', access = 'read-write' },
                            { bucket = 'c', prefix = 'r/' }, { bucket = 'agent-{principal}', access = 'read-write' }]";

async fn house(engine: &Engine) -> House {
    let both = vec![
        built("new", guests::KEYVALUE, patient()).granted(GRANTS),
        built("old", guests::KEYVALUE_DRAFT, patient()).granted(GRANTS),
        shared("s", "kv = [{ bucket = 'b', access = 'read-write' }, { bucket = 'c', access = 'read-write' }]"),
    ];
    House::sharing(1, 1, engine.warehouse(), both).await
}

fn text(bucket: &str, key: &str, text: &str) -> Value {
    json!({ "bucket": bucket, "key": key, "text": text })
}

#[tokio::test(flavor = "multi_thread")]
async fn both_drafts_do_what_they_say() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        for prefix in ["new", "old"] {
            let tool = |name: &str| format!("{prefix}_{name}");
            let of = |key: &str| at(&format!("{prefix}-{key}"));
            let named = |keys: &[&str]| keys.iter().map(|key| format!("{prefix}-{key}")).collect::<Vec<_>>();
            let pairs = |keys: &[&str]| named(keys).iter().map(|key| format!("{key}=m")).collect::<Vec<_>>();
            let cases = [
                (tool("get"), of("a"), Value::Null),
                (tool("set"), text("b", &format!("{prefix}-a"), "one"), Value::Null),
                (tool("get"), of("a"), json!("one")),
                (tool("exists"), of("a"), json!(true)),
                (tool("increment"), json!({ "bucket": "b", "key": format!("{prefix}-n"), "delta": 7 }), json!(7)),
                (tool("increment"), json!({ "bucket": "b", "key": format!("{prefix}-n"), "delta": 5 }), json!(12)),
                (tool("delete"), of("n"), Value::Null),
                (tool("delete"), of("n"), Value::Null),
                (tool("exists"), of("n"), json!(false)),
                (tool("set_many"), json!({ "bucket": "b", "keys": named(&["y", "x", "y"]), "text": "m" }), Value::Null),
                (
                    tool("get_many"),
                    json!({ "bucket": "b", "keys": named(&["x", "z", "y"]) }),
                    json!([pairs(&["x"])[0], null, pairs(&["y"])[0]]),
                ),
                (tool("delete_many"), json!({ "bucket": "b", "keys": named(&["x", "y", "a", "a"]) }), Value::Null),
                (tool("keys"), json!({ "bucket": "b" }), json!([[], 1])),
                (tool("set"), text("agent-{principal}", "mine", "1"), Value::Null),
                (tool("get"), json!({ "bucket": "agent-local-operator", "key": "mine" }), json!("1")),
            ];
            let cases: Vec<_> = cases
                .iter()
                .map(|(tool, arguments, answer)| (&**tool, arguments.clone(), answer.clone(), None))
                .collect();
            check(&house, &cases).await;
        }
    }
}

/// More than one operation may do at a time, and pages of both kinds of cursor.
#[tokio::test(flavor = "multi_thread")]
async fn many_keys_come_in_pages() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        let keys: Vec<_> = (0..2500).map(|n| format!("k{n:04}")).collect();
        house.answer("new_set_many", json!({ "bucket": "b", "keys": keys, "text": "v" })).await;
        for prefix in ["new", "old"] {
            let answer = house.answer(&format!("{prefix}_keys"), json!({ "bucket": "b" })).await;
            assert_eq!((&answer[0], &answer[1]), (&json!(keys), &json!(3)), "{prefix}");
        }
        let asked = json!({ "bucket": "b", "keys": &keys[..300] });
        let found = house.answer("old_get_many", asked).await;
        assert_eq!(found.as_array().map(Vec::len), Some(300));
        assert_eq!(found[299], "k0299=v");
        // A cursor outlasts its call: a program may hand it to its caller.
        let first = house.answer("old_page", json!({ "bucket": "b" })).await;
        let second = house.answer("old_page", json!({ "bucket": "b", "cursor": first[1] })).await;
        assert_eq!((&first[1], &second[0]), (&json!(1000), &json!(&keys[1000..2000])));
        // What scans of Redis begin with.
        assert_eq!(house.answer("old_page", json!({ "bucket": "b", "cursor": 0 })).await, first);
        assert_eq!(house.answer("old_page", json!({ "bucket": "b", "cursor": 99_999 })).await, json!([[], null]));
        let first = house.answer("new_page", json!({ "bucket": "b" })).await;
        let second = house.answer("new_page", json!({ "bucket": "b", "cursor": first[1] })).await;
        assert_eq!(second[0], json!(&keys[1000..2000]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_is_about_what_was_seen() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        let append = |text: &str, meddle: bool| json!({ "bucket": "b", "key": "log", "text": text, "meddle": meddle });
        check(
            &house,
            &[
                ("new_append", append("one ", false), json!(1), None),
                ("new_append", append("two ", false), json!(1), None),
                ("new_get", at("log"), json!("one two "), None),
                ("new_append", append("three", true), json!(2), None),
                ("new_get", at("log"), json!("meddled three"), None),
            ],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_denied_or_absent() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        for key in ["p/a", "hidden", "r/a", "-12"] {
            house.answer("s_set", put("c", key, "-12", "always")).await;
        }
        for prefix in ["new", "old"] {
            let tool = |name: &str| format!("{prefix}_{name}");
            let of = |key: &str| json!({ "bucket": "c", "key": key });
            let many = |name: &str| (tool(name), json!({ "bucket": "c", "keys": ["p/z", "hidden"], "text": "x" }));
            let cases = [
                (tool("get"), json!({ "bucket": "d", "key": "a" }), err(DENIED), Some(("d", NO_BUCKET))),
                (tool("get"), json!({ "bucket": "d/", "key": "a" }), err("no-such-store"), None),
                (tool("get"), of("hidden"), Value::Null, Some(("c/hidden", NO_READ))),
                (tool("exists"), of("hidden"), json!(false), Some(("c/hidden", NO_READ))),
                (tool("keys"), json!({ "bucket": "c" }), json!([["p/a", "r/a"], 2]), None),
                (tool("set"), text("c", "r/a", "x"), err(DENIED), Some(("c/r/a", NO_WRITE))),
                (tool("delete"), of("hidden"), err(DENIED), Some(("c/hidden", NO_WRITE))),
                (
                    tool("increment"),
                    json!({ "bucket": "c", "key": "hidden", "delta": 1 }),
                    err(DENIED),
                    Some(("c/hidden", NO_WRITE)),
                ),
                (many("set_many").0, many("set_many").1, err(DENIED), Some(("c/hidden", NO_WRITE))),
                (tool("exists"), of("p/z"), json!(false), None),
            ];
            let cases: Vec<_> = cases
                .iter()
                .map(|(tool, arguments, answer, denied)| (&**tool, arguments.clone(), answer.clone(), *denied))
                .collect();
            check(&house, &cases).await;
        }
        let append = json!({ "bucket": "c", "key": "r/a", "text": "x", "meddle": false });
        check(&house, &[("new_append", append, err(DENIED), Some(("c/r/a", NO_WRITE)))]).await;
        let below = "other: the number is below zero, which this interface cannot say; it was counted";
        let count = json!({ "bucket": "c", "key": "p/a", "delta": 1 });
        check(&house, &[("old_increment", count, err(below), None)]).await;
    }
}
