//! Is there an order of a key's operations, each between its call and its return, in which every answer is right?
//!
//! The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), with Lowe's memory of what was tried.
//! Each write writes a value of its own, so that a value says which write it was.

use std::collections::HashSet;

pub(crate) type Value = u32;

/// What stands at the key.
pub(crate) type State = Option<Value>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Absent,
    Present,
    Is(Value),
}

impl When {
    fn holds(self, state: State) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => state.is_none(),
            Self::Present => state.is_some(),
            Self::Is(value) => state == Some(value),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was read.
    Read(State),
    /// A write, or where `to` is none a deletion, that happened.
    Wrote { when: When, to: State },
    /// One that was refused for what stood.
    Refused { when: When, found: State },
    /// One of which nobody knows. It is applied at any time after its call, or never.
    Unknown { when: When, to: State },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) call: u64,
    /// `u64::MAX` where it never returned.
    pub(crate) ret: u64,
    pub(crate) kind: Kind,
}

impl Op {
    /// The state after, if the answer is right in `state`.
    fn apply(&self, state: State) -> Option<State> {
        match self.kind {
            Kind::Read(found) => (found == state).then_some(state),
            Kind::Wrote { when, to } => when.holds(state).then_some(to),
            Kind::Refused { when, found } => (!when.holds(state) && found == state).then_some(state),
            // Where the condition does not hold nothing changes, which is as if it never happened.
            Kind::Unknown { when, to } => when.holds(state).then_some(to),
        }
    }

    fn must_happen(&self) -> bool {
        !matches!(self.kind, Kind::Unknown { .. })
    }
}

/// Whether the history of one key, that is absent at first, is linearisable. At most 128 operations.
pub(crate) fn is_linearisable(history: &[Op]) -> bool {
    assert!(history.len() <= 128, "the set of what is done has 128 bits");
    let mut ops = history.to_vec();
    for op in &mut ops {
        if !op.must_happen() {
            op.ret = u64::MAX;
        }
    }
    ops.sort_by_key(|op| op.call);
    search(&ops, 0, None, &mut HashSet::new())
}

fn search(ops: &[Op], done: u128, state: State, tried: &mut HashSet<(u128, State)>) -> bool {
    let open = |index: &usize| done & (1 << index) == 0;
    let left = || (0..ops.len()).filter(open);
    if left().all(|index| !ops[index].must_happen()) {
        return true;
    }
    if !tried.insert((done, state)) {
        return false;
    }
    // Whatever comes next was called before anything that is left returned.
    let first_return = left().map(|index| ops[index].ret).min().unwrap_or(u64::MAX);
    left()
        .take_while(|index| ops[*index].call <= first_return)
        .any(|index| ops[index].apply(state).is_some_and(|after| search(ops, done | 1 << index, after, tried)))
}
