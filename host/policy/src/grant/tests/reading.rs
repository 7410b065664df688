//! What may be written, what it becomes, and what is refused with which words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grants;
use crate::{Grants, Limits, MAX_ENTRIES};

const DESIGN: &str = r#"
    http    = ["GET https://api.openweathermap.org/data/2.5/**",
               { allow = "GET https://intranet.example/**", private = ["10.0.0.0/8"] }]
    deny    = ["GET https://api.openweathermap.org/data/2.5/onecall/**"]
    secrets = [{ name = "openweather", header = "x-api-key", to = "https://api.openweathermap.org" }]
    files   = [{ host = "./data", guest = "/data", access = "read", quota = "16MiB" }]
    env     = { UNITS = "metric" }
    kv      = [{ bucket = "shared", prefix = "weather/", access = "read-write" },
               { bucket = "agent-{principal}", access = "read-write" }]
"#;

/// A block as it stands in the lock.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Block {
    source: String,
    grants: Grants,
    limits: Limits,
}

#[test]
fn the_lock_has_the_normal_form() {
    let block = Block { source: "w.wasm".into(), grants: grants(DESIGN), limits: Limits::default() };
    let lock = BTreeMap::from([("plugins", BTreeMap::from([("weather", block)]))]);
    let text = toml::to_string(&lock).expect("TOML");
    let expected = r#"[plugins.weather]
source = "w.wasm"

[plugins.weather.grants]
deny = ["GET https://api.openweathermap.org/data/2.5/onecall/**"]
http = ["GET https://api.openweathermap.org/data/2.5/**", { allow = "GET https://intranet.example/**", private = ["10.0.0.0/8"] }]

[[plugins.weather.grants.secrets]]
name = "openweather"
header = "x-api-key"
to = "https://api.openweathermap.org"

[[plugins.weather.grants.files]]
host = "data"
guest = "/data"
access = "read"
quota = "16MiB"

[[plugins.weather.grants.kv]]
bucket = "agent-{principal}"
access = "read-write"

[[plugins.weather.grants.kv]]
bucket = "shared"
prefix = "weather/"
access = "read-write"

[plugins.weather.grants.env]
UNITS = "metric"

[plugins.weather.limits]
deadline-ms = 15000
fuel = 50000000000
memory = 67108864
output = 1048576
concurrency = 16
"#;
    assert_eq!(text, expected);
    for text in [text, toml::to_string_pretty(&lock).expect("TOML")] {
        let read: BTreeMap<String, BTreeMap<String, Block>> = toml::from_str(&text).expect("a lock");
        assert_eq!(read["plugins"]["weather"], lock["plugins"]["weather"], "{text}");
    }
}

#[test]
fn what_is_written_otherwise_is_the_same() {
    let check = |one: &str, other: &str| {
        let (one, other) = (grants(one), grants(other));
        assert_eq!(one, other);
        for grants in [one, other] {
            assert_eq!(toml::from_str::<Grants>(&toml::to_string(&grants).expect("TOML")), Ok(grants.clone()));
            let json = serde_json::to_string(&grants).expect("JSON");
            assert_eq!(serde_json::from_str::<Grants>(&json).expect("grants"), grants);
        }
    };
    check("", "http = []\ndeny = []\nsecrets = []\nfiles = []\nenv = {}\nkv = []");
    check(
        "http = ['POST,GET,GET HTTPS://BÜCHER.Example:443/%7Ea/%c3%a9']",
        "http = ['GET,POST https://xn--bcher-kva.example/~a/%C3%A9']",
    );
    check(
        "http = ['GET http://b.example/', 'GET http://a.example:80/']",
        "http = ['GET http://a.example/', 'GET http://b.example/', 'GET http://b.example:80/']",
    );
    check(
        "http = [{ allow = 'GET http://[0::1]/', private = ['::1'] }, 'GET http://[::1]/']",
        "http = [{ allow = 'GET http://[::1]/', private = ['::1/128', '::1'] }]",
    );
    check("http = [{ allow = 'GET http://a.example/', private = [] }]", "http = ['GET http://a.example/']");
    check(
        "files = [{ host = './/a/./b/', guest = '/a/' }, { host = './', guest = '/' }]",
        "files = [{ host = '.', guest = '/', quota = '16384KiB' }, { host = 'a/b', guest = '/a', access = 'read' }]",
    );
    check(
        "secrets = [{ name = 'a', header = 'X-Key', to = 'HTTPS://A.example:443/' }]",
        "secrets = [{ name = 'a', header = 'x-key', to = 'https://a.example' }]",
    );
    check(
        "kv = [{ bucket = 'b', prefix = '' }, { bucket = 'a' }]",
        "kv = [{ bucket = 'a' }, { bucket = 'b', access = 'read' }]",
    );
}

