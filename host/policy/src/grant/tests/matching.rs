//! Which requests pass: the hostile ones of ../shared/THREATS.md (E1 to E7, E18, E19), and globs against a reference.

use proptest::prelude::*;

use super::grants;
use crate::{
    HttpDecision, RequestTarget,
    grant::path::{Path, Reading},
};

const GRANTS: &str = r#"
    http = [
        "GET https://ok.example/v1/**",
        "GET,POST https://ok.example:8443/a/*/c",
        "GET https://*.one.example/**",
        "GET https://**.deep.example/**",
        "* http://127.0.0.1:8080/",
        "GET http://[::1]/**",
        "GET https://bücher.example/users/*",
        "GET https://ok.example/back/v*.json",
    ]
    deny = ["GET https://ok.example/v1/secret!/**", "* https://no.deep.example/**"]
"#;

/// The entry that decided, `-` where none did, and for what is no target why.
fn decided(method: &str, url: &str) -> String {
    let grants = grants(GRANTS);
    let target = match RequestTarget::parse(url) {
        Ok(target) => target,
        Err(fault) => return fault.to_string(),
    };
    match grants.http(method, &target) {
        HttpDecision::Allowed { by, .. } => format!("allowed by {by}"),
        HttpDecision::Denied(denied) => denied.to_string(),
    }
}

#[track_caller]
fn check(method: &str, url: &str, expected: &str) {
    assert_eq!(decided(method, url), expected, "{method} {url}");
}

const NONE: &str = "no entry of `http` allows it";

#[test]
fn what_is_granted_passes() {
    let v1 = "allowed by GET https://ok.example/v1/**";
    for url in ["/v1", "/v1/", "/v1/a/b", "/v1/a?q=..%2f", "/v1/%61", "/v1/...", "/v1/a;b", "/v1/%C3%A9", "/v1/.a"] {
        check("GET", &format!("https://ok.example{url}"), v1);
    }
    check("GET", "HTTPS://OK.Example:443/v1/a", v1);
    check("POST", "https://ok.example:8443/a/b/c", "allowed by GET,POST https://ok.example:8443/a/*/c");
    check("PURGE", "http://127.0.0.1:8080/", "allowed by * http://127.0.0.1:8080/");
    check("GET", "http://[0:0::1]/x", "allowed by GET http://[::1]/**");
    check("GET", "https://BÜCHER.example/users/7", "allowed by GET https://xn--bcher-kva.example/users/*");
    check("GET", "https://xn--bcher-kva.example/users/7", "allowed by GET https://xn--bcher-kva.example/users/*");
    check("GET", "https://ok.example/back/v1.json", "allowed by GET https://ok.example/back/v*.json");
}

#[test]
fn e1_to_e3_and_e6_another_host_port_scheme_or_method() {
    for url in [
        "https://evil.example/v1/a",
        "https://ok.example.evil.com/v1/a",
        "https://evilok.example/v1/a",
        "https://a.ok.example/v1/a",
        "https://ok.example:8443/v1/a",
        "https://ok.example:80/v1/a",
        "http://ok.example/v1/a",
        "http://ok.example:443/v1/a",
        "https://ok.example/v2/a",
        "https://ok.example/V1/a",
        "https://ok.example/v1x/a",
        "https://ok.example:8443/a/b/b/c",
        "https://ok.example:8443/a/c",
        "https://bücher.example/users/",
        "https://ok.example/back/v1.json/x",
    ] {
        check("GET", url, NONE);
    }
    check("POST", "https://ok.example/v1/a", NONE);
    let method = "the method is none in upper case, or `CONNECT`";
    for bad in ["get", "Get", "CONNECT", "", "GET ", "GET\r\nX", "*", "GET,POST"] {
        check(bad, "http://127.0.0.1:8080/", method);
    }
}

#[test]
fn e4_and_e5_spellings_that_mean_another_host() {
    let user = "must have no user info, which is what stands before `@`";
    check("GET", "https://ok.example@evil.example/v1/a", user);
    check("GET", "https://ok.example:443@evil.example/v1/a", user);
    check("GET", "https://@ok.example/v1/a", user);
    let labels = "must have a host with labels of 1 to 63 letters, digits, `-` and `_`, and no dot at the end";
    check("GET", "https://ok.example./v1/a", labels);
    check("GET", "https://ok..example/v1/a", labels);
    check("GET", "https://*.example/v1/a", labels);
    check("GET", "https://%6fk.example/v1/a", "must have a host with no `%`");
    check("GET", r"https://ok.example\@evil.example/v1/a", user);
    check("GET", r"https://evil.example\.ok.example/v1/a", "must have a host with a name or an IP address");
    check("GET", "https:///v1/a", "must have a host with from 1 to 253 bytes");
    check("GET", "https:/ok.example/v1/a", "must begin with `http://` or `https://`");
    check("GET", "ftp://ok.example/v1/a", "must begin with `http://` or `https://`");
    check("GET", "https://ok.example", "must have a path after the host, as `/` or `/**`");
    check("GET", "https://ok.example/v1/a#b", "must have no fragment, which is what stands after `#`");
    for port in ["", "0", "+443", "65536", "443:443", "x"] {
        check("GET", &format!("https://ok.example:{port}/v1/a"), "must have a port from 1 to 65535");
    }
    for bad in ["\r\n", "\t", " ", "\u{a0}", "\0", "\u{85}"] {
        let url = format!("https://ok.example/v1/a{bad}b");
        check("GET", &url, "must have no white space or control character in its URL");
    }
}

