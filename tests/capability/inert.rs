//! S27, S31, S34: what a guest may look for, and that it is not there without a grant.

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use serde_json::{Value, json};

use crate::house::{House, built, patient};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ambient() {
    let house =
        House::open(2, vec![built("look", guests::OUTCOMES, patient()), built("web", guests::WITH_HTTP, patient())])
            .await;
    for (tool, arguments, expected) in [
        ("look_args", json!({}), json!([])),
        ("look_env", json!({}), json!([])),
        ("look_cwd", json!({}), Value::Null),
        ("look_read_stdin", json!({}), json!("")),
        ("look_list_root", json!({}), json!({ "err": "No such file or directory (os error 44)" })),
        ("look_connect", json!({ "addr": "127.0.0.1:22" }), json!({ "err": "Permission denied (os error 2)" })),
        ("look_connect", json!({ "addr": "[::1]:22" }), json!({ "err": "Permission denied (os error 2)" })),
        ("look_connect", json!({ "addr": "192.0.2.1:80" }), json!({ "err": "Permission denied (os error 2)" })),
        (
            "look_resolve",
            json!({ "host": "localhost" }),
            json!({ "err": "failed to lookup address information: Non-recoverable error" }),
        ),
        ("web_get", json!({ "url": "http://127.0.0.1:1/" }), json!({ "err": "failed: ErrorCode::HttpRequestDenied" })),
        ("web_get", json!({ "url": "https://example.com/" }), json!({ "err": "failed: ErrorCode::HttpRequestDenied" })),
        ("web_get", json!({ "url": "ftp://example.com/" }), json!({ "err": "refused: ErrorCode::HttpProtocolError" })),
    ] {
        assert_eq!(house.answer(tool, arguments.clone()).await, expected, "{tool} {arguments}");
        house.alive().await;
    }
}

/// No call sees what another left: not in turn, not beside it, not after one that crashed.
#[tokio::test(flavor = "multi_thread")]
async fn every_sandbox_is_fresh() {
    let house = House::open(4, vec![built("fresh", guests::OUTCOMES, patient())]).await;
    for _ in 0..20 {
        let counter = || house.answer("fresh_counter", json!({}));
        let counted = tokio::join!(counter(), counter(), counter(), counter());
        assert_eq!(counted, (json!(1), json!(1), json!(1), json!(1)));
    }
    house.check("fresh_trap", json!({}), Outcome::Trapped, "crashed").await;
    assert_eq!(house.answer("fresh_counter", json!({})).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_does_not_have_is_refused_at_load() {
    let needy = |import: &str| {
        crate::house::wat(
            "needy",
            format!(
                r#"(component (import "{import}" (instance $n (export "f" (func))))
                     (core func $f (canon lower (func $n "f")))
                     (core module $m (import "host" "f" (func $f)) (func (export "f") call $f))
                     (core instance $i (instantiate $m (with "host" (instance (export "f" (func $f))))))
                     (func (export "run") (canon lift (core func $i "f"))))"#
            ),
            patient(),
        )
    };
    let unknown = |import: &str| format!("it imports what this host does not have: {import}");
    let ungranted = |import: &str| format!("it imports `{import}`, which nothing grants");
    for (import, told) in [
        ("acme:unknown/thing@1.0.0", &unknown as &dyn Fn(&str) -> String),
        ("wasi:keyvalue/store@0.2.0-draft", &ungranted),
        ("wasi:keyvalue/store@0.2.0-draft2", &ungranted),
        ("wasi:keyvalue/store@0.2.0-draft3", &unknown),
        ("wasi:config/store@0.2.0-draft", &unknown),
        ("portcullis:host/kv@0.1.0", &ungranted),
        ("portcullis:host/kv@0.2.0", &unknown),
        ("wasi:io/streams@0.3.0", &unknown),
    ] {
        let house = House::open(1, vec![needy(import)]).await;
        let (state, reason, _) = house.status("needy");
        assert_eq!(state, "broken", "{import}");
        assert_eq!(reason, told(import));
        house.alive().await;
    }
    // Of an interface that is there, a function that is not.
    let house = House::open(1, vec![needy("wasi:cli/environment@0.2.0")]).await;
    let (state, reason, _) = house.status("needy");
    assert_eq!(state, "broken");
    assert!(reason.contains("wasi:cli/environment@0.2.0"), "{reason}");
}
