//! Real plugins that need their grants: with them they work, without them each is refused.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
};

use serde_json::{Value, json};

use crate::{
    host::{Folder, eventually},
    raw,
    tools::{script, succeeded},
};

/// What the host puts in, and no guest may see.
const SECRET: &str = "canary-2b7e151628aed2a6";

/// A server that says whether it got the key, and says the key.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let (mut line, mut key, mut length) = (String::new(), String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                match name.to_ascii_lowercase().as_str() {
                    "x-key" => key = value.trim().to_owned(),
                    "content-length" => length = value.trim().parse().unwrap_or(0),
                    _ => {}
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let right = key == SECRET;
            let answer = format!("{right} {key} {}", String::from_utf8_lossy(&body));
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
            // The client may have gone.
            _ = reader.get_mut().write_all((head + &answer).as_bytes());
        }
    });
    port
}

fn built(language: &str) -> Option<String> {
    Some(succeeded(&script("setup/components", &[language])?).trim().to_owned())
}

fn folder(config: &str) -> Folder {
    let folder = Folder::unapproved(config);
    fs::create_dir(folder.path().join("data")).expect("a folder");
    fs::write(folder.path().join("data/note.txt"), "kept here").expect("a file");
    fs::write(folder.path().join("key"), format!("{SECRET}\n")).expect("a file");
    folder.approve_all();
    folder
}

fn call(folder: &Folder, tool: &str, arguments: Value) -> Value {
    let host = folder.serve();
    let answer = raw::call(&host.address, tool, arguments)["result"].clone();
    assert_eq!(host.stop().code(), Some(0));
    for file in ["portcullis.lock", ".portcullis/audit.jsonl", ".portcullis/trust/accepted.json"] {
        let text = fs::read_to_string(folder.path().join(file)).unwrap_or_default();
        assert!(!text.contains(SECRET), "the secret stands in {file}");
    }
    answer
}

/// What a failing call says: the tool's own words, and that the host refused something.
fn refused(answer: &Value, words: &str) {
    assert_eq!(answer["isError"], true, "{answer:#}");
    let text = answer.to_string();
    assert!(text.contains(words) && text.contains("refused the tool something"), "{words}: {answer:#}");
}

fn denials(folder: &Folder) -> Vec<String> {
    let denied = folder.audit().into_iter().filter(|line| line["event"] == "capability.denied");
    denied.map(|line| format!("{} {}", line["capability"].as_str().expect("a kind"), line["target"])).collect()
}

#[test]
fn javascript_fetches_from_a_granted_host_with_a_secret() {
    let Some(path) = built("js") else { return };
    let port = server();
    let grants = format!(
        "[plugins.js]\nsource = {path:?}\n[plugins.js.grants]\n\
         http = [{{ allow = \"GET,POST http://127.0.0.1:{port}/**\", private = [\"127.0.0.0/8\"] }}]\n\
         secrets = [{{ name = \"service\", header = \"x-key\", to = \"http://127.0.0.1:{port}\" }}]\n\
         [secrets.service]\nfile = \"key\"\n"
    );
    let url = format!("http://127.0.0.1:{port}/a?b=c");
    let granted = folder(&grants);
    let masked = "*".repeat(SECRET.len());
    let answer = call(&granted, "js_fetch_text", json!({ "url": url }));
    assert_eq!(answer["structuredContent"]["result"], format!("200 true {masked} "), "{answer:#}");
    let answer = call(&granted, "js_fetch_text", json!({ "url": url, "body": "posted" }));
    assert_eq!(answer["structuredContent"]["result"], format!("200 true {masked} posted"), "{answer:#}");
    let bare = folder(&format!("[plugins.js]\nsource = {path:?}\n"));
    refused(&call(&bare, "js_fetch_text", json!({ "url": url })), "rror");
    assert_eq!(denials(&bare), [format!("http \"GET http://127.0.0.1:{port}/a\"")]);
}

/// P9, and the emergency: what is wider waits while the old grants hold; what is less holds at the next call.
#[test]
fn grants_that_change_hold_as_far_as_they_are_approved() {
    let (old, new) = (server(), server());
    let allow = |port: u16| format!("{{ allow = 'GET http://127.0.0.1:{port}/**', private = ['127.0.0.0/8'] }}");
    let config = |http: &[String]| {
        let plugin = format!("[plugins.web]\nsource = {:?}\n", portcullis_artifacts::WITH_HTTP);
        format!("{plugin}[plugins.web.grants]\nhttp = [{}]\n[server]\nhttp = '127.0.0.1:0'\n", http.join(", "))
    };
    let folder = folder(&config(&[allow(old)]).replace("[server]\nhttp = '127.0.0.1:0'\n", ""));
    let host = folder.serve();
    let get = |port: u16| {
        let url = format!("http://127.0.0.1:{port}/a");
        raw::call(&host.address, "web_get", json!({ "url": url }))["result"].clone()
    };
    let reached = |port: u16| get(port)["structuredContent"]["result"] == 200;
    let denied = |port: u16| get(port).to_string().contains("HttpRequestDenied");
    assert!(reached(old) && denied(new));
    let configure = |http: &[String]| {
        fs::write(folder.path().join("portcullis.toml"), config(http)).expect("a configuration");
        host.logged("the configuration changed");
    };
    configure(&[allow(old), allow(new)]);
    eventually(|| folder.json(&["list", "--json"])[0]["state"] == "pending review");
    assert!(reached(old) && denied(new), "the old grants go on");
    let digest = folder.json(&["inspect", "web", "--json"])["digest"].as_str().expect("a digest").to_owned();
    folder.json(&["approve", "web", "--sha256", &digest, "--json"]);
    eventually(|| reached(new));
    configure(&[allow(new)]);
    eventually(|| denied(old));
    assert!(reached(new), "and nothing has to be approved for it");
    assert_eq!(folder.json(&["list", "--json"])[0]["state"], "approved");
}

