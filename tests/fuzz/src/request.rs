//! Requests and grants: what a guest writes, against what an operator writes.

use portcullis_policy::{Grants, HttpDecision, RequestTarget};

/// Three lines: a pattern, a method and a URL.
pub fn request(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (Some(pattern), Some(method), Some(url)) = (lines.next(), lines.next(), lines.next()) else { return };
    let Ok(target) = RequestTarget::parse(url) else { return };
    let normal = target.to_string();
    assert_eq!(RequestTarget::parse(&normal).as_ref(), Ok(&target), "the normal form reads as another");
    let read = url::Url::parse(&normal).expect("what passes is a URL");
    assert_eq!(read.scheme(), target.scheme().as_str());
    assert_eq!(read.host_str(), Some(&*target.host().to_string()), "a browser goes elsewhere");
    assert_eq!(read.port_or_known_default(), Some(target.port()));
    assert_eq!(read.path(), target.path(), "a server may read another path");
    assert!(read.username().is_empty() && read.password().is_none() && read.fragment().is_none());
    let written = |key: &str| serde_json::from_value::<Grants>(serde_json::json!({ key: [pattern] }));
    let (Ok(allowing), Ok(_)) = (written("http"), written("deny")) else { return };
    let HttpDecision::Allowed { by, .. } = allowing.http(method, &target) else { return };
    // What allows by its own normal form allows the same, and the same entry denies what it would allow.
    let again = serde_json::json!({ "http": [by] });
    let again: Grants = serde_json::from_value(again).expect("what was written can be read");
    assert!(matches!(again.http(method, &target), HttpDecision::Allowed { .. }));
    let both = serde_json::json!({ "http": [pattern], "deny": [pattern] });
    let both: Grants = serde_json::from_value(both).expect("both can be written");
    assert!(matches!(both.http(method, &target), HttpDecision::Denied(_)), "deny beats allow");
}
