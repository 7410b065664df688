//! Subscriptions in both eras: who is told of what, and from when on not any more.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use super::{Shelf, TEAM, agents, request, serve};
use crate::{
    agents::{Client, key},
    host::{Folder, eventually},
    raw::{self, heard},
    redis::Server,
};

/// Long enough that what comes at once would have come; nothing depends on it but that a fault is seen.
const QUIET: Duration = Duration::from_secs(2);

/// A server with what the configuration says of it; none where there is no server.
fn on_redis(config: &str) -> Option<(Server, Folder, Shelf)> {
    let server = Server::start(true)?;
    let url = server.options(None).url;
    let folder = Folder::unapproved(&format!("{config}\n[store]\nurl = \"{url}\"\n"));
    let shelf = Shelf::of_server(&server);
    Some((server, folder, shelf))
}

/// Opens a `subscriptions/listen` and waits for its acknowledgement: what was accepted.
fn listen(client: &Client<'_>, notifications: Value) -> (BufReader<TcpStream>, Value) {
    let mut stream = BufReader::new(client.open("subscriptions/listen", json!({ "notifications": notifications })));
    assert_eq!(raw::head(&mut stream).0, 200);
    let line = heard(&mut stream, "notifications/subscriptions/acknowledged");
    let message: Value = serde_json::from_str(line.trim_start_matches("data:").trim()).expect("a message");
    (stream, message["params"]["notifications"].clone())
}

/// Subscribes a session of the older era, and opens its stream.
fn subscribe(client: &Client<'_>, uris: &[&str]) -> (BufReader<TcpStream>, String) {
    let session = client.session();
    let stream = client.listen(&session);
    for uri in uris {
        let answer = client.older(Some(&session), &request(5, "resources/subscribe", json!({ "uri": uri }))).message();
        assert_eq!(answer["result"], json!({}), "{answer:#}");
    }
    (stream, session)
}

/// The address in the next notification that one changed.
fn updated(stream: &mut impl BufRead) -> String {
    let line = heard(stream, "notifications/resources/updated");
    let message: Value = serde_json::from_str(line.trim_start_matches("data:").trim()).expect("a message");
    message["params"]["uri"].as_str().expect("an address").to_owned()
}

