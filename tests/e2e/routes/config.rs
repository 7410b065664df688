//! What an operator writes: refused with the line and the mend, taken up without a restart.

use std::fs;

use super::{ask, guests_of_routes, problem, route, said, usual_routes};
use crate::host::{Folder, eventually, stderr};

#[test]
fn routes_are_checked_when_they_are_read() {
    let good = route("GET", "/a/{x}", "echo_echo", "arguments = { text = \"path.x\" }");
    let check = |routes: &str, expected: &[&str]| {
        let output = Folder::unapproved(&format!("{good}{routes}")).run(&["check"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{routes}: {said}");
        for text in ["`portcullis.toml`", "line ", "hint: "].iter().chain(expected) {
            assert!(said.contains(text), "{routes}: no {text:?} in {said}");
        }
    };
    check(&route("get", "/b", "t", ""), &["line 6", "`routes` no. 2: `method`", "method = \"GET\""]);
    check(&route("GET", "b", "t", ""), &["`routes` no. 2: `path`", "path = \"/b\""]);
    check(&route("GET", "/mcp/x", "t", ""), &["`/mcp` is the host's own"]);
    check(&route("GET", "/openapi.json", "t", ""), &["the host's own"]);
    check(&route("GET", "/{x}", "t", ""), &["in the first place"]);
    check(&route("GET", "/a/{y}", "t", ""), &["`GET /a/{y}` wants what `GET /a/{x}` wants already"]);
    check(&route("POST", "/a/{y}", "t", ""), &["other names for the same parameters"]);
    check(&route("GET", "/b/{y}/{y}", "t", ""), &["the parameter `y` is there twice"]);
    check(&route("GET", "/b", "no tool", ""), &["`routes` no. 2: `tool`"]);
    check(&route("GET", "/b", "t", "arguments = { k = \"path.z\" }"), &["which the path does not have"]);
    check(&route("GET", "/b", "t", "arguments = { k = \"shared\" }"), &["k = { value = \"shared\" }"]);
    check(&route("GET", "/b", "t", "arguments = { k = \"body.k\" }"), &["GET has none"]);
    check(&route("GET", "/b", "t", "arguments = { k = { valeu = 1 } }"), &["{ value = CONSTANT }"]);
    check(&route("GET", "/b", "t", "arguments = { k = 5 }"), &["{ value = CONSTANT }"]);
    check(&route("GET", "/b", "t", "argument = {}"), &["unknown field `argument`", "write `arguments`"]);
    check("[[routes]]\nmethod = \"GET\"\npath = \"/b\"\n", &["missing field `tool`"]);
}

#[test]
fn a_route_that_leads_nowhere_says_so() {
    let routes = [
        route("GET", "/echo/{words}", "echo_echo", ""),
        route("GET", "/other", "echo_eko", ""),
        route("GET", "/good/{text}", "echo_echo", ""),
        route("GET", "/constant", "types_id_u8", "arguments = { value = { value = \"x\" } }"),
    ];
    let folder = Folder::new(&format!("{}{}", guests_of_routes(), routes.concat()));
    let checked = folder.run(&["check"]);
    let said_so = stderr(&checked);
    assert_eq!(checked.status.code(), Some(1), "{said_so}");
    for text in [
        "`GET /echo/{words}` answers 404",
        "takes no argument `words`",
        "arguments = { text = \"path.words\" }",
        "its constant `value`",
    ] {
        assert!(said_so.contains(text), "no {text:?} in {said_so}");
    }
    let doctor = folder.run(&["doctor"]);
    let findings = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(findings.contains("fault the route `GET /other` answers 404: no tool `echo_eko` is served"), "{findings}");
    assert!(findings.contains("fault the route `GET /echo/{words}` answers 404"), "{findings}");
    let host = folder.serve();
    for target in ["/echo/hi", "/other", "/constant"] {
        problem(&ask(&host, "GET", target, ""), 404, "not-found");
    }
    assert_eq!(ask(&host, "GET", "/good/hi", "").status, 200);
    let document = said(&ask(&host, "GET", "/openapi.json", ""));
    let paths: Vec<_> = document["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(paths, ["/good/{text}"]);
    // What was so at the start is said before the address; what comes to be so is said too.
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, format!("{config}{}", route("GET", "/more/{word}", "echo_echo", ""))).expect("a configuration");
    let line = host.logged("`GET /more/{word}` answers 404");
    assert!(line.contains("takes no argument `word`") && line.contains("path.word"), "{line}");
}

#[test]
fn routes_come_and_go_without_a_restart() {
    let folder = Folder::new(&guests_of_routes());
    let host = folder.serve();
    let path = folder.path().join("portcullis.toml");
    let bare = fs::read_to_string(&path).expect("a configuration");
    let nothing = ask(&host, "GET", "/echo/hi", "");
    assert_eq!((nothing.status, &*nothing.body), (404, ""));
    assert_eq!(ask(&host, "GET", "/openapi.json", "").status, 404);
    fs::write(&path, format!("{bare}{}", usual_routes())).expect("a configuration");
    eventually(|| ask(&host, "GET", "/echo/hi", "").status == 200);
    let before = ask(&host, "GET", "/openapi.json", "");
    let tag = before.header("etag").expect("a tag").to_owned();
    let again = super::ask_with(&host, "GET", "/openapi.json", &[("If-None-Match", &tag)], b"");
    assert_eq!((again.status, &*again.body), (304, ""));
    // A fault leaves what there is.
    fs::write(&path, format!("{bare}{}", route("GET", "/mcp", "t", ""))).expect("a configuration");
    host.logged("the host's own");
    assert_eq!(ask(&host, "GET", "/echo/hi", "").status, 200);
    // A plugin that is switched off takes its routes along.
    fs::write(&path, format!("{bare}{}", usual_routes())).expect("a configuration");
    assert!(folder.run(&["disable", "echo"]).status.success());
    eventually(|| ask(&host, "GET", "/echo/hi", "").status == 404);
    let document = said(&ask(&host, "GET", "/openapi.json", ""));
    assert!(document["paths"].get("/echo/{text}").is_none() && document["paths"].get("/u8").is_some());
    fs::write(&path, bare).expect("a configuration");
    eventually(|| ask(&host, "GET", "/u8?value=1", "").body.is_empty());
}