#[test]
fn python_reads_a_granted_directory_and_fetches() {
    let Some(path) = built("py") else { return };
    let port = server();
    let granted = folder(&format!(
        "[plugins.py]\nsource = {path:?}\n[plugins.py.grants]\n\
         files = [{{ host = \"data\", guest = \"/data\" }}]\n\
         http = [{{ allow = \"GET http://127.0.0.1:{port}/a\", private = [\"127.0.0.0/8\"] }}]\n"
    ));
    let asked = json!({ "authority": format!("127.0.0.1:{port}"), "path": "/a?b=c" });
    let answer = call(&granted, "py_fetch_text", asked.clone());
    assert_eq!(answer["structuredContent"]["result"], "200 false  ", "{answer:#}");
    let answer = call(&granted, "py_read_text", json!({ "path": "/data/note.txt" }));
    assert_eq!(answer["structuredContent"]["result"], "kept here", "{answer:#}");
    let bare = folder(&format!("[plugins.py]\nsource = {path:?}\n"));
    refused(&call(&bare, "py_fetch_text", asked), "HttpRequestDenied");
    let answer = call(&bare, "py_read_text", json!({ "path": "/data/note.txt" }));
    assert_eq!(answer["isError"], true, "{answer:#}");
}

/// The decision, the rule and its line, and the line that would change it.
#[test]
fn explain_says_which_line_decides() {
    let folder = folder(&format!(
        "[plugins.web]\nsource = {:?}\n[plugins.web.grants]\n\
         http = [\"GET https://a.example/**\"]\ndeny = [\"GET https://a.example/private/**\"]\n\
         files = [{{ host = \"data\", guest = \"/data\" }}]\nenv = {{ UNITS = \"metric\" }}\n\
         kv = [{{ bucket = \"shared\", prefix = \"notes/\" }},\n\
         {{ bucket = \"of-{{principal}}\", access = \"read-write\" }}]\n[agents.alice]\nrole = \"reader\"\n[roles.reader]\nallow = []\n",
        portcullis_artifacts::WITH_HTTP
    ));
    let check = |question: &[&str], allowed: bool, reason: &str, line: Option<u64>, hint: &str| {
        let told = folder.json(&[&["explain", "web"], question, &["--json"]].concat());
        assert_eq!((told["allowed"].as_bool(), told["line"].as_u64()), (Some(allowed), line), "{question:?}: {told:#}");
        assert!(told["reason"].as_str().is_some_and(|found| found.contains(reason)), "{question:?}: {told:#}");
        assert!(told["hint"].as_str().unwrap_or_default().contains(hint), "{question:?}: {told:#}");
    };
    check(&["http", "GET", "https://a.example/b"], true, "`GET https://a.example/**` of `http` allows it", Some(4), "");
    check(&["http", "GET", "https://a.example/private/b"], false, "an entry of `deny` matches it", Some(5), "");
    let add = "in `[plugins.web.grants]`: http = [\"POST https://a.example/b\"]";
    check(&["http", "POST", "https://a.example/b"], false, "no entry of `http` allows it", None, add);
    check(&["files", "/data/note.txt", "read"], true, "of `files` allows it", Some(6), "");
    check(&["files", "/data/note.txt", "read-write"], false, "to be read alone", Some(6), "access = \"read-write\"");
    check(&["files", "/data/../etc", "read"], false, "no entry of `files` opens it", None, "files = [");
    check(&["files", "/database", "read"], false, "no entry of `files` opens it", None, "files = [");
    check(&["env", "UNITS"], true, "the value `metric`", Some(7), "");
    check(&["env", "HOME"], false, "no entry of `env` gives it", None, "env = { HOME = \"VALUE\" }");
    check(&["kv", "shared", "notes/a"], true, "shared, keys notes/*, read` of `kv` allows it", Some(8), "");
    check(&["kv", "shared", "notes/a", "read-write"], false, "to be read alone", Some(8), "access = \"read-write\"");
    check(&["kv", "shared", "other"], false, "as if absent", None, "kv = [{ bucket = \"shared\", access = \"read\" }]");
    check(&["kv", "of-local-operator", "a", "read-write"], true, "called by `local-operator`", Some(9), "");
    check(&["kv", "of-alice", "a"], false, "called by `local-operator`", None, "kv = [");
    check(&["kv", "of-alice", "a", "--caller", "alice"], true, "called by `alice`", Some(9), "");
    check(&["kv", "of-{principal}", "a", "--caller", "alice"], true, "called by `alice`", Some(9), "");
    let unknown = folder.run(&["explain", "web", "kv", "shared", "a", "--caller", "bob"]);
    assert_eq!(unknown.status.code(), Some(1), "nobody of that name");
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    fs::write(
        &path,
        config
            .replace("prefix = \"notes/\"", "prefix = \"notes\"")
            .replace("https://a.example/**\"]", "https://a.example/**\", \"GET https://b.example/**\"]"),
    )
    .expect("a configuration");
    check(&["http", "GET", "https://b.example/"], false, "waits for approval", Some(4), "portcullis diff web");
    check(&["kv", "shared", "notes"], false, "waits for approval", Some(8), "portcullis diff web");
    check(&["kv", "shared", "notes/a"], true, "of `kv` allows it", Some(8), "");
    let odd = folder.run(&["explain", "web", "http", "GET", "https://a.example/x/../y"]);
    assert_eq!(odd.status.code(), Some(1), "a URL that can be read in two ways");
}
