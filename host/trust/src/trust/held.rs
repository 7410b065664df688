//! What an approval holds once it stands in the lock: rounded as the format rounds, of every kind, or refused.

use super::{
    tests::{House, request},
    *,
};
use crate::{
    Approved,
    samples::{bytes, candidate, grants},
};

/// A deadline under a millisecond is rounded in the lock; what is accepted must equal what stands there.
#[test]
fn what_the_lock_rounds_is_accepted_rounded_and_what_it_cannot_hold_is_refused() {
    let house = House::new();
    let mut candidate = candidate("alpha", 3);
    candidate.limits.deadline = std::time::Duration::from_micros(2_500);
    house.trust.approve(&candidate, &bytes("alpha", 3), request(candidate.sha256)).expect("approved");
    house.check("rounded", "3", "2", "unapproved");
    candidate.limits.fuel = Some(u64::MAX);
    let error = house.trust.approve(&candidate, &bytes("alpha", 3), request(candidate.sha256)).expect_err("too large");
    assert!(matches!(error, TrustError::Lock(LockError::Unwritable { .. })), "{error}");
    assert_eq!(error.hint().as_deref(), Some("portcullis inspect alpha"));
    house.check("as before", "3", "2", "unapproved");
    let mut candidate = self::candidate("alpha", 4);
    candidate.tools.values_mut().for_each(|tool| tool.json["x"] = serde_json::json!(u64::MAX));
    let error = house.trust.approve(&candidate, &bytes("alpha", 4), request(candidate.sha256)).expect_err("inexact");
    assert!(matches!(error, TrustError::Component { .. }), "{error}");
    assert_eq!(error.hint().as_deref(), Some("portcullis inspect alpha"));
    house.check("as before", "3", "2", "unapproved");
}

/// What is approved stands in the lock and the record as it is granted, whatever kind of grant it is.
#[test]
fn grants_of_every_kind_are_approved() {
    let house = House::new();
    let mut candidate = candidate("alpha", 3);
    candidate.grants = grants();
    candidate.tool_limits.insert("example:alpha/tools#one".to_owned(), portcullis_policy::Limits::default());
    let Approved { approval, .. } =
        house.trust.approve(&candidate, &bytes("alpha", 3), request(candidate.sha256)).expect("approved");
    assert_eq!((&approval.grants, &approval.tool_limits), (&candidate.grants, &candidate.tool_limits));
    house.check("approved", "3", "2", "unapproved");
    let lock = house.lock();
    house.write("portcullis.lock", &lock.replace("private = [\"10.0.0.0/8\"]", "private = [\"10.0.0.0/9\"]"));
    house.check("one range narrowed by hand", "edited grants.http", "2", "unapproved");
    let mut edited = Lock::parse(&lock).expect("a lock");
    let text = serde_json::to_string(&approval.grants).expect("json").replace("10.0.0.0/8", "10.0.0.0/9");
    edited.plugins.get_mut("alpha").expect("alpha").grants = serde_json::from_str(&text).expect("grants");
    house.write("portcullis.lock", &edited.render(&std::collections::BTreeSet::new()).expect("text"));
    house.check("the same with its digest", "edited grants.http", "2", "unapproved");
}
