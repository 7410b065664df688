//! Grants as text, as an operator writes them, and what comes of them.

mod buckets;
mod comparing;
mod matching;
mod reading;
mod reference;

use super::Grants;

fn grants(text: &str) -> Grants {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}