#[test]
fn empty_is_empty() {
    assert!(grants("env = {}").is_empty());
    for text in ["env = { A = '' }", "deny = ['GET http://a.example/']", "kv = [{ bucket = 'a' }]"] {
        assert!(!grants(text).is_empty(), "{text}");
    }
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    let check = |text: &str, expected: &str| {
        let error = toml::from_str::<Grants>(text).expect_err(text);
        assert!(error.message().contains(expected), "{text}\n{error}");
    };
    let http = |entry: &str, expected: &str| {
        check(&format!("http = [{entry:?}]"), &format!("an entry of `http` {expected}: `"));
        check(&format!("deny = [{entry:?}]"), &format!("an entry of `deny` {expected}: `"));
    };
    check("htp = []", "unknown field `htp`");
    check("http = [{ allow = 'GET http://a.example/', privat = [] }]", "unknown field `privat`");
    check("http = [{ allow = 'GET http://a.example/' }]", "missing field `private`");
    check("http = [7]", "expected `\"METHODS URL\"`, or `{ allow = ");
    let methods = "must begin with methods in upper case, as `GET` or `GET,POST`, without `CONNECT`, or with `*`";
    http("https://a.example/", "must have methods and a URL, as `GET https://api.example.com/v1/**`");
    for bad in ["get", "", "GET,", "GET,*", "CONNECT", "GET,CONNECT", "G3T", "GET\t"] {
        http(&format!("{bad} https://a.example/"), methods);
    }
    http("GET  https://a.example/", "must have no white space or control character in its URL");
    http("GET ws://a.example/", "must begin with `http://` or `https://`");
    http("GET //a.example/", "must begin with `http://` or `https://`");
    http("GET https://me@a.example/", "must have no user info, which is what stands before `@`");
    http("GET https://a.example/?q=1", "must have no query: it is not matched");
    http("GET https://a.example/#a", "must have no fragment, which is what stands after `#`");
    http("GET https://a.example", "must have a path after the host, as `/` or `/**`");
    http("GET https://a.example:*/", "must have a port from 1 to 65535");
    http("GET https://a.example/a**/b", "must have `**` only as a whole segment");
    http("GET https://a.example/***", "must have `**` only as a whole segment");
    http("GET https://a.example/../b", "must have no segment `.` or `..` in its path, also encoded");
    http("GET https://a.example/%2F", "must have no `%2F` in its path");
    http("GET https://a.example/%2*", "must have two hex digits after each `%` in its path");
    let star = "must have a host with `*.` or `**.` before a name, and no other `*`";
    for host in ["*", "**", "a.*", "a*.example", "a.*.example"] {
        http(&format!("GET https://{host}/"), star);
    }
    let labels = "must have a host with labels of 1 to 63 letters, digits, `-` and `_`, and no dot at the end";
    http("GET https://*.*.example/", labels);
    http("GET https://***.example/", star);
    http("GET https://a.example./", labels);
    http("GET https://*.127.0.0.1/", "must have a host with a name after `*.`");
    http("GET https://127.1/", "must have a host with an IPv4 address as four decimal numbers");
    http("GET https://[::ffff:7f00:1]/", "must have a host with an IPv4 address as such");
    http(&format!("GET https://a.example/{}", "a".repeat(1024)), "must have at most 1024 bytes");
    // Short as it is written, and longer than the bound as ASCII.
    let written = format!("GET https://ü.example/{}", "a".repeat(1024 - 23));
    assert_eq!(written.len(), 1024);
    http(&written, "must have at most 1024 bytes");

    let private = |range: &str, expected: &str| {
        check(&format!("http = [{{ allow = 'GET http://a.example/', private = ['{range}'] }}]"), expected);
    };
    private("10.0.0.1/8", "`private` ranges that begin where they say, as `10.0.0.0/8`: `10.0.0.1/8`");
    private("0.0.0.0/0", "no wider than `/8`");
    private("::/0", "no wider than `/7`");
    private("::ffff:0:0/96", "IPv4 ranges in `private` written as such");
    private("intranet", "must have IP ranges as `private`");

    let files = |entry: &str, expected: &str| check(&format!("files = [{{ {entry} }}]"), expected);
    for host in ["/", "//", "/.", "/proc", "/proc/self/root", "/sys", "/dev/shm", "//dev/"] {
        files(&format!("host = '{host}', guest = '/a'"), "must not have `/`, `/proc`, `/sys` or `/dev`");
    }
    for host in ["/a/../proc", "a/../b", "/..", "../a/.."] {
        files(&format!("host = '{host}', guest = '/a'"), "must have `..` only at the beginning");
    }
    files("host = '~/a', guest = '/a'", "without `~` first");
    files("host = './~a', guest = '/a'", "without `~` first");
    files("host = '', guest = '/a'", "must have a `host` path of 1 to 4096 bytes");
    files("host = \"a\\u0000\", guest = '/a'", "must have a `host` path of 1 to 4096 bytes");
    for guest in ["", "a", "/a/../b", "/./a", "//a", "/a//", "/.."] {
        files(&format!("host = 'a', guest = '{guest}'"), "must have an absolute `guest` path");
    }
    for quota in ["0B", "2TiB", "lots", "", "-1MiB"] {
        files(&format!("host = 'a', guest = '/a', quota = '{quota}'"), "must have a `quota` from `1B` to `1TiB`");
    }
    files("host = 'a', guest = '/a', access = 'write'", "unknown variant `write`, expected `read` or `read-write`");
    check(
        "files = [{ host = 'a', guest = '/a' }, { host = 'b', guest = '/a/' }]",
        "must have a `guest` path of its own",
    );

    let secret = |name: &str, header: &str, to: &str, expected: &str| {
        check(&format!("secrets = [{{ name = '{name}', header = '{header}', to = '{to}' }}]"), expected);
    };
    secret("a b", "x-key", "https://a.example", "must have a `name`");
    for header in ["Host", "Content-Length", "transfer-encoding", "connection", "Proxy-Authorization", "te"] {
        secret("a", header, "https://a.example", "must have a `header` that the host does not write itself");
    }
    secret("a", "x key", "https://a.example", "must have the name of a `header`");
    secret("a", "x-key", "https://*.example", "must have a host with labels");
    secret("a", "x-key", "https://a.example/v1", "must have nothing behind the host in `to`");
    secret("a", "x-key", "https://a.example?", "must have nothing behind the host in `to`");
    secret("a", "x-key", "a.example", "must begin with `http://`");
    check(
        "secrets = [{ name = 'a', header = 'x-key', to = 'https://a.example' },
                    { name = 'b', header = 'X-Key', to = 'https://a.example:443' }]",
        "must be the only one for its `header` and `to`",
    );

    for name in ["", "1A", "A-B", "A=B", "Ä"] {
        check(&format!("env = {{ '{name}' = 'a' }}"), "must have a name of 1 to 128 letters");
    }
    check("env = { A = \"a\\u0000\" }", "must have a value of at most 16KiB without NUL");
    check("env = { A = 1 }", "expected a string");
    for bucket in ["", "a b", "{agent}", "{principal}{principal}", "a/b"] {
        check(&format!("kv = [{{ bucket = '{bucket}' }}]"), "must have a `bucket` of 1 to 128 letters");
    }
    for bucket in ["{principal}-{plugin}", "{plugin}{principal}", "{plugin}.{principal}{plugin}", "{principal", "a{}"] {
        check(&format!("kv = [{{ bucket = '{bucket}' }}]"), "with a `.` between the two");
    }
    check("kv = [{ bucket = 'a', prefix = \"a\\n\" }]", "must have a `prefix` of at most 512 bytes");
    let long = format!("{}{{plugin}}/", "a".repeat(500));
    for prefix in ["{principal}", "{plugin}x/", "{principal}.x/", "{agent}/", "{", "}", "{plugin}/{plugin}/", &long] {
        check(&format!("kv = [{{ bucket = 'a', prefix = '{prefix}' }}]"), "must have a `prefix` of at most 512 bytes");
    }
}

