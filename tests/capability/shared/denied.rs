//! What no grant opens is denied and recorded; what is outside of its prefixes is as if absent.

use serde_json::{Value, json};

use super::{DENIED, Engine, NO_BUCKET, NO_READ, NO_WRITE, at, check, err, put, shared};
use crate::house::House;

/// Two prefixes of `b`, one to be written; nothing of `c`.
const SOME: &str = "kv = [{ bucket = 'b', prefix = 'mine/', access = 'read-write' },
                         { bucket = 'b', prefix = 'read/' }, { bucket = 'small', prefix = 'mine/', access = 'read-write' }]";
const ALL: &str = "kv = [{ bucket = 'b', access = 'read-write' }, { bucket = 'small', access = 'read-write' }]";

async fn house(engine: &Engine) -> House {
    let house = House::sharing(1, 1, engine.warehouse(), vec![shared("s", SOME), shared("all", ALL)]).await;
    for (key, text) in [("hidden/a", "h"), ("mine/a", "m"), ("o", "o"), ("read/a", "r"), ("read", "not it")] {
        house.answer("all_set", put("b", key, text, "always")).await;
    }
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_a_grant_is_denied_and_recorded() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        let no = |name: &str| json!({ "bucket": name });
        check(
            &house,
            &[
                ("s_open", no("c"), err(DENIED), Some(("c", NO_BUCKET))),
                ("s_open", no("b.x"), err(DENIED), Some(("b.x", NO_BUCKET))),
                ("s_open", no("B"), err(DENIED), Some(("B", NO_BUCKET))),
                ("s_open", no("../b"), err("no-such-bucket"), None),
                ("s_open", no(""), err("no-such-bucket"), None),
                ("s_open", no("b\u{0}"), err("no-such-bucket"), None),
                ("s_open", no("b"), Value::Null, None),
            ],
        )
        .await;
    }
}

