//! What is wider and what is not, and that "not wider" is always true.

use std::{net::IpAddr, sync::Arc};

use proptest::{prelude::*, sample::subsequence};

use super::grants;
use crate::{Access, Change, ChangeKind, Effective, Grants, HttpDecision, HttpDenied, RequestTarget};

#[track_caller]
fn check(approved: &str, configured: &str, widened: &[&str], narrowed: &[&str]) {
    let shown = |changes: Vec<Change>| changes.iter().map(Change::to_string).collect::<Vec<_>>();
    let (approved, configured) = (grants(approved), grants(configured));
    assert_eq!(shown(configured.widened_over(&approved)), widened, "widened");
    assert_eq!(shown(configured.narrowed_over(&approved)), narrowed, "narrowed");
}

#[test]
fn http_entries() {
    let a = "http = ['GET https://a.example/**']";
    check("", "", &[], &[]);
    check("", a, &["http: GET https://a.example/**"], &[]);
    check(a, "", &[], &["http: GET https://a.example/**"]);
    check(a, a, &[], &[]);
    check(
        a,
        "http = ['GET https://a.example/v1/**', 'GET https://b.example/**']",
        &["http: GET https://b.example/**"],
        &["http: GET https://a.example/**"],
    );
    check(a, "http = ['GET,HEAD,POST https://a.example/**']", &["http: HEAD,POST https://a.example/**"], &[]);
    check(
        "http = ['HEAD https://a.example/**', 'GET https://*.example/**']",
        "http = ['GET,HEAD https://a.example/**']",
        &[],
        &["http: GET https://*.example/**"],
    );
    check(a, "http = ['* https://a.example/**']", &["http: * https://a.example/**"], &[]);
    let covered = |approved: &str, configured: &str, expected: bool| {
        let list = |url: &str| format!("http = ['GET {url}']");
        let widened = grants(&list(configured)).widened_over(&grants(&list(approved)));
        assert_eq!(widened.is_empty(), expected, "{approved} covers {configured}");
    };
    for (approved, configured, expected) in [
        ("https://a.example/*/b", "https://a.example/a*/b", true),
        ("https://a.example/a*/b", "https://a.example/*/b", false),
        ("https://a.example/**", "https://a.example/a/**/b", true),
        ("https://a.example/*", "https://a.example/**", false),
        ("https://a.example/*", "https://a.example/", false),
        ("https://a.example/**/b", "https://a.example/b", true),
        ("https://a.example/!", "https://a.example/%21", false),
        ("https://a.example/", "http://a.example/", false),
        ("https://a.example/", "https://a.example:8443/", false),
        ("https://*.example/", "https://a.example/", true),
        ("https://*.example/", "https://a.b.example/", false),
        ("https://**.example/", "https://*.b.example/", true),
        ("https://**.example/", "https://*.example/", true),
        ("https://*.example/", "https://**.example/", false),
        ("https://*.b.example/", "https://*.example/", false),
        ("https://**.b.example/", "https://**.example/", false),
        ("https://**.example/", "https://127.0.0.1/", false),
    ] {
        covered(approved, configured, expected);
    }
}

#[test]
fn private_ranges() {
    let list = |methods: &str, range: &str| {
        format!("http = [{{ allow = '{methods} https://a.example/**', private = [{range}] }}]")
    };
    let (wide, narrow) = (list("GET", "'10.0.0.0/8'"), list("GET", "'10.1.0.0/16'"));
    check(&wide, &narrow, &[], &["http: GET https://a.example/**, private 10.0.0.0/8"]);
    check(&narrow, &wide, &["http: GET https://a.example/**, private 10.0.0.0/8"], &[]);
    check(
        &list("GET", ""),
        &list("GET,POST", "'10.0.0.0/8', '::1'"),
        &[
            "http: POST https://a.example/**, private 10.0.0.0/8, ::1/128",
            "http: GET https://a.example/**, private 10.0.0.0/8",
            "http: GET https://a.example/**, private ::1/128",
        ],
        &[],
    );
}

