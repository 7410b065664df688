//! The store, with the buckets as the configuration has them: what the other rooms hold.

use std::fmt;

use crate::{
    contract::{Bound, Bucket, BucketName, Limits},
    store::Store,
};

/// A store, and how much each of its buckets may hold.
pub struct Warehouse {
    store: Store,
    limits: Vec<(BucketPattern, Limits)>,
}

impl Warehouse {
    /// `store`, with buckets of `limits`. Of several patterns that fit a name the most exact holds: the one with the most
    /// characters of its own. A bucket that none fits has [`Limits::default`].
    pub fn new(store: Store, limits: impl IntoIterator<Item = (BucketPattern, Limits)>) -> Self {
        let mut limits: Vec<_> = limits.into_iter().collect();
        limits.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.exactness()));
        Self { store, limits }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The bucket of this name. There is no list of what may exist: whoever asks has been granted it.
    pub fn bucket(&self, name: BucketName) -> Bucket {
        let limits = self.limits.iter().find(|(pattern, _)| pattern.fits(name.as_str())).map(|(_, limits)| *limits);
        Bucket { name, limits: limits.unwrap_or_default() }
    }
}

impl fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warehouse").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Names of buckets: one name, or all that differ in one place alone, written as `{…}`: `agent-{principal}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketPattern {
    before: String,
    /// None for one name.
    after: Option<String>,
}

impl BucketPattern {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is no name of a bucket with at most one `{principal}` or `{plugin}` in it.
    pub fn new(text: &str) -> Result<Self, Bound> {
        let place = ["{principal}", "{plugin}"].iter().find_map(|place| text.split_once(place));
        let (before, after) = place.map_or((text, None), |(before, after)| (before, Some(after)));
        // Whatever stands in the place has a character at least.
        BucketName::new(format!("{before}{}{}", if after.is_some() { "x" } else { "" }, after.unwrap_or_default()))?;
        Ok(Self { before: before.to_owned(), after: after.map(str::to_owned) })
    }

    /// Whether `name` is one of them.
    pub fn fits(&self, name: &str) -> bool {
        match &self.after {
            None => name == self.before,
            Some(after) => {
                let rest = name.strip_prefix(self.before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
                rest.is_some_and(|rest| !rest.is_empty())
            }
        }
    }

    /// What stands before and behind the place; no second for one name.
    pub fn parts(&self) -> (&str, Option<&str>) {
        (&self.before, self.after.as_deref())
    }

    /// Of several patterns that fit a name the greatest by this holds: one name before all others, then the one with the
    /// most characters of its own.
    pub fn exactness(&self) -> (bool, usize) {
        (self.after.is_none(), self.before.len() + self.after.as_ref().map_or(0, String::len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, fits) in [
            ("shared", "shared", true),
            ("shared", "shared2", false),
            ("agent-{principal}", "agent-alice", true),
            ("agent-{principal}", "agent-", false),
            ("{plugin}.x", "hello.x", true),
            ("{plugin}.x", "hello.y", false),
        ] {
            assert_eq!(BucketPattern::new(pattern).expect(pattern).fits(name), fits, "{pattern} {name}");
        }
        for bad in ["", "a/b", "{principal}{plugin}", "{other}", "{principal}{principal}"] {
            assert!(BucketPattern::new(bad).is_err(), "{bad}");
        }
    }
}