/// Reads, lists, counts and conditions say the same of what is hidden and of what is not there.
#[tokio::test(flavor = "multi_thread")]
async fn keys_outside_of_the_prefixes_are_as_if_absent() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        let list =
            |prefix: &str, after: Option<&str>| json!({ "bucket": "b", "prefix": prefix, "after": after, "limit": 10 });
        let page = |keys: &[&str], next: Option<&str>| json!({ "keys": keys, "next": next });
        let hidden = Some(("b/hidden/a", NO_READ));
        let steps = |steps: &[(&str, &str, &str)]| {
            let step =
                |(what, key, when): &(&str, &str, &str)| json!({ "what": what, "key": key, "text": "t", "when": when });
            json!({ "bucket": "b", "steps": steps.iter().map(step).collect::<Vec<_>>() })
        };
        check(
            &house,
            &[
                ("s_get", at("hidden/a"), Value::Null, hidden),
                ("s_get", at("hidden/nothing"), Value::Null, Some(("b/hidden/nothing", NO_READ))),
                ("s_get", at("read"), Value::Null, Some(("b/read", NO_READ))),
                ("s_exists", at("hidden/a"), json!(false), hidden),
                (
                    "s_get_many",
                    json!({ "bucket": "b", "keys": ["hidden/a", "mine/a", "o", "read/a", "read/z"] }),
                    json!([null, "m", null, "r", null]),
                    hidden,
                ),
                // A page for each prefix that is granted.
                ("s_keys", list("", None), page(&["mine/a"], Some("mine/a")), None),
                ("s_keys", list("", Some("mine/a")), page(&["read/a"], None), None),
                ("s_keys", list("", Some("read/a")), page(&[], None), None),
                ("s_keys", list("hidden/", None), page(&[], None), None),
                ("s_keys", list("r", None), page(&["read/a"], None), None),
                ("s_keys", list("read", None), page(&["read/a"], None), None),
                ("s_keys", list("read/a", None), page(&["read/a"], None), None),
                // Conditions on what is hidden are conditions on nothing.
                (
                    "s_transact",
                    steps(&[("check", "hidden/a", "absent"), ("set", "mine/b", "absent")]),
                    json!([null, 6]),
                    hidden,
                ),
                ("s_transact", steps(&[("check", "hidden/a", "always")]), json!([null]), hidden),
                (
                    "s_transact",
                    steps(&[("check", "hidden/a", "present"), ("set", "mine/c", "absent")]),
                    err("conflict: nothing"),
                    hidden,
                ),
                ("s_transact", steps(&[("check", "hidden/a", "1")]), err("conflict: nothing"), hidden),
                // The first condition that fails is the one that is told of.
                (
                    "s_transact",
                    steps(&[("set", "mine/a", "absent"), ("check", "hidden/a", "present")]),
                    err("conflict: mine/a m"),
                    hidden,
                ),
                (
                    "s_transact",
                    steps(&[("check", "hidden/a", "present"), ("set", "mine/a", "absent")]),
                    err("conflict: nothing"),
                    hidden,
                ),
                ("s_exists", at("mine/c"), json!(false), None),
                (
                    "s_usage",
                    json!({ "bucket": "b" }),
                    err(DENIED),
                    Some(("b/", "no entry of `kv` lets all of the bucket be read")),
                ),
            ],
        )
        .await;
        // Changes of what is hidden show in versions alone.
        let changes =
            |prefix: &str, after: u64| json!({ "bucket": "b", "prefix": prefix, "after": after, "wait_ms": 0 });
        let answer = house.answer("s_changes", changes("", 0)).await;
        assert_eq!((&answer[0], &answer[1]), (&json!(["set mine/a m", "set read/a r", "set mine/b t"]), &json!(6)));
        for prefix in ["hidden/", "h", "o"] {
            let answer = house.answer("s_changes", changes(prefix, 0)).await;
            assert_eq!((&answer[0], &answer[1]), (&json!([]), &json!(6)), "{prefix}");
        }
        assert_eq!(house.answer("s_changes", changes("", 99)).await, err("compacted: 6"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_to_be_written_is_not_written() {
    for engine in Engine::all() {
        let house = house(&engine).await;
        let no = |key: &'static str| Some((key, NO_WRITE));
        let both = json!({ "bucket": "b", "steps": [
            { "what": "set", "key": "mine/b", "text": "t", "when": "always" },
            { "what": "set", "key": "o", "text": "t", "when": "always" },
        ] });
        let count = |key: &str| json!({ "bucket": "b", "key": key, "delta": 1 });
        let delete = |key: &str| json!({ "bucket": "b", "key": key, "when": "always" });
        check(
            &house,
            &[
                ("s_set", put("b", "read/a", "x", "always"), err(DENIED), no("b/read/a")),
                // Also where the condition would fail: a conflict would show what is there.
                ("s_set", put("b", "hidden/a", "x", "absent"), err(DENIED), no("b/hidden/a")),
                ("s_set", put("b", "mine", "x", "always"), err(DENIED), no("b/mine")),
                ("s_delete", delete("read/a"), err(DENIED), no("b/read/a")),
                ("s_delete", delete("hidden/a"), err(DENIED), no("b/hidden/a")),
                ("s_increment", count("n"), err(DENIED), no("b/n")),
                ("s_transact", both, err(DENIED), no("b/o")),
                ("s_exists", at("mine/b"), json!(false), None),
                ("all_get", at("hidden/a"), json!(["h", 1, "local-operator", "all"]), None),
                ("all_get", at("read/a"), json!(["r", 4, "local-operator", "all"]), None),
                ("all_set", put("small", "x", "1", "always"), json!(1), None),
                ("all_set", put("small", "y", "1", "always"), json!(2), None),
                // How much others have written is not told.
                ("s_set", put("small", "mine/z", "1", "always"), err("quota-exceeded"), None),
            ],
        )
        .await;
    }
}

/// A guest's own making ends in the ledger in part, and a call in all is recorded sixteen times.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_recorded_in_bounds() {
    let house = house(&Engine::embedded()).await;
    let before = super::refusals(&house).len();
    let keys: Vec<_> = (0..128).map(|n| format!("{}{n}", "k".repeat(500))).collect();
    house.answer("s_get_many", json!({ "bucket": "b", "keys": keys })).await;
    let noted = super::refusals(&house).split_off(before);
    assert_eq!(noted.len(), 16);
    assert!(noted.iter().all(|(target, _)| target.len() <= 1024), "{noted:?}");
}