#[test]
fn e5_paths_with_two_readings_never_match() {
    let dots = "must have no segment `.` or `..` in its path, also encoded";
    for path in ["/v1/../x", "/v1/..", "/v1/.", "/v1/%2e%2E/x", "/v1/.%2e/x", "/v1/%2e/x", "/v1/..;a/x", "/v1/..%3Ba/x"]
    {
        check("GET", &format!("https://ok.example{path}"), dots);
    }
    let character = |found: &str| format!("must have no `{found}` in its path");
    for (path, found) in [
        ("/v1/..%2fx", "%2F"),
        ("/v1%5Cx", "%5C"),
        (r"/v1\..\x", r"\\"),
        ("/v1/%00", "%00"),
        ("/v1/%0d%0aX", "%0D"),
        ("/v1/%7F", "%7F"),
        ("/v1/%252e%252e/x", "%25"),
        ("/v1/é", r"\xc3"),
        ("/v1/<", "<"),
    ] {
        check("GET", &format!("https://ok.example{path}"), &character(found));
    }
    check("GET", "https://ok.example/v1//x", "must have no empty segment `//` in its path");
    check("GET", "https://ok.example//v1/x", "must have no empty segment `//` in its path");
    check("GET", "https://ok.example/v1/%c0%ae%c0%ae/x", "must have UTF-8 in its path, also encoded");
    for path in ["/v1/%", "/v1/%2", "/v1/%g0", "/v1/%+1"] {
        let url = format!("https://ok.example{path}");
        check("GET", &url, "must have two hex digits after each `%` in its path");
    }
    let long = format!("https://ok.example/v1/{}", "a".repeat(4096));
    check("GET", &long, "must have at most 4096 bytes");
}

#[test]
fn e7_addresses_only_as_they_are_granted() {
    let decimal = "must have a host with an IPv4 address as four decimal numbers";
    for host in ["2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "127.0.0.01", "１２７.0.0.1"] {
        check("GET", &format!("http://{host}:8080/"), decimal);
    }
    let mapped = "must have a host with an IPv4 address as such";
    check("GET", "http://[::ffff:7f00:1]:8080/", mapped);
    check("GET", "http://[::ffff:127.0.0.1]:8080/", mapped);
    for host in ["0.0.0.0", "[::]", "127.0.0.2", "localhost", "[::2]"] {
        check("GET", &format!("http://{host}:8080/"), NONE);
    }
    check("GET", "http://[fe80::1%25eth0]/", "must have a host with no `%`");
    check("GET", "http://::1/", "must have a port from 1 to 65535");
}

#[test]
fn e18_a_wildcard_is_about_labels() {
    check("GET", "https://a.one.example/", "allowed by GET https://*.one.example/**");
    check("GET", "https://a.deep.example/", "allowed by GET https://**.deep.example/**");
    check("GET", "https://a.b.deep.example/", "allowed by GET https://**.deep.example/**");
    for host in ["one.example", "a.b.one.example", "aone.example", "deep.example", "adeep.example", "1.2.3.4"] {
        check("GET", &format!("https://{host}/"), NONE);
    }
}

#[test]
fn deny_beats_allow_in_every_spelling() {
    let denied = "an entry of `deny` matches it: `GET https://ok.example/v1/secret!/**`";
    for path in ["/v1/secret!", "/v1/secret!/x", "/v1/secret%21/x", "/v1/%73ecret%21"] {
        check("GET", &format!("https://ok.example{path}"), denied);
    }
    check("GET", "https://ok.example/v1/secret", "allowed by GET https://ok.example/v1/**");
    check("GET", "https://no.deep.example/", "an entry of `deny` matches it: `* https://no.deep.example/**`");
}

#[test]
fn e19_nothing_is_allowed_by_default() {
    let target = RequestTarget::parse("https://ok.example/").expect("a target");
    for text in ["", "http = []", "deny = ['GET https://a.example/']", "env = { A = 'b' }"] {
        let grants = grants(text);
        assert!(matches!(grants.http("GET", &target), HttpDecision::Denied(_)), "{text}");
    }
}

