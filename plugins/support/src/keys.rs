//! Where things lie. `ticket/ID` is a ticket; `state/STATE/ID` says which there are in a state; `analysis/ID/ANALYST/ASPECT`
//! is what one found, and `tally/ID` how many such there are and from whom.

use shelf::{Answer, name_part, refused};

use crate::ticket::State;

/// Longest id of a ticket, and name of an aspect, in bytes.
const MAX_WORD: usize = 64;

/// Refuses what is no word.
fn check_word(what: &str, word: &str) -> Answer<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=MAX_WORD).contains(&word.len()) && word.chars().all(plain) {
        Ok(())
    } else {
        refused(format_args!("`{what}` must have 1 to {MAX_WORD} letters, digits, `-`, `_` and `.`"))
    }
}

/// The id of a ticket, and the keys that have it.
#[derive(Clone, Debug)]
pub(crate) struct Id(String);

impl Id {
    pub(crate) fn read(text: &str) -> Answer<Self> {
        check_word("ticket_id", text).map(|()| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn ticket(&self) -> String {
        format!("ticket/{}", self.0)
    }

    pub(crate) fn tally(&self) -> String {
        format!("tally/{}", self.0)
    }

    pub(crate) fn listed(&self, state: State) -> String {
        format!("{}{}", in_state(state), self.0)
    }

    /// What the keys of all analyses begin with.
    pub(crate) fn analyses(&self) -> String {
        format!("analysis/{}/", self.0)
    }

    /// What the keys of one analyst begin with, and nobody else's.
    pub(crate) fn analyst(&self, name: &str) -> Answer<String> {
        Ok(format!("{}{}/", self.analyses(), name_part("name", name)?))
    }

    pub(crate) fn analysis(&self, name: &str, aspect: &str) -> Answer<String> {
        check_word("aspect", aspect)?;
        Ok(format!("{}{aspect}", self.analyst(name)?))
    }

    pub(crate) fn missing(&self) -> String {
        format!("there is no ticket {}: open it with `save_ticket`, or look at `get_status`", self.0)
    }
}

/// What the list of a state begins with.
pub(crate) fn in_state(state: State) -> String {
    format!("state/{}/", state.as_str())
}
