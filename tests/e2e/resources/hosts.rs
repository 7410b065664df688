//! Two hosts on one server, and a server that goes away.

use serde_json::json;

use super::{Shelf, request, uris};
use crate::{
    host::{Folder, Served},
    raw::{Session, heard},
    redis::Server,
};

const OPEN: &str = "[buckets.shared]\nresources = true\n";

fn host(server: &Server) -> (Folder, Served) {
    let folder = Folder::unapproved(&format!("{OPEN}[store]\nurl = \"{}\"\n", server.options(None).url));
    let served = folder.serve();
    (folder, served)
}

/// Whichever host wrote it: subscribers at both are told, and read the same.
#[test]
fn a_subscriber_at_another_host_hears_of_it() {
    let Some(server) = Server::start(true) else { return };
    let shelf = Shelf::of_server(&server);
    let hosts = [host(&server), host(&server)];
    let uri = "kv://shared/a";
    let mut streams: Vec<_> = hosts
        .iter()
        .map(|(_, host)| {
            let session = Session::open(&host.address);
            let stream = session.listen();
            let answer = session.send(&request(1, "resources/subscribe", json!({ "uri": uri }))).message();
            assert_eq!(answer["result"], json!({}), "{answer:#}");
            (session, stream)
        })
        .collect();
    for round in 0..5 {
        shelf.set("shared", "a", round.to_string(), None);
        for (session, stream) in &mut streams {
            assert!(heard(stream, "notifications/resources/updated").contains(uri));
            let read = session.send(&request(2, "resources/read", json!({ "uri": uri }))).message();
            assert_eq!(read["result"]["contents"][0]["text"], round.to_string());
            assert_eq!(uris(&session.send(&request(3, "resources/list", json!({}))).message()), [uri]);
        }
    }
}

/// While the server is away requests fail at once with a typed error; what changed meanwhile is told when it is back.
#[test]
fn a_server_that_was_away_costs_no_change() {
    let Some(mut server) = Server::start(true) else { return };
    let (_folder, host) = host(&server);
    let uri = "kv://shared/a";
    let session = Session::open(&host.address);
    let mut stream = session.listen();
    session.send(&request(1, "resources/subscribe", json!({ "uri": uri })));
    Shelf::of_server(&server).set("shared", "a", "1", None);
    heard(&mut stream, "notifications/resources/updated");
    for round in 2..5 {
        server.down();
        let began = std::time::Instant::now();
        let away = session.send(&request(2, "resources/read", json!({ "uri": uri }))).message();
        assert_eq!(away["error"]["code"], -32603, "{away:#}");
        let list = session.send(&request(3, "resources/list", json!({}))).message();
        assert_eq!(list["error"]["code"], -32603, "{list:#}");
        assert!(!format!("{away}{list}").contains("redis"), "why is the operator's to read");
        assert!(began.elapsed() < std::time::Duration::from_secs(100), "{:?}", began.elapsed());
        server.up();
        // Before the host has noticed, most likely.
        Shelf::of_server(&server).set("shared", "a", round.to_string(), None);
        assert!(heard(&mut stream, "notifications/resources/updated").contains(uri));
    }
}
