//! Who may: keys, roles, limits, and what is on record.

use serde_json::{Value, json};

use super::{ask_with, guests_of_routes, problem, route, said, usual_routes};
use crate::{
    agents::key,
    host::{Folder, Served, eventually},
    raw::{self, Answer},
};

const ROLES: &str = "
[roles.reader]
allow = [\"echo_*\", \"types/*\"]
deny = [\"types_id_u64\"]
[roles.worker]
allow = [\"*\"]
[agents.alice]
role = \"reader\"
[agents.bob]
role = \"worker\"
";

fn team(more: &str) -> Folder {
    Folder::new(&format!("{}{}{ROLES}{more}", guests_of_routes(), usual_routes()))
}

fn as_agent(host: &Served, key: &str, method: &str, target: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("Authorization", bearer.as_str())];
    headers.extend((!body.is_empty()).then_some(("Content-Type", "application/json")));
    ask_with(host, method, target, &headers, body.as_bytes())
}

/// All that a client can tell two answers apart by.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date")).cloned();
    (answer.status, headers.collect(), answer.body.clone())
}

#[test]
fn nobody_comes_in_without_a_key() {
    let folder = team("");
    let (alice, id) = key(&folder, "alice");
    let host = folder.serve();
    let bare = |target: &str| ask_with(&host, "GET", target, &[], b"");
    let refused = bare("/echo/hi");
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"portcullis\""));
    // Without a key one does not learn which routes there are, nor what they are for.
    assert_eq!(seen(&refused), seen(&bare("/nothing")));
    assert_eq!(seen(&refused), seen(&bare("/openapi.json")));
    assert_eq!(seen(&refused), seen(&bare("/echo/%00")));
    let wrong = as_agent(&host, "pck_wrong", "GET", "/echo/hi", "");
    assert_eq!(wrong.status, 401);
    assert!(wrong.header("www-authenticate").is_some_and(|challenge| challenge.contains("invalid_token")));
    let in_address = bare("/echo/hi?access_token=x");
    assert_eq!(in_address.status, 400, "{in_address:?}");
    assert_eq!(as_agent(&host, &alice, "GET", "/echo/hi", "").status, 200);
    assert!(folder.run(&["key", "revoke", &id]).status.success());
    assert_eq!(as_agent(&host, &alice, "GET", "/echo/hi", "").status, 401);
    assert!(!folder.audit().iter().any(|line| line["event"] == "call.intent" && line["principal"] != "alice"));
}

