//! What is configured against what was approved: a widening waits, a narrowing holds at once. P9, and limits.

use serde_json::{Value, json};

use super::{
    approve, both, called, configure, digest, done, events, house_with, listed,
    made::{answers, spinning},
    put, quarantined, refused, stands, tools, unknown, within_bound,
};
use crate::{
    host::{Folder, Served, stderr},
    raw::{self, Session, heard},
};

/// What clients are told of `first_answer`.
fn annotations(host: &Served) -> Value {
    listed(host).into_iter().find(|tool| tool["name"] == "first_answer").expect("the tool")["annotations"].clone()
}

/// A configuration that was approved, what it becomes, and the first line that `diff` says of it.
fn check_widening(approved: &str, configured: &str, line: &str) {
    let folder = house_with(approved);
    let host = folder.serve();
    let (before, pinned) = (annotations(&host), digest(&folder));
    drop(host);
    configure(&folder, &both(configured));
    let status = stands(&folder, "pending review");
    assert_eq!((&status["served"], &status["digest"]), (&pinned.as_str().into(), &pinned.as_str().into()));
    let diff = done(&folder, &["diff", "first"]);
    assert!(diff.starts_with(line), "no {line:?} first in:\n{diff}");
    assert!(diff.contains(&format!("To approve it: portcullis approve first --sha256 {}", &pinned[..12])), "{diff}");
    let host = folder.serve();
    assert_eq!((called(&host, "first_answer"), annotations(&host)), (1.into(), before), "the old grants go on");
    assert_eq!(called(&host, "other_answer"), 2);
    drop(host);
    // As whole an approval as the first one.
    refused(&folder, &["approve", "first"], &["needs the digest"]);
    refused(&folder, &["approve", "first", "--sha256", &pinned[..11]], &["expected 12 to 64 hex digits"]);
    stands(&folder, "pending review");
    let approvals = events(&folder, "plugin.approved").len();
    approve(&folder);
    stands(&folder, "approved");
    assert_eq!(events(&folder, "plugin.approved").len(), approvals + 1);
    assert!(done(&folder, &["diff", "first"]).starts_with("nothing differs"));
    // Back to what it was: less is no matter of approval.
    configure(&folder, &both(approved));
    stands(&folder, "approved");
}

#[test]
fn p9_one_more_host_waits() {
    check_widening(
        "[plugins.first.grants]\nhttp = ['GET https://a.example/**']",
        "[plugins.first.grants]\nhttp = ['GET https://a.example/**', 'GET https://b.example/**']",
        "+ http: GET https://b.example",
    );
    check_widening("", "[plugins.first.grants]\nhttp = ['GET https://a.example/**']", "+ http: GET https://a.example");
}

#[test]
fn p9_one_more_directory_or_variable_waits() {
    check_widening(
        "[plugins.first.grants]\nfiles = [{ host = './data', guest = '/data', access = 'read' }]",
        "[plugins.first.grants]\nfiles = [{ host = './data', guest = '/data', access = 'read-write' }]",
        "+ files: ",
    );
    check_widening("", "[plugins.first.grants]\nenv = { UNITS = 'metric' }", "+ env: UNITS");
}

#[test]
fn p9_a_higher_limit_waits() {
    check_widening("[plugins.first.limits]\nmemory = '8MiB'", "[plugins.first.limits]\nmemory = '16MiB'", "+ memory: ");
    check_widening("", "[plugins.first.tool.answer.limits]\ndeadline = '60s'", "+ answer: deadline: ");
}

#[test]
fn a_plugin_that_asks_for_less_needs_no_approval() {
    let folder = house_with("[plugins.first.grants]\nenv = { UNITS = 'metric', MORE = 'x' }");
    let host = folder.serve();
    configure(
        &folder,
        &both("[plugins.first.limits]\ndeadline = '2s'\n[plugins.first.grants]\nenv = { UNITS = 'metric' }"),
    );
    host.logged("the configuration changed");
    stands(&folder, "approved");
    let diff = done(&folder, &["diff", "first"]);
    assert!(diff.contains("- env: MORE") && diff.contains("holds at once"), "{diff}");
    assert_eq!(called(&host, "first_answer"), 1);
}

/// A house in which `first` spins until its fuel, of this many units, is used up.
fn spinner(fuel: &str) -> Folder {
    let folder = quarantined(&format!("[plugins.first.limits]\ndeadline = '60s'\nfuel = {fuel}"));
    put(&folder, "first.wasm", &spinning());
    folder.approve_all();
    folder
}