#[test]
fn lists_are_bounded() {
    let env = |count: usize| (0..count).map(|n| format!("env.A{n} = ''\n")).collect::<String>();
    assert_eq!(grants(&env(MAX_ENTRIES)).env().len(), MAX_ENTRIES);
    assert!(toml::from_str::<Grants>(&env(MAX_ENTRIES + 1)).is_err());
    let check = |key: &str, entry: fn(usize) -> String| {
        let text = |count: usize| format!("{key} = [{}]", (0..count).map(entry).collect::<Vec<_>>().join(","));
        grants(&text(MAX_ENTRIES));
        let error = toml::from_str::<Grants>(&text(MAX_ENTRIES + 1)).expect_err(key);
        assert!(error.message().contains(&format!("at most 256 in `{key}`: `257`")), "{error}");
    };
    check("http", |n| format!("'GET http://a.example/{n}'"));
    check("deny", |n| format!("'GET http://a.example/{n}'"));
    check("secrets", |n| format!("{{ name = 'a{n}', header = 'x{n}', to = 'http://a.example' }}"));
    check("files", |n| format!("{{ host = 'a', guest = '/{n}' }}"));
    check("kv", |n| format!("{{ bucket = 'a{n}' }}"));
}

#[test]
fn an_error_names_its_line() {
    let text = "http = [\n  'GET https://a.example/',\n  'GET a.example',\n]\n";
    let error = toml::from_str::<Grants>(text).expect_err("a fault");
    let span = error.span().expect("a place");
    assert_eq!(text.get(span), Some("'GET a.example'"), "{error}");
}

#[test]
fn an_error_shows_no_raw_control_character() {
    let error = toml::from_str::<Grants>("http = [\"GET https://a\\u001b[2J\\u202e/\"]").expect_err("a fault");
    assert!(!error.message().contains(['\u{1b}', '\u{202e}']), "{error:?}");
}
