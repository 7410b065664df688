//! What may be said to a tool, and how a name becomes a part of a key.

use crate::{Answer, SECOND_MS, refused};

/// Longest name of an agent or a topic in keys, in bytes: two of them and a number fit into the store's 512.
pub const MAX_NAME: usize = 200;

/// Refuses text that is empty or longer than `max` bytes.
///
/// # Errors
/// The sentence that says which argument, and the bound.
pub fn check_text(what: &str, text: &str, max: usize) -> Answer<()> {
    if text.trim().is_empty() {
        return refused(format_args!("`{what}` is empty: say something, in at most {max} bytes"));
    }
    check_size(what, text, max)
}

/// Refuses text that is longer than `max` bytes.
///
/// # Errors
/// The sentence that says which argument, and the bound.
pub fn check_size(what: &str, text: &str, max: usize) -> Answer<()> {
    match text.len() {
        length if length > max => refused(format_args!("`{what}` has {length} bytes: at most {max}")),
        _ => Ok(()),
    }
}

/// Refuses what is no name: 1 to `max` bytes without control characters.
///
/// # Errors
/// The sentence that says which argument, and the bound.
pub fn check_name(what: &str, name: &str, max: usize) -> Answer<()> {
    if name.is_empty() || name.len() > max || name.chars().any(char::is_control) {
        return refused(format_args!("`{what}` must have 1 to {max} bytes, without control characters"));
    }
    Ok(())
}

/// A time in seconds, within bounds, as milliseconds.
///
/// # Errors
/// The sentence that says which argument, and the bounds.
pub fn check_seconds(what: &str, given: Option<u32>, default: u32, from: u32, to: u32) -> Answer<u64> {
    let seconds = given.unwrap_or(default);
    if (from..=to).contains(&seconds) {
        Ok(u64::from(seconds) * SECOND_MS)
    } else {
        refused(format_args!("`{what}` is {seconds}: from {from} to {to} seconds"))
    }
}

/// The name as a part of a key: no two names make one, and none has a `/`, so that none begins with another and a slash.
///
/// # Errors
/// Where it is no name, or too long.
pub fn name_part(what: &str, name: &str) -> Answer<String> {
    check_name(what, name, MAX_NAME)?;
    let part = name.replace('%', "%25").replace('/', "%2F");
    if part.len() > MAX_NAME {
        return refused(format_args!(
            "`{what}` is too long: at most {MAX_NAME} bytes, and `/` and `%` count three times"
        ));
    }
    Ok(part)
}

/// The name whose part of a key this is.
pub fn name_of(part: &str) -> String {
    part.replace("%2F", "/").replace("%25", "%")
}