/// The outcome of the latest call, and its fuel.
fn spent(folder: &Folder) -> (Value, u64) {
    let outcome = events(folder, "call.outcome").pop().expect("a call");
    (outcome["outcome"].clone(), outcome["fuel"].as_u64().expect("fuel"))
}

#[test]
fn p9_the_approved_limit_holds_while_a_higher_one_waits() {
    let folder = spinner("20_000_000");
    configure(&folder, &both("[plugins.first.limits]\ndeadline = '60s'\nfuel = 2_000_000_000"));
    stands(&folder, "pending review");
    let host = folder.serve();
    called(&host, "first_answer");
    let (outcome, fuel) = spent(&folder);
    assert_eq!(outcome, "out-of-fuel");
    assert!((1..=21_000_000).contains(&fuel), "{fuel}");
    // It is not approved by a running host either.
    approve(&folder);
    within_bound("the approved limit holds", || {
        called(&host, "first_answer");
        spent(&folder).1 > 1_000_000_000
    });
}

#[test]
fn a_lower_limit_holds_at_the_next_call() {
    let folder = spinner("2_000_000_000");
    let host = folder.serve();
    called(&host, "first_answer");
    assert!(spent(&folder).1 > 1_000_000_000);
    configure(&folder, &both("[plugins.first.limits]\ndeadline = '60s'\nfuel = 20_000_000"));
    within_bound("the lower limit holds", || {
        called(&host, "first_answer");
        spent(&folder).1 <= 21_000_000
    });
    stands(&folder, "approved");
    assert_eq!(called(&host, "other_answer"), 2);
}

#[test]
fn a_tool_that_is_chosen_no_longer_is_gone_at_once() {
    let folder = quarantined("");
    put(&folder, "first.wasm", &answers(&[("answer", 1), ("question", 4)]));
    folder.approve_all();
    let host = folder.serve();
    assert_eq!(called(&host, "first_question"), 4);
    let session = Session::open(&host.address);
    let mut told = session.listen();
    configure(&folder, &both("tools = ['answer']"));
    heard(&mut told, "notifications/tools/list_changed");
    unknown(&host, "first_question");
    assert_eq!(tools(&host), ["first_answer", "other_answer"]);
    stands(&folder, "approved");
    // It was approved, so that it comes back without a word.
    configure(&folder, &both(""));
    heard(&mut told, "notifications/tools/list_changed");
    assert_eq!(called(&host, "first_question"), 4);
}

#[test]
fn p17_annotations_are_what_the_grants_make_them_or_stricter() {
    let check = |configured: &str, expected: Value| {
        let folder = house_with(configured);
        let host = folder.serve();
        let found = annotations(&host);
        for (hint, value) in expected.as_object().expect("hints") {
            assert_eq!(&found[hint], value, "{configured}: {found:#}");
        }
        assert_eq!(called(&host, "other_answer"), 2);
    };
    check("", json!({ "readOnlyHint": true, "openWorldHint": false }));
    let http = "[plugins.first.grants]\nhttp = ['GET https://a.example/**']";
    check(http, json!({ "readOnlyHint": false, "openWorldHint": true }));
    let files = "[plugins.first.grants]\nfiles = [{ host = './data', guest = '/data', access = 'read-write' }]";
    check(files, json!({ "readOnlyHint": false }));
    let stricter = "[plugins.first.tool.answer.annotations]\nread-only-hint = false\ndestructive-hint = true";
    check(stricter, json!({ "readOnlyHint": false, "destructiveHint": true }));

    let milder = |configured: &str, hint: &str| {
        let folder = quarantined(configured);
        let output = folder.run(&["list"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("tool.answer.annotations") && said.contains(hint), "{said}");
    };
    milder(
        &format!("{http}\n[plugins.first.tool.answer.annotations]\nread-only-hint = true"),
        "hint: leave `read-only-hint` out",
    );
    milder(
        &format!("{http}\n[plugins.first.tool.answer.annotations]\nopen-world-hint = false"),
        "hint: leave `open-world-hint` out",
    );
}

#[test]
fn p17_a_milder_hint_never_reaches_a_running_host() {
    let folder = house_with("[plugins.first.grants]\nhttp = ['GET https://a.example/**']");
    let host = folder.serve();
    let before = annotations(&host);
    let milder = "[plugins.first.grants]\nhttp = ['GET https://a.example/**']\n[plugins.first.tool.answer.annotations]\nread-only-hint = true";
    configure(&folder, &both(milder));
    host.logged("the configuration is not valid");
    assert_eq!((annotations(&host), called(&host, "first_answer")), (before, 1.into()));
    let ready = raw::answer(raw::open(&host.address, "GET", "/healthz", &[], b""));
    assert_eq!(ready.status, 200);
}