#[test]
fn private_ranges_are_those_of_every_entry_that_allows() {
    let grants = grants(
        "http = [
            'GET https://a.example/**',
            { allow = 'GET https://a.example/in/**', private = ['10.0.0.0/8'] },
            { allow = '* https://*.example/in/**', private = ['192.168.1.1', 'fc00::/7'] },
            { allow = 'POST https://a.example/**', private = ['172.16.0.0/12'] },
        ]",
    );
    let private = |url: &str| match grants.http("GET", &RequestTarget::parse(url).expect(url)) {
        HttpDecision::Allowed { private, .. } => private,
        denied @ HttpDecision::Denied(_) => panic!("{denied:?}"),
    };
    assert!(private("https://a.example/out").is_empty());
    let inside = private("https://a.example/in/x");
    let opens = |address: &str| inside.iter().any(|range| range.contains(address.parse().expect(address)));
    for address in ["10.1.2.3", "192.168.1.1", "fd00::1", "::ffff:10.1.2.3"] {
        assert!(opens(address), "{address}");
    }
    for address in ["192.168.1.2", "172.16.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert!(!opens(address), "{address}");
    }
}

/// What a glob means, by trying everything.
fn reference(pattern: &[&str], path: &[&str]) -> bool {
    fn segment(pattern: &str, text: &str) -> bool {
        match pattern.strip_prefix('*') {
            Some(rest) => (0..=text.len()).any(|taken| segment(rest, &text[taken..])),
            None => match (pattern.chars().next(), text.chars().next()) {
                (None, None) => true,
                (Some(one), Some(other)) => one == other && segment(&pattern[1..], &text[1..]),
                _ => false,
            },
        }
    }
    match pattern {
        [] => path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|taken| reference(rest, &path[taken..])),
        [first, rest @ ..] => match path {
            ["", after @ ..] => first.is_empty() && reference(rest, after),
            [text, after @ ..] => segment(first, text) && reference(rest, after),
            [] => false,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn globs_are_what_the_reference_says(
        pattern in proptest::collection::vec("\\*\\*|[ab]{1,2}|[ab]?\\*[ab]?|[ab]?\\*[ab]\\*[ab]?", 0..4),
        path in proptest::collection::vec("[ab]{1,4}", 0..5),
        slashes in any::<[bool; 2]>(),
    ) {
        let text = |parts: &[String], slash: bool| format!("/{}{}", parts.join("/"), if slash { "/" } else { "" });
        let normal = |parts: &[String], slash: bool| text(parts, slash && !parts.is_empty());
        let (pattern, path) = (normal(&pattern, slashes[0]), normal(&path, slashes[1]));
        let expected = reference(
            &pattern[1..].split('/').collect::<Vec<_>>(),
            &path[1..].split('/').collect::<Vec<_>>(),
        );
        let (glob, literal) = (Path::glob(&pattern).expect("a glob"), Path::literal(&path).expect("a path"));
        prop_assert_eq!(glob.covers(&literal, Reading::Exact), expected, "{} {}", pattern, path);
        prop_assert!(!expected || glob.may_overlap(&literal));
    }

    #[test]
    fn no_url_is_a_panic_and_what_passes_reads_the_same_again(
        url in "https?://[a-c.0-9xé]{1,6}(:[0-9]{1,3})?/[a-c/.%?]{0,8}|https?://[a-z.@:\\[\\]0-9%é]{0,12}/[ -~é]{0,20}|\\PC{0,40}",
    ) {
        if let Ok(target) = RequestTarget::parse(&url) {
            let again = RequestTarget::parse(&target.to_string());
            prop_assert_eq!(again, Ok(target.clone()));
            // What a browser makes of it, and so most clients.
            let read = url::Url::parse(&url).expect("a URL");
            let host = target.host().to_string();
            prop_assert_eq!(read.scheme(), target.scheme().as_str());
            prop_assert_eq!(read.host_str(), Some(&*host));
            prop_assert_eq!(read.port_or_known_default(), Some(target.port()));
        }
    }

    #[test]
    fn nothing_that_passes_has_a_second_reading(path in "/([ab.]|%2[ef5]|%5[cC]|/|;|%3b){0,12}") {
        if let Ok(target) = RequestTarget::new("https", "a.example", None, &path) {
            let read = url::Url::parse(&target.to_string()).expect("a URL");
            prop_assert_eq!(read.path(), target.path());
        }
    }
}

#[test]
fn parts_and_the_url_that_they_make_are_the_same_target() {
    for (scheme, authority, path) in [
        ("https", "ok.example", "/v1/a"),
        ("https", "ok.example:443", "/v1/a"),
        ("HTTP", "OK.example:8080", "/%61"),
        ("http", "[::1]:80", "/"),
        ("http", "[::1]", "/"),
        ("https", "ok@evil.example", "/"),
        ("https", "ok.example:", "/"),
        ("https", "ok.example:1:2", "/"),
        ("https", "", "/"),
        ("https", "ok.example", "//evil.example/"),
    ] {
        let url = format!("{scheme}://{authority}{path}");
        assert_eq!(RequestTarget::of_parts(scheme, authority, path), RequestTarget::parse(&url), "{url}");
    }
    for authority in ["ok.example/x", "ok.example?x", "ok.example#x", "ok.example\\x", "ok.example x", "a@b@c"] {
        assert!(RequestTarget::of_parts("https", authority, "/").is_err(), "{authority}");
    }
}