#[test]
fn denials() {
    let both = "http = ['GET https://a.example/**']\ndeny = ['GET,POST https://a.example/x/**']";
    let open = "http = ['GET https://a.example/**']";
    check(both, open, &["deny: GET,POST https://a.example/x/** (no longer denied)"], &[]);
    check(open, both, &[], &["deny: GET,POST https://a.example/x/** (now denied)"]);
    let wider = "http = ['GET https://a.example/**']\ndeny = ['* https://*.example/x/**']";
    check(both, wider, &[], &["deny: * https://*.example/x/** (now denied)"]);
    let narrower = "http = ['GET https://a.example/**']\ndeny = ['GET https://a.example/x/*']";
    check(both, narrower, &["deny: GET,POST https://a.example/x/** (no longer denied)"], &[]);
    let without_post =
        "http = ['* https://a.example/**']\ndeny = ['GET https://a.example/x/%2A', 'GET https://a.example/x/**']";
    check(
        both,
        without_post,
        &["http: * https://a.example/**", "deny: POST https://a.example/x/** (no longer denied)"],
        &[],
    );
    let encoded = "http = ['GET https://a.example/!']\ndeny = ['GET https://a.example/%21']";
    let lifted = "http = ['GET https://a.example/!']";
    check(encoded, lifted, &["deny: GET https://a.example/%21 (no longer denied)"], &[]);
    let above = "http = ['GET https://a.example/x']\ndeny = ['GET https://a.example/x/y']";
    check(above, "http = ['GET https://a.example/x']", &[], &[]);
    // Without what it was an exception of, a denial may go.
    check(both, "http = ['GET https://a.example/y']", &[], &["http: GET https://a.example/**"]);
    check(both, "", &[], &["http: GET https://a.example/**"]);
}

#[test]
fn the_other_kinds() {
    check(
        "files = [{ host = 'a', guest = '/a' }, { host = 'b', guest = '/b', access = 'read-write' }]",
        "files = [{ host = 'a', guest = '/a', access = 'read-write', quota = '1GiB' }, { host = 'c', guest = '/b' }]",
        &["files: a as /a, read → read-write", "files: a as /a, 16MiB → 1GiB", "files: c as /b, read, 16MiB"],
        &["files: b as /b, read-write, 16MiB"],
    );
    check(
        "env = { A = '1', B = '2', C = '3' }",
        "env = { A = '1', B = '9', D = '4' }",
        &["env: B=2 → 9", "env: D=4"],
        &["env: C=3"],
    );
    check(
        "kv = [{ bucket = 'a', prefix = 'x/', access = 'read-write' }]",
        "kv = [{ bucket = 'a', prefix = 'x/y' }, { bucket = 'a' }, { bucket = 'b', prefix = 'x/' }]",
        &["kv: a, keys *, read", "kv: b, keys x/*, read"],
        &["kv: a, keys x/*, read-write"],
    );
    check(
        "secrets = [{ name = 'a', header = 'x-key', to = 'https://a.example' }]",
        "secrets = [{ name = 'a', header = 'x-key', to = 'https://b.example' }]",
        &["secrets: a as x-key to https://b.example"],
        &["secrets: a as x-key to https://a.example"],
    );
}

#[test]
fn what_waits_for_approval_is_named() {
    let approved = "http = ['GET https://a.example/**']\ndeny = ['GET https://a.example/x']";
    let configured = "http = ['GET https://**.example/**']\ndeny = ['GET https://a.example/y']";
    let effective = Effective::new(Arc::new(grants(approved)), Arc::new(grants(configured)));
    let check = |url: &str, expected: &str| {
        let shown = match effective.http("GET", &RequestTarget::parse(url).expect(url)) {
            HttpDecision::Allowed { by, .. } => by.to_string(),
            HttpDecision::Denied(HttpDenied::Unapproved(by)) => format!("unapproved {by}"),
            HttpDecision::Denied(denied) => denied.to_string(),
        };
        assert_eq!(shown, expected, "{url}");
    };
    check("https://a.example/", "GET https://**.example/**");
    check("https://b.example/", "unapproved GET https://**.example/**");
    check("https://a.example/x", "an entry of `deny` matches it: `GET https://a.example/x`");
    check("https://a.example/y", "an entry of `deny` matches it: `GET https://a.example/y`");
    check("https://a.test/", "no entry of `http` allows it");
}

