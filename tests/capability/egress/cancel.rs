//! S25: calls that nobody waits for any more, in the middle of what the host does for them.

use std::{collections::BTreeSet, fs, time::Duration};

use portcullis_artifacts as guests;
use portcullis_policy::Limits;
use serde_json::{Value, json};

use super::server::{Answer, Names, Server, ok};
use crate::house::{House, built, patient};

/// How often each, which are a thousand together: `PORTCULLIS_CANCEL_ROUNDS`, for long runs.
fn rounds() -> usize {
    std::env::var("PORTCULLIS_CANCEL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// Sockets of this process whose other end has `port`, whatever other tests do beside.
#[cfg(target_os = "linux")]
fn sockets_to(port: u16) -> usize {
    states_to(port).len()
}

/// In which states they are, as the kernel numbers them.
#[cfg(target_os = "linux")]
pub(super) fn states_to(port: u16) -> Vec<String> {
    let links =
        fs::read_dir("/proc/self/fd").expect("descriptors").flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let own: BTreeSet<_> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    let table = fs::read_to_string("/proc/self/net/tcp").expect("sockets");
    let remote = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[2].ends_with(&remote) && own.contains(&format!("socket:[{}]", row[9])))
        .map(|row| row[3].to_owned())
        .collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn s25_a_thousand_calls_that_are_given_up_leave_nothing() {
    let server = Server::start(|seen| match seen.line().split(' ').nth(1).unwrap_or_default() {
        "/silent" => Answer::Stall(Vec::new()),
        "/stall" => Answer::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\non".to_vec()),
        "/endless" => {
            Answer::Endless(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n".to_vec(), vec![0; 1 << 16])
        }
        _ => ok("on"),
    })
    .await;
    let grants = format!("http = [{{ allow = '* http://ok.example:{}/**', private = ['127.0.0.1'] }}]", server.port());
    let guest = |name, path| built(name, path, Limits { concurrency: 1, fuel: None, ..patient() }).granted(&*grants);
    let names = Names::default().with("ok.example", &["127.0.0.1"]);
    let guests = vec![guest("web", guests::WITH_HTTP), guest("hostile", guests::HTTP_HOSTILE)];
    // One slot: a call that stays behind would keep all later ones out.
    let house = House::resolving(1, names.resolve(), guests).await;
    let authority = format!("ok.example:{}", server.port());
    let url = |path| server.url("ok.example", path);
    let calls: [(&str, Value); 5] = [
        ("web_count", json!({ "url": url("/silent") })),
        ("web_count", json!({ "url": url("/stall") })),
        ("web_count", json!({ "url": url("/endless") })),
        ("hostile_flood", json!({ "authority": authority, "path": "/silent", "count": 16 })),
        ("hostile_abandon", json!({ "authority": authority, "path": "/" })),
    ];
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut reached = 0;
    let mut memory = 0;
    for round in 0..rounds() {
        for (tool, arguments) in &calls {
            let before = server.accepted();
            // From before the guest began to the middle of what it asked for.
            let patience = Duration::from_micros(200 << (round % 7));
            let ended = tokio::time::timeout(patience, house.call(tool, arguments.clone())).await;
            assert!(ended.is_err(), "{tool} ended: {ended:?}");
            reached += usize::from(server.accepted() > before);
        }
        let alive = tokio::time::timeout(Duration::from_secs(60), house.alive()).await;
        assert!(alive.is_ok(), "no slot came back in round {round}");
        if round == rounds() / 4 {
            memory = resident();
        }
    }
    assert!(reached > rounds(), "only {reached} calls came as far as the server");
    // What is closed on one side is closed on the other, in a moment.
    let settled = async {
        while server.open() > 0 || sockets_to(server.port()) > 0 || tasks() > 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(60), settled).await;
    let left = (server.open(), sockets_to(server.port()), tasks());
    assert!(settled.is_ok(), "left of {reached}: {left:?} (connections, descriptors, tasks)");
    let grown = resident().saturating_sub(memory);
    // Ten times what is meant: other tests share the process.
    assert!(grown < 640 << 20, "{grown} bytes more than after a quarter of the rounds");
    assert_eq!(super::send(&house, "GET", &url("/"), &[], None).await["body"], "on");
}

/// A server that takes nothing any more: what waits to be written to it does not wait for ever.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn s25_an_upload_to_the_deaf_is_closed_with_its_call() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let grants = format!("http = [{{ allow = '* http://ok.example:{port}/**', private = ['127.0.0.1'] }}]");
    let hostile = built("hostile", guests::HTTP_HOSTILE, patient()).granted(grants);
    let house = House::resolving(1, Names::default().with("ok.example", &["127.0.0.1"]).resolve(), vec![hostile]).await;
    let arguments = json!({ "authority": format!("ok.example:{port}"), "pieces": 1_000_000, "size": 1 << 16 });
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let call = house.call("hostile_upload", arguments.clone());
        let (ended, taken) = tokio::join!(tokio::time::timeout(Duration::from_millis(500), call), listener.accept());
        assert!(ended.is_err(), "{ended:?}");
        deaf.push(taken.expect("a connection"));
    }
    let closed = async {
        while sockets_to(port) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), closed).await.is_ok(), "{} stay open", sockets_to(port));
    house.alive().await;
}

/// Bytes of this process that are in memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
