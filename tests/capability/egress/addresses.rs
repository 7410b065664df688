//! E7 to E12, E20: a granted name whose addresses are not the Internet's, and look-ups that fail.

use std::time::Duration;

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use serde_json::json;

use super::{
    denied, get,
    server::{Answer, Names, Server, ok},
    told,
};
use crate::house::{House, built, deadline, failed, patient};

const PROHIBITED: &str = "failed: ErrorCode::DestinationIpProhibited";

/// A GET of a granted name that has `addresses`, with `private` ranges open.
async fn check(cases: &[(&[&str], &str, &str)]) {
    let server = Server::start(|_| ok("on")).await;
    let port = server.port();
    let (mut names, mut entries) = (Names::default(), Vec::new());
    for (index, (addresses, private, _)) in cases.iter().enumerate() {
        names = names.with(&format!("n{index}.example"), addresses);
        entries.push(format!("{{ allow = 'GET http://n{index}.example:{port}/**', private = [{private}] }}"));
    }
    let web = built("web", guests::WITH_HTTP, patient()).granted(format!("http = [{}]", entries.join(",\n")));
    let house = House::resolving(2, names.resolve(), vec![web]).await;
    for (index, (addresses, private, expected)) in cases.iter().enumerate() {
        let before = (names.asked().len(), server.accepted());
        let url = server.url(&format!("n{index}.example"), "/");
        assert_eq!(get(&house, &url).await, *expected, "{addresses:?} with {private:?} open");
        assert_eq!(names.asked().len(), before.0 + 1, "one look-up");
        assert_eq!(server.accepted() - before.1, usize::from(*expected == "200"), "{addresses:?}");
        if *expected == PROHIBITED {
            let (target, reason) = denied(&house).pop().expect("a refusal");
            assert_eq!(target, format!("GET {url}"));
            assert!(reason.starts_with("its host has the address "), "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e8_e9_any_address_that_is_not_global_refuses_the_name() {
    check(&[
        (&["127.0.0.1"], "", PROHIBITED),
        (&["10.0.0.1"], "", PROHIBITED),
        (&["192.168.1.1"], "", PROHIBITED),
        (&["0.0.0.0"], "", PROHIBITED),
        (&["::"], "", PROHIBITED),
        (&["::1"], "", PROHIBITED),
        (&["::ffff:127.0.0.1"], "", PROHIBITED),
        (&["8.8.8.8", "127.0.0.1"], "", PROHIBITED),
        (&["127.0.0.1", "8.8.8.8"], "", PROHIBITED),
        // The first four are tried, and all are checked.
        (&["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", "10.0.0.1"], "'127.0.0.0/8'", PROHIBITED),
        (&["127.0.0.1", "10.0.0.1"], "'127.0.0.0/8'", PROHIBITED),
        (&["127.0.0.1"], "'10.0.0.0/8', '127.0.0.2'", PROHIBITED),
        (&["127.0.0.1"], "'127.0.0.0/8'", "200"),
        (&["127.0.0.1"], "'127.0.0.1'", "200"),
        (&["::ffff:127.0.0.1"], "'127.0.0.0/8'", "200"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e11_e12_metadata_and_addresses_that_carry_another() {
    let cases: Vec<&[&str]> = vec![
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["100.100.100.200"],
        &["192.0.0.192"],
        &["64:ff9b::7f00:1"],
        &["64:ff9b:1::7f00:1"],
        &["2002:7f00:1::"],
        &["2001:0:7f00:1::"],
        &["::7f00:1"],
        &["::ffff:7f00:1"],
        &["fe80::1"],
        &["ff02::1"],
        &["224.0.0.1"],
        &["255.255.255.255"],
    ];
    check(&cases.into_iter().map(|addresses| (addresses, "", PROHIBITED)).collect::<Vec<_>>()).await;
}

/// A literal address needs its grant, and its range if it is not global.
#[tokio::test(flavor = "multi_thread")]
async fn e7_a_literal_address_needs_its_grant_and_its_range() {
    let server = Server::start(|_| ok("on")).await;
    let port = server.port();
    for (grant, expected) in [
        (format!("'GET http://127.0.0.1:{port}/'"), PROHIBITED),
        (format!("{{ allow = 'GET http://127.0.0.1:{port}/', private = ['10.0.0.0/8'] }}"), PROHIBITED),
        (format!("{{ allow = 'GET http://127.0.0.1:{port}/', private = ['127.0.0.1'] }}"), "200"),
        (format!("{{ allow = 'GET http://*.example:{port}/', private = ['127.0.0.1'] }}"), super::DENIED),
    ] {
        let web = built("web", guests::WITH_HTTP, patient()).granted(format!("http = [{grant}]"));
        let names = Names::default();
        let house = House::resolving(1, names.resolve(), vec![web]).await;
        assert_eq!(get(&house, &server.url("127.0.0.1", "/")).await, expected, "{grant}");
        assert_eq!(names.asked(), Vec::<String>::new(), "an address is not looked up");
    }
}

/// The second answer is another one, and is never asked for: what was checked is what is connected to.
#[tokio::test(flavor = "multi_thread")]
async fn e10_rebinding_finds_one_look_up_only() {
    let good = Server::start(|_| Answer::Close(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())).await;
    let names = Names::default().in_turn("twice.example", &[&["127.0.0.1"], &["127.0.0.2"]]);
    // The same port at another address, where the second answer leads.
    let bad = Server::start_at(&format!("127.0.0.2:{}", good.port()), |_| ok("bad")).await;
    let grants =
        format!("http = [{{ allow = 'GET http://twice.example:{}/**', private = ['127.0.0.1'] }}]", good.port());
    let web = built("web", guests::WITH_HTTP, patient()).granted(grants);
    let house = House::resolving(1, names.resolve(), vec![web]).await;
    let url = good.url("twice.example", "/");
    assert_eq!(get(&house, &url).await, "200");
    assert_eq!(names.asked().len(), 1);
    assert_eq!(get(&house, &url).await, PROHIBITED, "a new connection is a new look-up, and is checked anew");
    assert_eq!((good.accepted(), bad.accepted()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn e20_look_ups_that_fail_or_never_end() {
    let none: &[&str] = &[];
    let names = Names::default().with("none.example", none).with("late.example", &["127.0.0.1"]);
    let names = names.with("crowd.example", &["127.0.0.1"; 65]);
    let grants = "http = ['GET http://**.example/**']";
    let limits = deadline(Duration::from_secs(2));
    let web = || built("web", guests::WITH_HTTP, patient()).granted(grants);
    let late = built("late", guests::WITH_HTTP, limits).granted(grants);
    let house = House::resolving(2, names.resolve(), vec![web(), late]).await;
    let error = "failed: ErrorCode::DnsError(DnsErrorPayload { rcode: None, info-code: None })";
    for name in ["none", "unknown", "crowd"] {
        assert_eq!(get(&house, &format!("http://{name}.example/")).await, error, "{name}");
    }
    let hurried =
        json!({ "method": "GET", "url": "http://slow.example/", "headers": [], "options": { "connect": 1_000_000 } });
    assert_eq!(told(&super::answer(&house, "web_send", hurried).await), "failed: ErrorCode::DnsTimeout");
    // The deadline of the call ends it before.
    let late = house.call("late_get", json!({ "url": "http://slow.example/" })).await;
    assert_eq!(failed("late_get", late).outcome(), Outcome::Deadline);
    house.alive().await;
}
