//! From path, query and body to arguments, from ends of calls to answers.

use serde_json::{Value, json};

use super::{ask, problem, said, usual};

#[test]
fn a_route_calls_its_tool() {
    let folder = usual();
    let host = folder.serve();
    let check = |method: &str, target: &str, body: &str, expected: Value| {
        let answer = ask(&host, method, target, body);
        assert_eq!(answer.status, 200, "{method} {target}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(said(&answer), expected, "{method} {target}");
    };
    let result = |value: Value| json!({ "result": value });
    check("GET", "/echo/hi", "", result(json!("hi")));
    check("GET", "/echo/a%2Fb%20c+d%C3%A4", "", result(json!("a/b c+dä")));
    check("GET", "/echo/...", "", result(json!("...")));
    check("POST", "/echo", r#"{"text":"hi"}"#, result(json!("hi")));
    check("POST", "/echo?text=by+query", "", result(json!("by query")));
    check("PUT", "/note/x?of=y", "", result(json!("x y !")));
    check("PUT", "/note/x?of=y", "{}", result(json!("x y !")));
    check("POST", "/whole", " {\"b\":1, \"a\":2.50}", result(json!("{\"b\":1, \"a\":2.50}")));
    let person = json!({ "name": "Ada", "age": 36, "home": null, "nick_names": [] });
    check("POST", "/whole/person", &person.to_string(), person.clone());
    check("POST", "/person", &json!({ "value": person }).to_string(), person);
    // 64 bits, exactly.
    check("GET", "/u64/18446744073709551615", "", result(json!(u64::MAX)));
    check("GET", "/u64/9007199254740993", "", result(json!(9_007_199_254_740_993_u64)));
    check("GET", "/s64/-9223372036854775808", "", result(json!(i64::MIN)));
    check("PATCH", "/u64", r#"{"value":18446744073709551615}"#, result(json!(u64::MAX)));
    check("GET", "/u8?value=255", "", result(json!(255)));
    check("GET", "/f64/-1.5e3", "", result(json!(-1500.0)));
    check("GET", "/f64/NaN", "", result(json!("NaN")));
    check("GET", "/bool/true", "", result(json!(true)));
    check("GET", "/lamp/green", "", result(json!("green")));
    check("GET", "/strings?value=a&value=b%26c&value=", "", result(json!(["a", "b&c", ""])));
    check("GET", "/strings", "", result(json!([])));
    check("DELETE", "/numbers?value=1&value=2", "", result(json!([1, 2])));
    check("GET", "/flags?value=read&value=execute", "", result(json!(["read", "execute"])));
    check("GET", "/option", "", result(json!(null)));
    check("GET", "/option?value=7", "", result(json!(7)));
    check(
        "GET",
        "/shape?value=%7B%22tag%22%3A%22circle%22%2C%22value%22%3A2%7D",
        "",
        json!({ "tag": "circle", "value": 2.0 }),
    );
    check("GET", "/fixed", "", result(json!("fixed")));
}

#[test]
fn bad_input_is_said_with_its_place() {
    let folder = usual();
    let host = folder.serve();
    // Method, target, body; code, and what the detail holds.
    let table = [
        (
            "GET",
            "/u8?value=256",
            "",
            "bad-arguments",
            "`value` in the query: expected an integer from 0 to 255, found 256",
        ),
        ("GET", "/u8?value=-1", "", "bad-arguments", "found -1"),
        ("GET", "/u8?value=1.0", "", "bad-arguments", "found \"1.0\""),
        ("GET", "/u8?value=", "", "bad-arguments", "found \"\""),
        ("GET", "/u8", "", "bad-arguments", "`value` in the query: required, expected an integer"),
        ("GET", "/u8?value=1&value=2", "", "bad-request", "`value` is given more than once"),
        ("GET", "/u8?value=1&v%61lue=2", "", "bad-request", "`value` is given more than once"),
        ("GET", "/u8?value=1&more=2", "", "bad-arguments", "`more` in the query: unknown, expected `value`"),
        (
            "GET",
            "/u64/18446744073709551616",
            "",
            "bad-arguments",
            "`value` in the path: expected an integer from 0 to 18446744073709551615",
        ),
        ("GET", "/u64/1e3", "", "bad-arguments", "found \"1e3\""),
        ("GET", "/u64/5?value=6", "", "bad-request", "`value` is not for the request to give"),
        ("GET", "/s64/9223372036854775808", "", "bad-arguments", "`value` in the path"),
        ("GET", "/s64/-9223372036854775809", "", "bad-arguments", "found \"-9223372036854775809\""),
        ("GET", "/f64/1e400", "", "bad-arguments", "found \"1e400\""),
        ("GET", "/bool/1", "", "bad-arguments", "`value` in the path: expected"),
        ("GET", "/lamp/blue", "", "bad-arguments", "expected one of \"red\", \"yellow\", \"green\""),
        ("GET", "/flags?value=read&value=read", "", "bad-arguments", "`value"),
        ("GET", "/shape?value=%7B", "", "bad-arguments", "`value` in the query: expected an object"),
        ("GET", "/shape?value=circle", "", "bad-arguments", "expected an object"),
        ("DELETE", "/numbers?value=1&value=x", "", "bad-arguments", "`value[1]` in the query: expected an integer"),
        ("GET", "/echo/%00", "", "bad-request", "`text` in the path: it contains the character U+0000"),
        ("GET", "/echo/%C0%AF", "", "bad-request", "`text` in the path: it is not UTF-8"),
        ("GET", "/echo/%ff", "", "bad-request", "not UTF-8"),
        ("GET", "/echo/%", "", "bad-request", "two hexadecimal digits"),
        ("GET", "/echo/%2e%2e", "", "bad-request", "steps through a path"),
        ("GET", "/echo/..", "", "bad-request", "steps through a path"),
        ("GET", "/echo/x?%00=1", "", "bad-request", "the query: it contains"),
        ("GET", "/fixed?text=mine", "", "bad-request", "`text` is not for the request to give"),
        ("PUT", "/note/x?of=y&list=z", "", "bad-request", "`list` is not for the request to give"),
        ("PUT", "/note/x?of=y&self_made=z", "", "bad-request", "`self_made` is not"),
        ("PUT", "/note/x?of=y", r#"{"type":"z"}"#, "bad-request", "`type` is not"),
        ("PUT", "/note/x", "", "bad-arguments", "`of` in the query: required"),
        ("POST", "/echo?text=a", r#"{"text":"a"}"#, "bad-request", "`text` is given more than once"),
        ("POST", "/echo", r#"{"text":"a","text":"a"}"#, "bad-request", "the field `text` is there twice"),
        ("POST", "/echo", r#"{"text":7}"#, "bad-arguments", "`text` in the body: expected a string, found 7"),
        ("POST", "/echo", "[]", "bad-request", "must be a JSON object"),
        ("POST", "/echo", "{text: 1}", "bad-request", "not JSON"),
        ("POST", "/echo", "", "bad-arguments", "`text` in the body: required"),
        ("POST", "/whole", "", "bad-arguments", "the body: required"),
        ("POST", "/whole", "{", "bad-request", "not JSON"),
        ("POST", "/whole/person", r#"{"name":7}"#, "bad-arguments", "`$.name` of the body: expected"),
        ("GET", "/echo/x", "{}", "bad-request", "has no body here"),
        ("DELETE", "/numbers", "{}", "bad-request", "has no body here"),
    ];
    for (method, target, body, code, expected) in table {
        let answer = ask(&host, method, target, body);
        let detail = problem(&answer, 400, code);
        assert!(detail.contains(expected), "{method} {target} {body}: {detail}");
    }
    // For programs, too.
    let answer = said(&ask(&host, "GET", "/u8?value=256", ""));
    let member = |name: &str| answer[name].as_str().unwrap_or_default();
    assert_eq!((member("parameter"), member("in"), member("found")), ("value", "query", "256"), "{answer:#}");
    assert_eq!(member("expected"), "an integer from 0 to 255");
    // Each that was a call is recorded as such; the guest never ran.
    let audit = folder.audit();
    let bad = audit.iter().filter(|line| line["outcome"] == "bad-arguments").count();
    let calls = table.iter().filter(|(.., code, _)| *code == "bad-arguments").count();
    assert_eq!(bad, calls + 1, "{audit:#?}");
    assert_eq!(ask(&host, "GET", "/echo/on", "").status, 200);
}

#[test]
fn every_end_has_an_answer() {
    let folder = super::Folder::new(&format!(
        "[limits]\ndeadline = \"2s\"\nfuel = 50_000_000\n[plugins.outcomes.tool.sleep]\nlimits = {{ deadline = \"200ms\" }}\n{}{}",
        super::guests_of_routes(),
        super::usual_routes()
    ));
    let host = folder.serve();
    let check = |method: &str, target: &str, body: &str, status: u16, code: &str, expected: &str| {
        let detail = problem(&ask(&host, method, target, body), status, code);
        assert!(detail.contains(expected), "{detail}");
    };
    check("GET", "/fail/the%20reason", "", 422, "tool-error", "the reason");
    assert_eq!(said(&ask(&host, "GET", "/fail/x", ""))["error"], "x");
    check("POST", "/run/it/trap", "", 502, "trapped", "the tool crashed");
    check("POST", "/run/it/exit", r#"{"code":3}"#, 502, "exited", "exited with code 1");
    check("POST", "/run/it/spin", "", 502, "out-of-fuel", "limit `fuel`");
    check("POST", "/run/it/big", r#"{"bytes":2000000}"#, 502, "output-too-large", "limit `output`");
    check("POST", "/run/it/sleep", r#"{"ms":60000}"#, 504, "deadline", "limit `deadline`");
    check("GET", "/nothing", "", 404, "not-found", "nothing at this path");
    let audit = folder.audit();
    for outcome in ["tool-error", "trapped", "exited", "out-of-fuel", "output-too-large", "deadline"] {
        let line = audit.iter().find(|line| line["outcome"] == outcome).unwrap_or_else(|| panic!("no {outcome}"));
        let intent = audit.iter().find(|intent| intent["event"] == "call.intent" && intent["call"] == line["call"]);
        let route = intent.expect("an intent")["route"].as_str().expect("a route");
        assert!(route.contains(" /"), "{route}");
    }
}