#[test]
fn what_holds_is_the_lower_of_both() {
    let wide = "
        http = [{ allow = 'GET https://a.example/**', private = ['10.0.0.0/8', '::1'] }]
        files = [{ host = 'a', guest = '/a', access = 'read-write', quota = '1MiB' }, { host = 'b', guest = '/b' }]
        kv = [{ bucket = 'a', access = 'read-write' }, { bucket = 'b' }]
        env = { A = '1', B = '1' }";
    let narrow = "
        http = [{ allow = 'GET https://*.example/**', private = ['10.1.0.0/16', '172.16.0.0/12'] }]
        files = [{ host = 'a', guest = '/a', quota = '2MiB' }, { host = 'c', guest = '/b' }]
        kv = [{ bucket = 'a', prefix = 'x' }]
        env = { A = '1' }";
    let target = RequestTarget::parse("https://a.example/").expect("a target");
    for (approved, configured) in [(wide, narrow), (narrow, wide)] {
        let effective = Effective::new(Arc::new(grants(approved)), Arc::new(grants(configured)));
        let HttpDecision::Allowed { private, .. } = effective.http("GET", &target) else { panic!("denied") };
        assert_eq!(private.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.0.0/16"]);
        let files: Vec<_> = effective.files().iter().map(ToString::to_string).collect();
        assert_eq!(files, ["a as /a, read, 1MiB"]);
        assert_eq!(effective.kv().iter().map(ToString::to_string).collect::<Vec<_>>(), ["a, keys x*, read"]);
        assert_eq!(effective.env().collect::<Vec<_>>(), [("A", "1")]);
    }
}

const METHODS: [&str; 4] = ["GET", "POST", "GET,POST", "*"];
const HOSTS: [&str; 6] = ["a.example", "b.a.example", "*.a.example", "**.a.example", "*.example", "127.0.0.1"];
const PATHS: [&str; 13] =
    ["/", "/**", "/a", "/a/", "/a/*", "/a/**", "/*/b", "/a*/b", "/**/b", "/!/**", "/%21/**", "/*", "/a/**/b/**"];
const RANGES: [&str; 5] = ["", "'10.0.0.0/8'", "'10.1.0.0/16'", "'10.1.2.3', '192.168.0.0/16'", "'fc00::/7'"];

fn pattern() -> impl Strategy<Value = String> {
    let parts = (any::<bool>(), any::<bool>());
    (0..METHODS.len(), 0..HOSTS.len(), 0..PATHS.len(), parts).prop_map(|(method, host, path, (tls, port))| {
        let port = if port && tls { ":8443" } else { "" };
        let scheme = if tls { "https" } else { "http" };
        format!("{} {scheme}://{}{port}{}", METHODS[method], HOSTS[host], PATHS[path])
    })
}

/// Lines of a configuration. Two subsets of one pool are often within each other, which two random lists never are.
fn pool() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let http = (pattern(), 0..RANGES.len())
        .prop_map(|(allow, range)| ("http", format!("{{ allow = '{allow}', private = [{}] }}", RANGES[range])));
    let deny = pattern().prop_map(|deny| ("deny", format!("'{deny}'")));
    let kv = ("[ab]", "[xy]{0,2}", any::<bool>()).prop_map(|(bucket, prefix, write)| {
        let access = if write { "read-write" } else { "read" };
        ("kv", format!("{{ bucket = '{bucket}', prefix = '{prefix}', access = '{access}' }}"))
    });
    let files = ("[ab]", 1..3_u8, any::<bool>()).prop_map(|(host, quota, write)| {
        let access = if write { "read-write" } else { "read" };
        ("files", format!("{{ host = '{host}', guest = '/a', access = '{access}', quota = '{quota}MiB' }}"))
    });
    let env = (1..3_u8).prop_map(|value| ("env", format!("A = '{value}'")));
    let secrets =
        "[ab]".prop_map(|name| ("secrets", format!("{{ name = '{name}', header = 'h', to = 'http://a.example' }}")));
    proptest::collection::vec(prop_oneof![6 => http, 3 => deny, 1 => kv, 1 => files, 1 => env, 1 => secrets], 1..8)
}

fn built(entries: &[(&str, String)]) -> Grants {
    let list = |key: &str| {
        // One place holds one directory, one variable and one secret.
        let most = if matches!(key, "files" | "env" | "secrets") { 1 } else { usize::MAX };
        let of_kind = entries.iter().filter(|(kind, _)| *kind == key).map(|(_, entry)| entry.as_str());
        of_kind.take(most).collect::<Vec<_>>().join(", ")
    };
    let lists = ["http", "deny", "kv", "files", "secrets"].map(|key| format!("{key} = [{}]", list(key)));
    grants(&format!("{}\nenv = {{ {} }}", lists.join("\n"), list("env")))
}

fn two() -> impl Strategy<Value = (Grants, Grants)> {
    pool().prop_flat_map(|pool| {
        let subset = || subsequence(pool.clone(), 0..=pool.len()).prop_map(|entries| built(&entries));
        (subset(), subset())
    })
}

/// Each request that the patterns above tell apart.
fn requests() -> Vec<(&'static str, RequestTarget)> {
    let mut requests = Vec::new();
    for method in ["GET", "POST", "PUT"] {
        for origin in ["http://", "https://"] {
            for host in ["a.example", "b.a.example", "c.b.a.example", "example", "127.0.0.1", "b.a.example:8443"] {
                for path in ["/", "/a", "/a/", "/a/b", "/a/c/b", "/ab/b", "/!/a", "/%21/a", "/b", "/a/b/c"] {
                    let target = RequestTarget::parse(&format!("{origin}{host}{path}")).expect("a target");
                    requests.push((method, target));
                }
            }
        }
    }
    requests
}

