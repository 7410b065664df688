//! Where the host finds a secret. No value is known here.

use std::path::PathBuf;

/// `[secrets.NAME]`: one of the three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the host's environment.
    Env(String),
    /// A file; a line feed at its end is no part of the secret.
    File(PathBuf),
    /// What a program prints, with its arguments; a line feed at its end is no part of the secret.
    Command(Vec<String>),
}
