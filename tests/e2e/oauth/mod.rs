//! Tokens of an issuer open the door, beside keys: what is verified, what clients are told, and what gets no further (A1,
//! A3, A12).

mod authority;
mod clients;
mod issuer;

use std::{fs, io::Read, sync::Arc};

use serde_json::{Value, json};

use self::issuer::{Issuer, Key, Manner, b64, now};
use crate::{
    agents::{Client, key},
    host::{Folder, Served, eventually, plugins, stderr, usual_plugins},
    raw::{self, Answer},
};

const AUDIENCE: &str = "https://tools.example/mcp";
const ROLES: &str = "
[roles.reader]
allow = [\"echo_*\", \"outcomes_fail\"]
[roles.worker]
allow = [\"*\"]
[agents.alice]
role = \"reader\"
";

fn oauth(issuer: &str, audience: &str, more: &str) -> String {
    format!("{ROLES}[auth.oauth]\nissuer = \"{issuer}\"\naudience = \"{audience}\"\nrole-claim = \"role\"\n{more}\n")
}

fn team(issuer: &str, more: &str) -> Folder {
    Folder::new(&format!("{}{}", plugins(&usual_plugins()), oauth(issuer, AUDIENCE, more)))
}

fn list(host: &Served, token: &str) -> Answer {
    Client::new(host, token).newer("tools/list", json!({}))
}

fn tools(answer: &Answer) -> usize {
    answer.message()["result"]["tools"].as_array().map_or(0, Vec::len)
}

fn reasons(folder: &Folder) -> Vec<String> {
    let refused = folder.audit().into_iter().filter(|line| line["event"] == "log-in.refused");
    refused.map(|line| line["reason"].as_str().expect("a reason").to_owned()).collect()
}

fn with(mut claims: Value, more: Value) -> Value {
    let fields = claims.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        match value {
            Value::Null => _ = fields.remove(name),
            _ => _ = fields.insert(name.clone(), value.clone()),
        }
    }
    claims
}

/// All three algorithms; a key beside them; whom the host takes it for.
#[test]
fn tokens_and_keys_open_beside_each_other() {
    let issuer = Issuer::start(AUDIENCE);
    let keys: Vec<_> = ["RS256", "ES256", "EdDSA"].map(|name| Arc::new(Key::new(name, name))).into();
    issuer.publish(&keys.iter().collect::<Vec<_>>());
    let folder = team(&issuer.url, "");
    let (api_key, _) = key(&folder, "alice");
    let host = folder.serve();
    for key in &keys {
        let answer = list(&host, &key.sign(&issuer.claims("alice", "reader")));
        assert_eq!((answer.status, tools(&answer)), (200, 2), "{}: {answer:?}", key.algorithm());
    }
    let call = json!({ "name": "echo_echo", "arguments": { "text": "hi" } });
    let both = [keys[0].sign(&issuer.claims("alice", "reader")), api_key];
    for shown in &both {
        assert_eq!(Client::new(&host, shown).newer("tools/call", call.clone()).status, 200);
    }
    let intents: Vec<_> = folder.audit().into_iter().filter(|line| line["event"] == "call.intent").collect();
    let principals: Vec<_> = intents.iter().map(|line| line["principal"].as_str().expect("a name")).collect();
    assert_eq!(principals, ["token.alice", "alice"], "two principals");
    assert!(tools(&list(&host, &keys[1].sign(&issuer.claims("alice", "worker")))) > 2, "the role is the token's");
}

/// A1: each is refused, the operator is told why, and the client is not.
#[test]
fn what_is_no_good_token_opens_nothing() {
    let issuer = Issuer::start(AUDIENCE);
    let (rsa, ec) = (Arc::new(Key::new("r", "RS256")), Arc::new(Key::new("e", "ES256")));
    issuer.publish(&[&rsa, &ec]);
    let folder = team(&issuer.url, "");
    let host = folder.serve();
    let good = issuer.claims("mallory-canary", "worker");
    assert_eq!(list(&host, &ec.sign(&good)).status, 200);
    let head = |more: Value| with(json!({ "alg": "ES256", "typ": "JWT", "kid": "e" }), more);
    let claims = |more: Value| ec.sign(&with(good.clone(), more));
    let of = |head: Value| ec.sign_with(&head, &good);
    let hmac = |secret: &[u8]| {
        let text =
            format!("{}.{}", b64(head(json!({ "alg": "HS256", "kid": "r" })).to_string()), b64(good.to_string()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        format!("{text}.{}", b64(ring::hmac::sign(&key, text.as_bytes())))
    };
    let whole = ec.sign(&good);
    let (signed, signature) = whole.rsplit_once('.').expect("a signature");
    let other = Key::new("e", "ES256").sign(&good);
    let cases: Vec<(&str, String)> = vec![
        ("has expired", claims(json!({ "exp": now() - 31 }))),
        ("not yet valid", claims(json!({ "nbf": now() + 60 }))),
        ("claim `exp`", claims(json!({ "exp": null }))),
        ("claim `exp`", claims(json!({ "exp": "9999999999" }))),
        ("claim `sub`", claims(json!({ "sub": null }))),
        ("claim `aud`", claims(json!({ "aud": null }))),
        ("claim `iss`", claims(json!({ "iss": null }))),
        ("another issuer", claims(json!({ "iss": format!("{}/", issuer.url) }))),
        ("another audience", claims(json!({ "aud": "https://tools.example" }))),
        ("another audience", claims(json!({ "aud": ["https://tools.example/mcp/", "x"] }))),
        ("bound to a key", claims(json!({ "cnf": { "jkt": "x" } }))),
        ("none of RS256", format!("{}.{}.", b64("{\"alg\":\"none\"}"), b64(good.to_string()))),
        ("none of RS256", format!("{}.{}.", b64("{\"alg\":\"nOnE\",\"kid\":\"e\"}"), b64(good.to_string()))),
        ("none of RS256", hmac(rsa.jwk().to_string().as_bytes())),
        ("none of RS256", hmac(rsa.jwk()["n"].as_str().expect("a number").as_bytes())),
        ("names no key", of(head(json!({ "alg": "RS256" })))),
        ("names no key", of(head(json!({ "kid": "r" })))),
        ("not the issuer's", of(head(json!({ "alg": "RS256", "kid": "r" })))),
        ("not the issuer's", other),
        ("not the issuer's", format!("{signed}.{}", b64([0; 64]))),
        ("not the issuer's", format!("{signed}.")),
        ("not the issuer's", format!("{}.{}.{signature}", b64(head(json!({})).to_string()), b64("{}"))),
        ("another purpose", of(head(json!({ "typ": "dpop+jwt" })))),
        ("another purpose", of(head(json!({ "crit": ["exp"], "exp": 1 })))),
        ("no signed JWT", "a.b.c".into()),
        ("none of RS256", "..".into()),
        ("no signed JWT", format!("{whole}{}", "A".repeat(17_000))),
    ];
    for (expected, token) in cases {
        let answer = list(&host, &token);
        assert_eq!(answer.status, 401, "{expected}: {answer:?}");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(
            challenge.contains("error=\"invalid_token\"") && challenge.contains("resource_metadata="),
            "{challenge}"
        );
        assert_eq!(answer.body, "{\"error\":\"invalid_token\"}");
        let told = reasons(&folder).pop().expect("a reason");
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // A token that itself says where its key is.
    let own = Key::new("own", "ES256");
    let said = json!({ "alg": "ES256", "kid": "own", "jwk": own.jwk(), "jku": format!("{}/keys", issuer.url) });
    assert_eq!(list(&host, &own.sign_with(&said, &good)).status, 401);
    let ping = raw::open(&host.address, "POST", &format!("/mcp?access_token={whole}"), &raw::USUAL, b"{}");
    assert_eq!(raw::answer(ping).status, 400);
    // A12: nothing of a token that was refused, nor of one that was taken.
    let audit = fs::read_to_string(folder.path().join(".portcullis/audit.jsonl")).expect("the audit log");
    assert!(!audit.contains(signature) && !audit.contains("mallory-canary") && !audit.contains("eyJ"));
}

/// RFC 6750, section 3.1, and RFC 9728, sections 3 and 5.1.
#[test]
fn clients_are_told_where_to_get_a_token() {
    let issuer = Issuer::start(AUDIENCE);
    let folder = team(&issuer.url, "scopes = [\"tools\", \"more\"]");
    let host = folder.serve();
    let metadata = "https://tools.example/.well-known/oauth-protected-resource/mcp";
    let rest = format!("resource_metadata=\"{metadata}\", scope=\"tools more\"");
    let nothing = raw::post(&host.address, &raw::USUAL, b"{}");
    assert_eq!(nothing.status, 401);
    assert_eq!(nothing.header("www-authenticate"), Some(&*format!("Bearer realm=\"portcullis\", {rest}")));
    let insufficient = format!("Bearer realm=\"portcullis\", error=\"insufficient_scope\", {rest}");
    let claims = issuer.claims("bob", "worker");
    for (more, reason) in [
        (json!({}), "has not all of"),
        (json!({ "scope": "tools" }), "has not all of"),
        (json!({ "scope": "tools more", "role": "admin" }), "names no role"),
        (json!({ "scope": "tools more", "role": null }), "names no role"),
        (json!({ "scope": "tools more", "role": ["reader", "worker"] }), "names several roles"),
    ] {
        let answer = list(&host, &issuer.key().sign(&with(claims.clone(), more.clone())));
        assert_eq!((answer.status, answer.header("www-authenticate")), (403, Some(&*insufficient)), "{more}");
        assert!(
            reasons(&folder).pop().is_some_and(|told| told.contains(reason) && told.contains("token.bob")),
            "{more}"
        );
    }
    assert_eq!(list(&host, &issuer.key().sign(&with(claims, json!({ "scope": "a more tools" })))).status, 200);
    let expected = json!({
        "resource": AUDIENCE, "authorization_servers": [issuer.url], "bearer_methods_supported": ["header"],
        "resource_name": "portcullis", "scopes_supported": ["tools", "more"],
    });
    for (path, there) in [("", true), ("/mcp", true), ("/other", false), ("/mcp/x", false)] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let answer = raw::answer(raw::open(&host.address, "GET", &path, &[], b""));
        assert_eq!(answer.status, if there { 200 } else { 404 }, "{path}");
        assert!(!there || answer.message() == expected, "{answer:?}");
    }
}

/// A key that appears is found at once, one that goes opens nothing more, and nobody can make the host ask all the time.
#[test]
fn keys_are_rotated_and_strangers_cause_few_requests() {
    let issuer = Issuer::start(AUDIENCE);
    let folder = team(&issuer.url, "");
    let host = folder.serve();
    let first = issuer.token("bob", "reader");
    assert_eq!(list(&host, &first).status, 200);
    let second = Arc::new(Key::new("second", "EdDSA"));
    issuer.publish(&[&issuer.key(), &second]);
    assert_eq!(list(&host, &second.sign(&issuer.claims("bob", "reader"))).status, 200);
    assert_eq!(list(&host, &first).status, 200, "both, while one replaces the other");
    let third = Arc::new(Key::new("third", "EdDSA"));
    issuer.publish(&[&third]);
    assert_eq!(list(&host, &third.sign(&issuer.claims("bob", "reader"))).status, 200);
    assert_eq!(list(&host, &first).status, 401, "a token that was taken before, with a key that is gone");
    for number in 0..50 {
        let stranger = Key::new(&format!("stranger-{number}"), "EdDSA");
        assert_eq!(list(&host, &stranger.sign(&issuer.claims("bob", "reader"))).status, 401);
    }
    assert!(issuer.asked() <= 10, "{} requests", issuer.asked());
    // The issuer is away: what is known goes on.
    issuer.behave(Manner::Away);
    assert_eq!(list(&host, &third.sign(&issuer.claims("carol", "reader"))).status, 200);
    assert_eq!(list(&host, &Key::new("x", "EdDSA").sign(&issuer.claims("bob", "reader"))).status, 401);
    assert_eq!(list(&host, &third.sign(&issuer.claims("carol", "reader"))).status, 200);
}

/// A3: at the next request, and in a stream that is open.
#[test]
fn what_ends_a_token_ends_its_streams() {
    let issuer = Issuer::start(AUDIENCE);
    let folder = team(&issuer.url, "");
    let host = folder.serve();
    let ended = |token: &str, change: &dyn Fn()| {
        let client = Client::new(&host, token);
        let session = client.session();
        let mut stream = client.listen(&session);
        change();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the stream's end");
        client.older(Some(&session), &json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).status
    };
    // Its time: as much of it is left as the leeway has, and a little.
    let short = with(issuer.claims("bob", "reader"), json!({ "exp": now() - 30 + 10 }));
    assert_eq!(ended(&issuer.key().sign(&short), &|| {}), 401);
    // Its role.
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    let without = config.replace("[roles.worker]", "[roles.other]");
    assert_eq!(ended(&issuer.token("bob", "worker"), &|| fs::write(&path, &without).expect("written")), 403);
    // Its key.
    let next = Arc::new(Key::new("next", "ES256"));
    let rotate = || {
        issuer.publish(&[&next]);
        assert_eq!(list(&host, &next.sign(&issuer.claims("x", "reader"))).status, 200);
    };
    assert_eq!(ended(&issuer.token("bob", "reader"), &rotate), 401);
}

/// A session is one subject's in one role, and no agent's of that name.
#[test]
fn a_session_is_its_subjects() {
    let issuer = Issuer::start(AUDIENCE);
    let folder = team(&issuer.url, "");
    let (api_key, _) = key(&folder, "alice");
    let host = folder.serve();
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let status = |shown: &str, session: &str| Client::new(&host, shown).older(Some(session), &list).status;
    let token = issuer.token("alice", "reader");
    let session = Client::new(&host, &token).session();
    assert_eq!(status(&token, &session), 200);
    assert_eq!(
        status(&issuer.key().sign(&with(issuer.claims("alice", "reader"), json!({ "jti": "2" }))), &session),
        200
    );
    for other in [&api_key, &issuer.token("Alice", "reader"), &issuer.token("alice", "worker")] {
        assert_eq!(status(other, &session), 404);
    }
}

/// What an issuer may do wrong: the host serves, says so, and takes no harm.
#[test]
fn an_issuer_that_misbehaves_opens_nothing() {
    let issuer = Issuer::start(AUDIENCE);
    for (manner, expected) in [
        (Manner::Away, "answered 503"),
        (Manner::Redirecting, "answered 302"),
        (Manner::Endless, "cannot be read"),
        (Manner::Silent, "did not answer within 10 seconds"),
        (Manner::AsAnother, "describes another issuer"),
    ] {
        issuer.behave(manner);
        let folder = team(&issuer.url, "");
        let (api_key, _) = key(&folder, "alice");
        let host = folder.serve();
        assert_eq!(list(&host, &issuer.token("bob", "reader")).status, 401, "{manner:?}");
        assert_eq!(list(&host, &api_key).status, 200, "{manner:?}: keys have nothing to do with it");
        let logged = host.logged("no token opens");
        assert!(logged.contains(expected), "{manner:?}: {logged}");
        let doctor = folder.run(&["doctor", "--json"]);
        let told: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
        let findings = told["findings"].as_array().expect("findings");
        let found =
            findings.iter().find(|finding| finding["what"].as_str().is_some_and(|what| what.contains("issuer's keys")));
        let found = found.expect("a finding");
        assert!(found["ok"] == false && found["what"].to_string().contains(expected), "{manner:?}: {found}");
    }
    issuer.behave(Manner::Well);
    let told = team(&issuer.url, "").run(&["doctor"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("the issuer's keys can be had"), "{}", stderr(&told));
}

/// A site without a way to the issuer.
#[test]
fn a_file_of_keys_is_read_again_when_it_changes() {
    let issuer = "https://id.example";
    let folder = team(issuer, "jwks = \"issuer.json\"");
    let (one, two) = (Key::new("one", "ES256"), Key::new("two", "RS256"));
    let path = folder.path().join("issuer.json");
    let write = |keys: &[&Key]| {
        let set = json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() });
        fs::write(&path, set.to_string()).expect("written");
    };
    write(&[&one]);
    let host = folder.serve();
    let claims = json!({ "iss": issuer, "aud": [AUDIENCE, "b"], "sub": "bob", "role": "reader", "exp": now() + 600 });
    let status = |key: &Key| list(&host, &key.sign(&claims)).status;
    assert_eq!((status(&one), status(&two)), (200, 401));
    write(&[&two]);
    eventually(|| status(&two) == 200);
    assert_eq!(status(&one), 401);
    fs::write(&path, "{").expect("written");
    eventually(|| status(&two) == 401);
    assert!(host.logged("no token opens").contains("no JSON Web Key Set"));
    write(&[&one]);
    eventually(|| status(&one) == 200);
}

#[test]
fn the_configuration_of_an_issuer_is_checked() {
    let good = oauth("https://id.example", AUDIENCE, "");
    for (from, to, expected) in [
        ("https://id.example", "http://id.example", "`auth.oauth.issuer` must be"),
        (AUDIENCE, "tools", "`auth.oauth.audience` must be"),
        ("role-claim = \"role\"", "role-claim = \"\"", "`auth.oauth.role-claim` must be"),
        ("role-claim = \"role\"", "", "missing field `role-claim`"),
        ("role-claim", "scopes = [\"a b\"]\nrole-claim", "`auth.oauth.scopes` must be"),
        ("role-claim", "algorithms = [\"HS256\"]\nrole-claim", "unknown field `algorithms`"),
        ("[agents.alice]", "[agents.\"token.alice\"]", "those that tokens name"),
        (ROLES, "", "has no role"),
    ] {
        let output = Folder::unapproved(&good.replace(from, to)).run(&["check"]);
        let told = stderr(&output);
        assert!(output.status.code() == Some(1) && told.contains(expected) && told.contains("hint: "), "{to}: {told}");
    }
    assert_eq!(Folder::unapproved(&good).run(&["check"]).status.code(), Some(0));
}

/// Whose role a token says: the operator names it.
#[test]
fn explain_knows_whom_a_token_names() {
    let folder = team("https://id.example", "");
    let told = |agent: &str, role: &str, tool: &str| {
        folder.json(&["explain", "--agent", agent, "--role", role, tool, "--json"])
    };
    let reader = told("token.bob", "reader", "outcomes_trap");
    assert_eq!(reader["allowed"], false, "{reader:#}");
    assert!(reader["reason"].as_str().is_some_and(|told| told.contains("role `reader`")), "{reader:#}");
    let worker = told("token..abc", "worker", "outcomes_trap");
    assert!(worker["allowed"] == true && worker["line"].is_u64(), "{worker:#}");
    for (arguments, expected, hint) in [
        (&["--agent", "token.bob", "echo_echo"][..], "is what its token says", "--role"),
        (&["--agent", "token.bob", "--role", "nobody", "echo_echo"], "no role `nobody`", "[roles.nobody]"),
        (&["--agent", "alice", "--role", "worker", "echo_echo"], "stands in the configuration", "explain"),
        (&["--agent", "bob", "--role", "worker", "echo_echo"], "no agent `bob`", "alice"),
    ] {
        let output = folder.run(&[&["explain"], arguments].concat());
        let told = stderr(&output);
        assert!(output.status.code() == Some(1) && told.contains(expected) && told.contains(hint), "{told}");
    }
    let without = Folder::new(&format!("{}{ROLES}", plugins(&usual_plugins())));
    let output = without.run(&["explain", "--agent", "token.bob", "--role", "worker", "echo_echo"]);
    assert!(stderr(&output).contains("no agent `token.bob`"), "{}", stderr(&output));
}

/// A12: with everything logged that can be.
#[test]
fn a_token_is_in_no_log_and_no_record() {
    let issuer = Issuer::start(AUDIENCE);
    let folder = team(&issuer.url, "");
    let mut command = folder.command(&["serve"]);
    command.env("PORTCULLIS_LOG", "trace");
    let host = Served::start(command, "serving at ");
    let (good, bad) =
        (issuer.token("bob", "worker"), issuer.key().sign(&with(issuer.claims("bob", "worker"), json!({ "exp": 1 }))));
    let call = |token: &str, tool: &str| {
        let answer = Client::new(&host, token).newer("tools/call", json!({ "name": tool, "arguments": {} }));
        assert!(!answer.body.contains("eyJ"), "{answer:?}");
        answer.status
    };
    assert_eq!((call(&good, "outcomes_trap"), call(&bad, "outcomes_trap")), (200, 401));
    let lines = host.end();
    assert!(lines.len() > 10, "{lines:#?}");
    for token in [&good, &bad] {
        for part in token.split('.') {
            assert!(!lines.iter().any(|line| line.contains(part)), "the log");
            for entry in walk(&folder.path().join(".portcullis")) {
                let text = fs::read(&entry).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&text).contains(part), "{}", entry.display());
            }
        }
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
