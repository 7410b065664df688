//! The lock: whatever is read is written such that it reads as the same.

use std::collections::BTreeSet;

use portcullis_policy::PluginName;
use portcullis_trust::{Lock, escaped};

/// Bytes in the place of `portcullis.lock`.
pub fn lock(bytes: &[u8]) {
    let lock = match Lock::read(bytes) {
        Ok(lock) => lock,
        Err(error) => {
            // The message stands in a terminal, and may quote the file.
            let message = error.to_string();
            assert_eq!(escaped(&message).to_string(), message, "a message with raw characters");
            return;
        }
    };
    let known = lock.plugins.keys().cloned().chain(PluginName::new("zeta")).collect();
    for known in [BTreeSet::new(), known] {
        let text = lock.render(&known).expect("what was read can be written");
        let again = Lock::parse(&text).expect("what was written can be read");
        assert_eq!(again, lock);
        assert_eq!(again.render(&known).expect("text"), text, "the text depends on what it was read from");
    }
    for approval in lock.plugins.values() {
        // A size beyond 2^53 has none.
        if let Ok(digest) = approval.digest() {
            assert_eq!(approval.digest().expect("a digest"), digest);
        }
    }
}
