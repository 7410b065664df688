//! What grants cost: those that a call does not use, and a request that it sends.

use std::{fs, time::Instant};

use anyhow::ensure;
use axum::{Router, routing::get};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};

use super::in_process::{Ours, Subject, TEXT};
use crate::{
    report::{Bound, Report},
    samples::{Least, Samples},
    server::Bench,
};

const CALLS: usize = 5_000;
const REQUESTS: usize = 2_000;
const ANSWER: &str = "an answer of an ordinary length, which fits into one packet";

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    unused(bench, report, &tokio)?;
    requests(bench, report, &tokio)
}

/// A call with everything granted and nothing used, beside one without a grant.
fn unused(bench: &Bench, report: &mut Report, tokio: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    fs::create_dir(dir.path().join("data"))?;
    fs::create_dir(dir.path().join("more"))?;
    fs::write(dir.path().join("key"), "a secret of a bench")?;
    let grants = r#"
        http = ["GET https://api.example.com/**", { allow = "* http://127.0.0.1:1/**", private = ["127.0.0.0/8"] }]
        deny = ["GET https://api.example.com/private/**"]
        secrets = [{ name = "key", header = "x-key", to = "https://api.example.com" }]
        files = [{ host = "data", guest = "/data" }, { host = "more", guest = "/more", access = "read-write" }]
        env = { UNITS = "metric", LANGUAGE = "en" }
    "#;
    let subject = |grants| Subject {
        component: portcullis_artifacts::ECHO,
        function: "echo",
        arguments: Map::from_iter([("text".to_owned(), Value::from(TEXT))]),
        grants,
        shared: None,
    };
    let bare = tokio.block_on(Ours::new(bench, dir.path(), "bare", subject("")))?;
    let granted = tokio.block_on(Ours::new(bench, dir.path(), "granted", subject(grants)))?;
    let (mut without, mut with) = (Least::default(), Least::default());
    for round in 0..=bench.rounds {
        for (ours, best) in [(&bare, &mut without), (&granted, &mut with)] {
            let times = Samples::take(CALLS, || tokio.block_on(ours.timed(&Value::from(TEXT))))?;
            // The first round warms up.
            if round > 0 {
                best.add(times.percentile(50));
            }
        }
    }
    report.ratio("every grant, none used, p50", "µs", without.micros(), with.micros(), Bound::AtMost(1.15))
}

/// A granted request to a server of this machine, beside the same request by the same client without a sandbox.
///
/// Each side runs as it does at home: a program that uses the client on Tokio's ordinary runtime with its connection in a
/// task, and a call on a runtime of one thread, as a door serves it.
fn requests(bench: &Bench, report: &mut Report, tokio: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let listener = tokio.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/", get(async || ANSWER));
    tokio.spawn(async move { axum::serve(listener, router).await });
    let mut client = tokio.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (client, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        anyhow::Ok(client)
    })?;
    let floor = async |client: &mut http1::SendRequest<Empty<Bytes>>| {
        let began = Instant::now();
        let request = Request::get("/").header("host", address.to_string()).body(Empty::new())?;
        client.ready().await?;
        let body = client.send_request(request).await?.into_body().collect().await?.to_bytes();
        ensure!(body == ANSWER);
        anyhow::Ok(began.elapsed())
    };
    let grants = format!("http = [{{ allow = \"GET http://{address}/\", private = [\"127.0.0.0/8\"] }}]");
    let arguments = json!({ "method": "GET", "url": format!("http://{address}/"), "headers": [] });
    let Value::Object(arguments) = arguments else { anyhow::bail!("no object") };
    let subject = Subject {
        component: portcullis_artifacts::WITH_HTTP,
        function: "send",
        arguments,
        grants: &grants,
        shared: None,
    };
    let ours = tokio.block_on(Ours::new(bench, dir.path(), "web", subject))?;
    let door = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut best_floor, mut best_ours) = (Least::default(), Least::default());
    for round in 0..=bench.rounds {
        let bare = Samples::take(REQUESTS, || tokio.block_on(floor(&mut client)))?;
        let sent = Samples::take(REQUESTS, || door.block_on(ours.timed_where(|answer| answer["body"] == ANSWER)))?;
        if round > 0 {
            best_floor.add(bare.percentile(50));
            best_ours.add(sent.percentile(50));
        }
    }
    report.ratio("a granted HTTP request, p50", "µs", best_floor.micros(), best_ours.micros(), Bound::AtMost(1.3))
}