/// Whether a stream ends, whatever comes before.
fn ends(stream: &mut impl BufRead) -> bool {
    let mut line = String::new();
    loop {
        line.clear();
        match stream.read_line(&mut line) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

#[test]
fn changes_are_told_in_both_eras() {
    let Some((_server, folder, shelf)) = on_redis(TEAM) else { return };
    shelf.set("shared", "research/a", "1", None);
    let (host, keys) = serve(&folder);
    let (alice, _) = agents(&host, &keys);
    let uris = ["kv://shared/research/a", "kv://shared/research/later", "kv://agent-alice/note"];
    let (mut older, session) = subscribe(&alice, &uris);
    // What is not hers is not accepted, and what is no address is neither.
    let wanted = [&uris[..], &["kv://shared/plan", "kv://shared/research/%61", "kv://agent-bob/note"]].concat();
    let (mut newer, accepted) = listen(&alice, json!({ "resourceSubscriptions": wanted }));
    assert_eq!(accepted, json!({ "resourceSubscriptions": uris }));
    let refused = alice.older(Some(&session), &request(6, "resources/subscribe", json!({ "uri": "kv://shared/plan" })));
    assert_eq!(refused.message()["error"]["code"], -32002);
    let mut both = |uri: &str| {
        while updated(&mut older) != uri {}
        // The first subscription of a bucket at a server may be told to look once more than it had to.
        while updated(&mut newer) != uri {}
    };
    shelf.set("shared", "plan", "not hers", None);
    shelf.set("shared", "research/a", "2", None);
    both(uris[0]);
    // One that was not there yet, with an end of its own: it comes, and it goes.
    shelf.set("shared", "research/later", "soon gone", Some(Duration::from_millis(300)));
    both(uris[1]);
    both(uris[1]);
    shelf.set("agent-alice", "note", "x", None);
    both(uris[2]);
    shelf.delete("agent-alice", "note");
    both(uris[2]);
    // Nothing after the end of a subscription; the other goes on.
    let gone = alice.older(Some(&session), &request(7, "resources/unsubscribe", json!({ "uri": uris[0] })));
    assert_eq!(gone.message()["result"], json!({}));
    shelf.set("shared", "research/a", "3", None);
    while updated(&mut newer) != uris[0] {}
    shelf.set("agent-alice", "note", "y", None);
    assert_ne!(updated(&mut older), uris[0]);
}

/// Keys that come and go change the list of those who may see them, and of nobody else.
#[test]
fn lists_change_for_those_who_see_it() {
    let Some((_server, folder, shelf)) = on_redis(TEAM) else { return };
    let (host, keys) = serve(&folder);
    let (alice, bob) = agents(&host, &keys);
    let (mut older, session) = subscribe(&alice, &[]);
    alice.older(Some(&session), &request(1, "resources/list", json!({})));
    let (mut newer, accepted) = listen(&alice, json!({ "resourcesListChanged": true, "toolsListChanged": true }));
    assert_eq!(accepted, json!({ "resourcesListChanged": true, "toolsListChanged": true }));
    let (mut bobs, _) = listen(&bob, json!({ "resourcesListChanged": true }));
    // Beginnings are told once at most; after that it is quiet.
    std::thread::sleep(QUIET);
    shelf.set("shared", "research/a", "1", None);
    heard(&mut older, "notifications/resources/list_changed");
    heard(&mut newer, "notifications/resources/list_changed");
    // bob has not been told: what he hears next is of a key of his.
    std::thread::sleep(QUIET);
    bobs.get_ref().set_nonblocking(true).expect("a socket");
    let mut seen = String::new();
    while bobs.read_line(&mut seen).is_ok_and(|read| read > 0) {}
    assert!(seen.matches("list_changed").count() <= 1, "only of his beginning: {seen}");
    bobs.get_ref().set_nonblocking(false).expect("a socket");
    shelf.set("shared", "plan", "1", None);
    heard(&mut bobs, "notifications/resources/list_changed");
}

/// A role that is narrowed ends notifications at once, in sessions that are open.
#[test]
fn a_narrowed_role_hears_no_more() {
    let Some((_server, folder, shelf)) = on_redis(TEAM) else { return };
    let (host, keys) = serve(&folder);
    let (alice, _) = agents(&host, &keys);
    let uris = ["kv://shared/research/a", "kv://agent-alice/note"];
    let (mut older, _) = subscribe(&alice, &uris);
    let (mut newer, _) = listen(&alice, json!({ "resourceSubscriptions": uris }));
    shelf.set("shared", "research/a", "1", None);
    assert_eq!(updated(&mut older), uris[0]);
    while updated(&mut newer) != uris[0] {}
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, config.replace("\"kv://shared/research/**\", ", "")).expect("a configuration");
    eventually(|| {
        let read = alice.newer("resources/read", json!({ "uri": uris[0] })).message();
        read["error"]["code"] == -32602
    });
    shelf.set("shared", "research/a", "2", None);
    // Delivered in order by bucket alone: what is told late would come before this.
    std::thread::sleep(QUIET);
    shelf.set("agent-alice", "note", "1", None);
    assert_eq!(updated(&mut older), uris[1]);
    // The beginning of the other bucket may be told once; the one that was taken away is not.
    assert_eq!(updated(&mut newer), uris[1]);
}

/// A key that is revoked ends the streams that it opened, in both eras.
#[test]
fn a_revoked_key_hears_no_more() {
    let Some((_server, folder, shelf)) = on_redis(TEAM) else { return };
    let (first, id) = key(&folder, "alice");
    let (second, _) = key(&folder, "alice");
    let host = folder.serve();
    let (alice, again) = (Client::new(&host, &first), Client::new(&host, &second));
    let uri = "kv://shared/research/a";
    let (mut older, session) = subscribe(&alice, &[uri]);
    let (mut newer, _) = listen(&alice, json!({ "resourceSubscriptions": [uri] }));
    let (mut other, _) = listen(&again, json!({ "resourceSubscriptions": [uri] }));
    shelf.set("shared", "research/a", "1", None);
    assert_eq!(updated(&mut older), uri);
    assert_eq!(updated(&mut newer), uri);
    assert_eq!(updated(&mut other), uri);
    folder.json(&["key", "revoke", &id, "--json"]);
    assert!(ends(&mut older) && ends(&mut newer), "its streams end");
    // The other key's stream goes on, and the agent's session with it.
    shelf.set("shared", "research/a", "2", None);
    assert_eq!(updated(&mut other), uri);
    assert_eq!(again.older(Some(&session), &request(1, "resources/list", json!({}))).status, 200);
    let mut stream = again.listen(&session);
    shelf.set("shared", "research/a", "3", None);
    assert_eq!(updated(&mut stream), uri);
}

/// Over stdio, in both eras of one process each.
#[test]
fn over_stdio() {
    let Some((_server, folder, shelf)) = on_redis("[buckets.shared]\nresources = true\n") else { return };
    let mut client = folder.stdio();
    client.initialize();
    let answer = client.request(1, "resources/subscribe", json!({ "uri": "kv://shared/a" }));
    assert_eq!(answer["result"], json!({}), "{answer:#}");
    shelf.set("shared", "a", "1", None);
    while !client.line().contains("\"notifications/resources/updated\"") {}
    drop(client);
    let mut client = folder.stdio();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    client.send(&request(0, "server/discover", json!({ "_meta": meta })));
    client.reply(0);
    // Two at a time, each with its own.
    for (id, uri) in [(7, "kv://shared/a"), (8, "kv://shared/b")] {
        let params = json!({ "_meta": meta, "notifications": { "resourceSubscriptions": [uri] } });
        client.send(&request(id, "subscriptions/listen", params));
        while !client.line().contains("notifications/subscriptions/acknowledged") {}
    }
    for (key, id) in [("b", 8), ("a", 7)] {
        shelf.set("shared", key, "2", None);
        loop {
            let message: Value = serde_json::from_str(&client.line()).expect("a message");
            if message["method"] == "notifications/resources/updated"
                && message["params"]["uri"] == format!("kv://shared/{key}")
            {
                assert_eq!(message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id, "{message:#}");
                break;
            }
        }
    }
}

/// There are so many subscriptions a session, and a listening client gets as many.
#[test]
fn subscriptions_are_bounded() {
    let Some((_server, folder, _)) = on_redis(TEAM) else { return };
    let (host, keys) = serve(&folder);
    let (alice, _) = agents(&host, &keys);
    let uri = |number: usize| format!("kv://shared/research/{number}");
    let many: Vec<_> = (0..5000).map(uri).collect();
    let (_stream, accepted) = listen(&alice, json!({ "resourceSubscriptions": many }));
    assert_eq!(accepted["resourceSubscriptions"].as_array().expect("some").len(), 256);
    let session = alice.session();
    let subscribe =
        |uri: String| alice.older(Some(&session), &request(1, "resources/subscribe", json!({ "uri": uri }))).message();
    for number in 0..256 {
        assert_eq!(subscribe(uri(number))["result"], json!({}));
    }
    assert_eq!(subscribe(uri(0))["result"], json!({}), "the same once more");
    assert_eq!(subscribe(uri(256))["error"]["code"], -32600);
}

/// What a principal holds is bounded over all it has open, and given back with a stream and with a session.
#[test]
fn a_session_takes_its_subscriptions_with_it() {
    let Some((_server, folder, _)) = on_redis(TEAM) else { return };
    let (host, keys) = serve(&folder);
    let (alice, bob) = agents(&host, &keys);
    let some = |of: usize| (0..256).map(|number| format!("kv://shared/research/{of}/{number}")).collect::<Vec<_>>();
    let listening = |of: usize| {
        let (stream, accepted) = listen(&alice, json!({ "resourceSubscriptions": some(of) }));
        (stream, accepted["resourceSubscriptions"].as_array().map_or(0, Vec::len))
    };
    let session = alice.session();
    for uri in some(0) {
        let answer = alice.older(Some(&session), &request(1, "resources/subscribe", json!({ "uri": uri }))).message();
        assert_eq!(answer["result"], json!({}), "{answer:#}");
    }
    let mut streams: Vec<_> = (1..16).map(listening).collect();
    assert!(streams.iter().all(|(_, accepted)| *accepted == 256));
    assert_eq!(listening(16).1, 0, "4096 are taken");
    let (_his, accepted) = listen(&bob, json!({ "resourceSubscriptions": ["kv://shared/plan"] }));
    assert_eq!(accepted["resourceSubscriptions"], json!(["kv://shared/plan"]), "another's are another's");
    drop(streams.pop());
    eventually(|| listening(17).1 == 256);
    // Of the stream that was just there too.
    let taken = std::cell::RefCell::new(Vec::new());
    eventually(|| {
        let (stream, accepted) = listening(18);
        taken.borrow_mut().extend((accepted == 256).then_some(stream));
        accepted == 256
    });
    assert_eq!(listening(19).1, 0);
    alice.delete(&session);
    eventually(|| listening(20).1 == 256);
}

/// In a file as at a server: an entry's end is a change.
#[test]
fn an_entry_of_a_file_expires() {
    for seconds in [4, 16, 64] {
        let folder = Folder::unapproved("[buckets.shared]\nresources = true\n");
        Shelf::of_folder(&folder).set("shared", "a", "1", Some(Duration::from_secs(seconds)));
        let host = folder.serve();
        let session = raw::Session::open(&host.address);
        let mut stream = session.listen();
        session.send(&request(1, "resources/list", json!({})));
        session.send(&request(2, "resources/subscribe", json!({ "uri": "kv://shared/a" })));
        let read = || session.send(&request(3, "resources/read", json!({ "uri": "kv://shared/a" }))).message();
        if read()["result"].is_null() {
            // A machine under load: it was over before the subscription began.
            continue;
        }
        assert_eq!(updated(&mut stream), "kv://shared/a");
        assert_eq!(read()["error"]["code"], -32002);
        heard(&mut stream, "notifications/resources/list_changed");
        return;
    }
    panic!("this machine is too slow to see an entry end");
}
