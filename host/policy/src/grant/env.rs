//! Variables by grant. They are no place for secrets: the plugin sees them, and so does who reads the lock.

use std::collections::BTreeMap;

use super::{GrantError, check_entries};
use crate::ChangeKind;

/// Longest name of a variable, in bytes.
const MAX_NAME: usize = 128;
/// Longest value, in bytes: it is copied into every call.
const MAX_VALUE: usize = 16 << 10;

pub(super) fn normal(env: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, GrantError> {
    check_entries(ChangeKind::Env, "env", env.len())?;
    for (name, value) in &env {
        let allowed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let fault = |fault: &str| Err(GrantError::new(ChangeKind::Env, fault, name));
        if !allowed
            || name.is_empty()
            || name.len() > MAX_NAME
            || name.as_bytes().first().is_some_and(u8::is_ascii_digit)
        {
            return fault("must have a name of 1 to 128 letters, digits and `_`, and no digit first");
        }
        if value.len() > MAX_VALUE || value.contains('\0') {
            return fault("must have a value of at most 16KiB without NUL");
        }
    }
    Ok(env)
}