const ADDRESSES: [&str; 5] = ["10.0.0.1", "10.1.0.1", "10.1.2.3", "192.168.0.1", "fd00::1"];

/// Whether it is allowed at all, then whether to each address.
fn reach(decision: HttpDecision<'_>) -> Vec<bool> {
    match decision {
        HttpDecision::Denied(_) => vec![false; ADDRESSES.len() + 1],
        HttpDecision::Allowed { private, .. } => {
            let opens = |address: &IpAddr| private.iter().any(|range| range.contains(*address));
            let addresses = ADDRESSES.iter().map(|address| opens(&address.parse().expect("an address")));
            std::iter::once(true).chain(addresses).collect()
        }
    }
}

fn writes(grants: &[crate::KvGrant], bucket: &str, key: &str) -> Option<Access> {
    let holds = |entry: &&crate::KvGrant| entry.bucket() == bucket && key.starts_with(entry.prefix());
    grants.iter().filter(holds).map(crate::KvGrant::access).max()
}

const KEYS: [(&str, &str); 8] =
    [("a", ""), ("a", "x"), ("a", "y"), ("a", "xy"), ("a", "yyz"), ("b", "x"), ("b", "yx"), ("b", "")];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_widening_means_that_all_of_it_was_approved((approved, configured) in two()) {
        prop_assert_eq!(configured.widened_over(&configured), vec![]);
        let same = |one: &Grants, other: &Grants| one.widened_over(other).is_empty();
        // The same seen from the other side, but for values of variables, which are neither more nor less.
        let entries = |changes: Vec<Change>| {
            let kept = changes.iter().filter(|change| change.kind != ChangeKind::Env);
            kept.map(|change| change.kind).collect::<Vec<_>>()
        };
        prop_assert_eq!(entries(configured.widened_over(&approved)), entries(approved.narrowed_over(&configured)));
        if same(&configured, &approved) {
            for (method, target) in requests() {
                let (ours, theirs) = (reach(configured.http(method, &target)), reach(approved.http(method, &target)));
                prop_assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| ours <= theirs), "{} {}", method, target);
            }
            for (bucket, key) in KEYS {
                prop_assert!(writes(configured.kv(), bucket, key) <= writes(approved.kv(), bucket, key));
            }
            let effective = Effective::new(Arc::new(approved), Arc::new(configured.clone()));
            prop_assert_eq!(effective.files(), configured.files());
            prop_assert!(effective.env().eq(configured.env().iter().map(|(name, value)| (&**name, &**value))));
            prop_assert!(effective.secrets().eq(configured.secrets()));
        }
    }

    #[test]
    fn what_holds_is_what_both_allow((approved, configured) in two()) {
        let effective = Effective::new(Arc::new(approved.clone()), Arc::new(configured.clone()));
        for (method, target) in requests() {
            let both = reach(approved.http(method, &target)).into_iter().zip(reach(configured.http(method, &target)));
            let both: Vec<_> = both.map(|(one, other)| one && other).collect();
            prop_assert_eq!(reach(effective.http(method, &target)), both, "{} {}", method, target);
        }
        for (bucket, key) in KEYS {
            let both = writes(approved.kv(), bucket, key).min(writes(configured.kv(), bucket, key));
            prop_assert_eq!(writes(&effective.kv(), bucket, key), both);
        }
        for entry in effective.files() {
            for grants in [&approved, &configured] {
                let within = |other: &crate::FileGrant| {
                    (other.host(), other.guest()) == (entry.host(), entry.guest())
                        && other.access() >= entry.access()
                        && other.quota() >= entry.quota()
                };
                prop_assert!(grants.files().iter().any(within));
            }
        }
        for (name, value) in effective.env() {
            prop_assert!(configured.env().contains_key(name));
            prop_assert_eq!(approved.env().get(name).map(String::as_str), Some(value));
        }
        prop_assert!(effective.secrets().all(|entry| approved.secrets().contains(entry)));
    }

    #[test]
    fn a_denial_holds_whatever_is_allowed((base, more) in two()) {
        for (method, target) in requests() {
            if matches!(base.http(method, &target), HttpDecision::Denied(HttpDenied::Entry(_))) {
                let merged = Grants { http: more.http.clone(), ..base.clone() };
                prop_assert!(matches!(merged.http(method, &target), HttpDecision::Denied(HttpDenied::Entry(_))));
            }
        }
    }

    #[test]
    fn grants_read_as_they_are_written((grants, _) in two()) {
        let text = toml::to_string(&grants).expect("TOML");
        prop_assert_eq!(toml::from_str::<Grants>(&text).expect("grants"), grants.clone());
        let json = serde_json::to_string(&grants).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<Grants>(&json).expect("grants"), grants);
    }
}