/// A4: what one may not call is not there, whatever one asks of it.
#[test]
fn a_route_that_one_may_not_use_is_not_there() {
    let folder = team("");
    let (alice, bob) = (key(&folder, "alice").0, key(&folder, "bob").0);
    let host = folder.serve();
    let as_alice = |method: &str, target: &str, body: &str| seen(&as_agent(&host, &alice, method, target, body));
    for (method, target, body, nowhere) in [
        ("GET", "/u64/5", "", "/nothing/5"),
        ("HEAD", "/u64/5", "", "/nothing/5"),
        ("POST", "/u64/5", "", "/nothing/5"),
        ("OPTIONS", "/u64/5", "", "/nothing/5"),
        // What would be wrong with it is not said either.
        ("GET", "/u64/x", "", "/nothing/x"),
        ("GET", "/u64/%00", "", "/nothing/%00"),
        ("GET", "/u64/5?more=1", "", "/nothing/5?more=1"),
        ("PATCH", "/u64", "{", "/nothing"),
        ("PATCH", "/u64", r#"{"value":1}"#, "/nothing"),
        ("GET", "/fail/x", "", "/nothing/x"),
    ] {
        let found = as_alice(method, target, body);
        assert_eq!(found, as_alice(method, nowhere, body), "{method} {target}");
        assert_eq!(found.0, 404);
    }
    assert_eq!(as_agent(&host, &bob, "GET", "/u64/5", "").status, 200);
    // On record it is what it was: denied, by the rule, on the route.
    let audit = folder.audit();
    let denied: Vec<_> = audit.iter().filter(|line| line["outcome"] == "denied").collect();
    assert!(denied.len() >= 4, "{audit:#?}");
    assert!(denied.iter().any(|line| line["rule"].as_str().is_some_and(|rule| rule.contains("types_id_u64"))));
    let intents =
        |route: &str| audit.iter().filter(|line| line["route"] == route && line["principal"] == "alice").count();
    assert!(intents("GET /u64/{value}") >= 2 && intents("GET /fail/{reason}") == 1, "{audit:#?}");
}

#[test]
fn the_description_is_of_what_one_sees() {
    let folder = team("");
    let (alice, bob) = (key(&folder, "alice").0, key(&folder, "bob").0);
    let host = folder.serve();
    let described = |key: &str| said(&as_agent(&host, key, "GET", "/openapi.json", ""));
    let (hers, his) = (described(&alice), described(&bob));
    let has = |document: &Value, path: &str| document["paths"].get(path).is_some();
    assert!(has(&hers, "/echo/{text}") && has(&his, "/echo/{text}"));
    for path in ["/u64/{value}", "/u64", "/fail/{reason}", "/run/it/spin"] {
        assert!(!has(&hers, path) && has(&his, path), "{path}");
    }
    let text = hers.to_string();
    assert!(!text.contains("id_u64") && !text.contains("outcomes"), "nothing of it, in components neither");
    assert_eq!(hers["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    assert!(hers["paths"]["/echo"]["post"]["responses"].get("401").is_some());
    let etag = |key: &str| as_agent(&host, key, "GET", "/openapi.json", "").header("etag").map(str::to_owned);
    assert!(etag(&alice).is_some() && etag(&alice) != etag(&bob) && etag(&alice) == etag(&alice));
}

#[test]
fn an_agent_has_so_many_calls_by_routes_too() {
    let folder = team("calls-per-minute = 3\nconcurrency = 1\n");
    let bob = key(&folder, "bob").0;
    let host = folder.serve();
    let sleeping = raw::open(
        &host.address,
        "POST",
        "/run/it/sleep",
        &[("Authorization", &format!("Bearer {bob}")), ("Content-Type", "application/json")],
        br#"{"ms":600000}"#,
    );
    eventually(|| folder.audit().iter().any(|line| line["tool"] == "outcomes_sleep"));
    let refused = as_agent(&host, &bob, "GET", "/echo/hi", "");
    assert!(problem(&refused, 429, "limited").contains("1 are running already"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(said(&refused)["limit"], "concurrency");
    // A client that goes away takes its guest along.
    drop(sleeping);
    eventually(|| folder.audit().iter().any(|line| line["outcome"] == "cancelled"));
    for _ in 0..2 {
        assert_eq!(as_agent(&host, &bob, "GET", "/echo/hi", "").status, 200);
    }
    let refused = as_agent(&host, &bob, "GET", "/echo/hi", "");
    assert!(problem(&refused, 429, "limited").contains("3 a minute"));
    let after: u64 = refused.header("retry-after").and_then(|after| after.parse().ok()).expect("seconds");
    assert!((1..=20).contains(&after), "{after}");
    // What there is not is no call.
    assert_eq!(as_agent(&host, &bob, "GET", "/nothing", "").status, 404);
}

/// The most particular route that one sees is meant.
#[test]
fn a_hidden_route_hides_no_other() {
    let more = [
        route("GET", "/u/{text}", "echo_echo", ""),
        route("GET", "/u/me", "types_id_u64", "arguments = { value = { value = 7 } }"),
    ];
    let folder = Folder::new(&format!("{}{}{ROLES}", guests_of_routes(), more.concat()));
    let (alice, bob) = (key(&folder, "alice").0, key(&folder, "bob").0);
    let host = folder.serve();
    assert_eq!(said(&as_agent(&host, &bob, "GET", "/u/me", "")), json!({ "result": 7 }));
    assert_eq!(said(&as_agent(&host, &alice, "GET", "/u/me", "")), json!({ "result": "me" }));
}
