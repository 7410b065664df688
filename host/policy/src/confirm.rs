//! Whether a person is asked before a tool runs.

use serde::{Deserialize, Serialize};

use crate::{Change, ChangeKind, change::Direction};

/// How often a person is asked. The stricter is the greater; not asking (`None`) is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirm {
    /// Before the first call of a session.
    OncePerSession,
    /// Before each call.
    EachCall,
}

impl Confirm {
    /// In the lock.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OncePerSession => "once-per-session",
            Self::EachCall => "each-call",
        }
    }

    /// Where asking less often is configured than was approved: a widening.
    pub fn widened_over(configured: Option<Self>, approved: Option<Self>) -> Option<Change> {
        (configured < approved).then(|| change(approved, configured, Direction::Widened))
    }

    /// Where asking more often is configured than was approved.
    pub fn narrowed_over(configured: Option<Self>, approved: Option<Self>) -> Option<Change> {
        (configured > approved).then(|| change(configured, approved, Direction::Narrowed))
    }
}

fn change(less: Option<Confirm>, more: Option<Confirm>, direction: Direction) -> Change {
    let shown = |confirm: Option<Confirm>| confirm.map_or("off", Confirm::as_str);
    Change::new(ChangeKind::Confirm, direction.arrow(shown(less), shown(more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_less_is_wider() {
        let all = [None, Some(Confirm::OncePerSession), Some(Confirm::EachCall)];
        for (at, configured) in all.into_iter().enumerate() {
            for (other, approved) in all.into_iter().enumerate() {
                assert_eq!(Confirm::widened_over(configured, approved).is_some(), at < other);
                assert_eq!(Confirm::narrowed_over(configured, approved).is_some(), at > other);
            }
        }
        let shown = |change: Option<Change>| change.map(|change| change.to_string());
        assert_eq!(shown(Confirm::widened_over(None, all[2])).as_deref(), Some("confirm: each-call → off"));
        assert_eq!(shown(Confirm::narrowed_over(all[1], None)).as_deref(), Some("confirm: off → once-per-session"));
    }
}
