//! E21: a secret goes where its grant says, and is read by nobody else.

use std::sync::Arc;

use portcullis_artifacts as guests;
use portcullis_policy::SecretSource;

use super::{
    get, send,
    server::{Answer, Names, Server, ok},
};
use crate::house::{Guest, House, built, patient};

const CANARY: &str = "canary-7f3a9b-hunter2";

/// Answers with all that it was sent, in every place that a guest reads, cut into pieces of `size` bytes.
fn echo(size: usize) -> impl Fn(&super::server::Seen) -> Answer + Send + Sync {
    move |seen| {
        let head = seen.head.replace("\r\n", "|");
        let key = seen.headers("x-key").first().copied().unwrap_or("none").to_owned();
        let mut pieces = vec![format!("HTTP/1.1 200 OK\r\nx-echo: a {key} b\r\nx-{key}: 1\r\ntrailer: x-late\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes()];
        let body = format!("{head}{key}{key}!");
        pieces.extend(
            body.as_bytes()
                .chunks(size)
                .map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()),
        );
        pieces.push(format!("0\r\nx-late: {key}\r\n\r\n").into_bytes());
        Answer::Pieces(pieces)
    }
}

async fn open(servers: &[&Server], source: SecretSource) -> (House, Names) {
    let entries = servers.iter().flat_map(|server| {
        ["a", "b"].map(|name| {
            format!("{{ allow = '* http://{name}.example:{}/**', private = ['127.0.0.1'] }}", server.port())
        })
    });
    let grants = format!(
        "http = [{}]\nsecrets = [{{ name = 'key', header = 'X-Key', to = 'http://a.example:{}' }}]",
        entries.collect::<Vec<_>>().join(", "),
        servers[0].port()
    );
    let web: Guest = built("web", guests::WITH_HTTP, patient()).granted(grants).with_secret("key", source);
    let names = Names::default().with("a.example", &["127.0.0.1"]).with("b.example", &["127.0.0.1"]);
    (House::resolving(2, names.resolve(), vec![web]).await, names)
}

fn file(folder: &tempfile::TempDir, text: &str) -> SecretSource {
    let path = folder.path().join(format!("key{}", text.len()));
    std::fs::write(&path, text).expect("a file");
    SecretSource::File(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn e21_a_secret_goes_to_its_origin_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, other) = (Server::start(|_| ok("on")).await, Server::start(|_| ok("on")).await);
    let (house, _) = open(&[&server, &other], file(&folder, &format!("{CANARY}\n"))).await;
    let own = ["x-key: mine", "x-key: mine too", "accept-encoding: gzip, br"];
    for (server, host, key, encoding) in [
        (&server, "a.example", CANARY, "identity"),
        (&server, "b.example", "mine", "gzip, br"),
        (&other, "a.example", "mine", "gzip, br"),
    ] {
        assert_eq!(send(&house, "GET", &server.url(host, "/"), &own, None).await["status"], 200);
        let seen = server.seen().pop().expect("a request");
        assert_eq!(seen.headers("x-key")[0], key, "{host}");
        assert_eq!(seen.headers("x-key").len(), if key == CANARY { 1 } else { 2 }, "{host}");
        assert_eq!(seen.headers("accept-encoding"), [encoding], "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e21_an_echo_is_masked_wherever_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let stars = "*".repeat(CANARY.len());
    for size in [1, 2, 7, 20, 21, 10_000] {
        let server = Server::start(echo(size)).await;
        let (house, _) = open(&[&server], file(&folder, CANARY)).await;
        let result = send(&house, "POST", &server.url("a.example", "/"), &[], Some("")).await;
        let told = result.to_string();
        assert!(!told.contains(CANARY) && !told.contains("canary"), "{size}: {told}");
        let body = result["body"].as_str().expect("a body");
        assert!(body.ends_with(&format!("{stars}{stars}!")), "{size}: {body}");
        assert!(body.contains(&format!("x-key: {stars}|")), "{size}: {body}");
        for header in [format!("x-echo: a {stars} b"), format!("x-{stars}: 1"), format!("x-late: {stars}")] {
            assert!(
                result["headers"].as_array().is_some_and(|all| all.contains(&header.clone().into())),
                "{size}: {header} in {told}"
            );
        }
        assert!(server.seen()[0].head.contains(CANARY), "the server has it");
        // What another server says of it, or what stands in no log.
        assert!(!serde_json::Value::from(house.audit()).to_string().contains(CANARY));
    }
}

/// A server that was told the secret by another does not pass it on either.
#[tokio::test(flavor = "multi_thread")]
async fn e21_no_other_server_tells_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Arc::new(std::sync::Mutex::new(String::from("nothing yet")));
    let (hears, tells) = (Arc::clone(&told), told);
    let first = Server::start(move |seen| {
        *hears.lock().expect("no panic") = seen.headers("x-key").concat();
        ok("")
    })
    .await;
    let second = Server::start(move |_| ok(&tells.lock().expect("no panic"))).await;
    let (house, _) = open(&[&first, &second], file(&folder, CANARY)).await;
    assert_eq!(get(&house, &first.url("a.example", "/")).await, "200");
    let result = send(&house, "GET", &second.url("b.example", "/"), &[], None).await;
    assert_eq!(result["body"], "*".repeat(CANARY.len()));
}

/// A plugin whose secret cannot be had is not served; what is told of it holds nothing of a value.
#[tokio::test(flavor = "multi_thread")]
async fn e21_a_secret_that_cannot_be_had_is_told_at_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|_| ok("on")).await;
    for (source, expected) in [
        (SecretSource::Env("PORTCULLIS_NOT_SET".into()), "has no variable `PORTCULLIS_NOT_SET`"),
        (SecretSource::File(folder.path().join("missing")), "No such file"),
        (SecretSource::Command(vec!["false".into()]), "ended with exit status: 1"),
        (file(&folder, "canary\ncanary"), "it is no value of a header"),
        (file(&folder, "\n"), "it is empty"),
    ] {
        let (house, _) = open(&[&server], source).await;
        let (state, reason, _) = house.status("web");
        assert_eq!(state, "broken", "{expected}");
        assert!(
            reason.contains("the secret `key` of its grants cannot be had: ") && reason.contains(expected),
            "{reason}"
        );
        assert!(!reason.contains("canary"), "{reason}");
        house.alive().await;
    }
}
