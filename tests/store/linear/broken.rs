//! The checker itself: what it must reject, and what it must not.

use super::checker::{
    Kind::{self, Read, Refused, Unknown, Wrote},
    Op, When, is_linearisable,
};

const NEVER: u64 = u64::MAX;

fn set(to: u32) -> Kind {
    Wrote { when: When::Always, to: Some(to) }
}

fn cas(from: u32, to: u32) -> Kind {
    Wrote { when: When::Is(from), to: Some(to) }
}

fn claim(to: u32) -> Kind {
    Wrote { when: When::Absent, to: Some(to) }
}

fn lost(to: u32) -> Kind {
    Unknown { when: When::Always, to: Some(to) }
}

fn check(what: &str, expected: bool, history: &[(u64, u64, Kind)]) {
    let ops: Vec<Op> = history.iter().map(|(call, ret, kind)| Op { call: *call, ret: *ret, kind: *kind }).collect();
    assert_eq!(is_linearisable(&ops), expected, "{what}");
}

#[test]
fn histories_that_are_broken_on_purpose_are_rejected() {
    let delete = Wrote { when: When::Present, to: None };
    check("a read of what was overwritten before", false, &[(1, 2, set(1)), (3, 4, set(2)), (5, 6, Read(Some(1)))]);
    check("an acknowledged write that is gone", false, &[(1, 2, set(1)), (3, 4, Read(None))]);
    check("a value that nobody wrote", false, &[(1, 2, set(1)), (3, 4, Read(Some(9)))]);
    check("two that replace the same value", false, &[(1, 2, set(1)), (3, 6, cas(1, 2)), (4, 5, cas(1, 3))]);
    check("two that claim what is free", false, &[(1, 4, claim(1)), (2, 3, claim(2))]);
    let back = [(1, 2, set(1)), (3, 10, set(2)), (4, 5, Read(Some(2))), (6, 7, Read(Some(1)))];
    check("a read that goes back while a write is under way", false, &back);
    let refused = Refused { when: When::Is(1), found: Some(1) };
    check("a refusal though the condition holds", false, &[(1, 2, set(1)), (3, 4, refused)]);
    let refused = Refused { when: When::Absent, found: Some(1) };
    check("a refusal that shows what stood long ago", false, &[(1, 2, set(1)), (3, 4, set(2)), (5, 6, refused)]);
    check("a deletion that did not last", false, &[(1, 2, set(1)), (3, 4, delete), (5, 6, Read(Some(1)))]);
    check("a deletion of nothing", false, &[(1, 2, delete), (3, 4, Read(None))]);
    let early = [(1, 2, Read(Some(1))), (3, NEVER, lost(1))];
    check("an unknown write seen before its call", false, &early);
    let again =
        [(1, NEVER, lost(1)), (2, 3, Read(Some(1))), (4, 5, set(2)), (6, 7, Read(Some(2))), (8, 9, Read(Some(1)))];
    check("an unknown write applied twice", false, &again);
}

#[test]
fn histories_that_can_be_are_accepted() {
    check("nothing", true, &[]);
    check(
        "one after the other",
        true,
        &[(1, 2, claim(1)), (3, 4, Read(Some(1))), (5, 6, cas(1, 2)), (7, 8, Read(Some(2)))],
    );
    check("at once, either order", true, &[(1, 9, set(1)), (2, 8, set(2)), (10, 11, Read(Some(1)))]);
    check("a read beside a write sees it", true, &[(1, 4, set(1)), (2, 3, Read(Some(1)))]);
    check("a read beside a write does not see it", true, &[(1, 4, set(1)), (2, 3, Read(None))]);
    check("an unknown write that never was", true, &[(1, 2, lost(1)), (3, 4, Read(None)), (5, 6, claim(2))]);
    let late = [(1, 2, lost(1)), (3, 4, Read(None)), (5, 6, set(2)), (7, 8, Read(Some(1)))];
    check("an unknown write that comes long after", true, &late);
    check(
        "an unknown write whose condition fails",
        true,
        &[(1, 2, set(1)), (3, 4, Unknown { when: When::Absent, to: Some(2) }), (5, 6, Read(Some(1)))],
    );
}
