//! The whole matcher against a plain one: the URL as browsers read it, globs by trying everything.

use proptest::prelude::*;

use super::grants;
use crate::{HttpDecision, RequestTarget};

/// Whether `pattern` is about a request, written down as the page on grants says it.
fn reference(pattern: &str, method: &str, url: &str) -> bool {
    let (methods, pattern) = pattern.split_once(' ').expect("methods and a URL");
    let (scheme, rest) = pattern.split_once("://").expect("a scheme");
    let (authority, path) = rest.split_at(rest.find('/').expect("a path"));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().expect("a port")),
        _ => (authority, if scheme == "http" { 80 } else { 443 }),
    };
    let url = url::Url::parse(url).expect("a URL");
    let found = url.host_str().expect("a host");
    let labels =
        |name: &str| found.strip_suffix(name).and_then(|rest| rest.strip_suffix('.')).filter(|rest| !rest.is_empty());
    let hosts = match (host.strip_prefix("**."), host.strip_prefix("*.")) {
        (Some(name), _) => labels(name).is_some() && url.domain().is_some(),
        (None, Some(name)) => labels(name).is_some_and(|label| !label.contains('.')) && url.domain().is_some(),
        (None, None) => found == host,
    };
    (methods == "*" || methods.split(',').any(|one| one == method))
        && url.scheme() == scheme
        && url.port_or_known_default() == Some(port)
        && hosts
        && globs(&segments(path), &segments(url.path()))
}

fn segments(path: &str) -> Vec<String> {
    // RFC 3986, section 6.2.2.2: `%61` is `a`.
    path[1..].split('/').map(|segment| segment.replace("%61", "a")).collect()
}

fn globs(pattern: &[String], path: &[String]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([], _) => false,
        ([depth, rest @ ..], _) if depth == "**" => (0..=path.len()).any(|taken| globs(rest, &path[taken..])),
        ([_, ..], []) => false,
        ([glob, rest @ ..], [text, after @ ..]) => {
            let one = if text.is_empty() { glob.is_empty() } else { run(glob.as_bytes(), text.as_bytes()) };
            one && globs(rest, after)
        }
    }
}

fn run(glob: &[u8], text: &[u8]) -> bool {
    match (glob, text) {
        ([], _) => text.is_empty(),
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| run(rest, &text[taken..])),
        ([one, rest @ ..], [other, after @ ..]) => one == other && run(rest, after),
        ([_, ..], []) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn a_request_is_allowed_exactly_where_the_reference_says(
        pattern in "(GET|GET,POST|\\*) https?://(\\*\\.|\\*\\*\\.)?(b\\.c|c|a\\.b\\.c)(:80|:443|:8080)?(/([ab]{1,2}|\\*|a\\*|\\*\\*)){1,3}/?",
        address in "(GET|\\*) https?://(1\\.2\\.3\\.4|\\[::1\\])(:80)?/\\*\\*",
        method in "GET|POST|PUT",
        url in "https?://((a|b|ab)\\.){0,3}(c|1\\.2\\.3\\.4|\\[::1\\])(:80|:443|:8080)?(/([ab]{1,2}|%61b?)){0,3}/?([?]a=/b)?",
    ) {
        // What is no target is denied whatever is granted.
        let Ok(target) = RequestTarget::parse(&url) else { return Ok(()) };
        for pattern in [&pattern, &address] {
            let grants = grants(&format!("http = [{pattern:?}]"));
            let allowed = matches!(grants.http(&method, &target), HttpDecision::Allowed { .. });
            prop_assert_eq!(allowed, reference(pattern, &method, &url), "{} for {} {}", pattern, method, url);
        }
    }
}
