//! HTTP by grant: which requests are allowed, and which entry said so.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    GrantError, Grants, check_entries,
    pattern::{HttpPattern, Method},
    range::IpRange,
    url::RequestTarget,
};
use crate::ChangeKind;

/// An entry of `http`: a pattern, or `{ allow = PATTERN, private = [RANGE, …] }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpGrant {
    pub(super) allow: HttpPattern,
    pub(super) private: BTreeSet<IpRange>,
}

impl HttpGrant {
    /// The requests.
    pub fn allow(&self) -> &HttpPattern {
        &self.allow
    }

    /// The ranges of addresses that are not global, and that these requests may go to.
    pub fn private(&self) -> &BTreeSet<IpRange> {
        &self.private
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "http", rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    allow: HttpPattern,
    private: BTreeSet<IpRange>,
}

impl Serialize for HttpGrant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.private.is_empty() {
            return self.allow.serialize(serializer);
        }
        Written { allow: self.allow.clone(), private: self.private.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HttpGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = HttpGrant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`\"METHODS URL\"`, or `{ allow = \"METHODS URL\", private = [\"RANGE\"] }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HttpGrant, E> {
                let allow = text.parse().map_err(E::custom)?;
                Ok(HttpGrant { allow, private: BTreeSet::new() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<HttpGrant, A::Error> {
                let Written { allow, private } = Written::deserialize(de::value::MapAccessDeserializer::new(map))?;
                check_entries(ChangeKind::Http, "private", private.len()).map_err(de::Error::custom)?;
                Ok(HttpGrant { allow, private })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.allow.fmt(f)?;
        for (index, range) in self.private.iter().enumerate() {
            write!(f, "{}{range}", if index == 0 { ", private " } else { ", " })?;
        }
        Ok(())
    }
}

/// May this request be sent?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpDecision<'a> {
    /// It may.
    Allowed {
        /// The first entry that allows it.
        by: &'a HttpPattern,
        /// The ranges of addresses that are not global and that it may go to, of all entries that allow it.
        private: BTreeSet<IpRange>,
    },
    /// It may not.
    Denied(HttpDenied<'a>),
}

/// Why a request may not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpDenied<'a> {
    /// Its method is none that an entry could name.
    #[error("the method is none in upper case, or `CONNECT`")]
    Method,
    /// No entry of `http` allows it.
    #[error("no entry of `http` allows it")]
    NoEntry,
    /// An entry of `deny` matches it. Deny beats allow.
    #[error("an entry of `deny` matches it: `{0}`")]
    Entry(&'a HttpPattern),
    /// The configuration allows it by this entry, and what was approved does not.
    #[error("the entry of `http` that allows it waits for approval: `{0}`")]
    Unapproved(&'a HttpPattern),
}

impl Grants {
    /// Whether an entry of `http` allows any request that `asked` is about.
    pub(crate) fn http_touches(&self, asked: &HttpPattern) -> bool {
        self.http.iter().any(|entry| entry.allow.may_overlap(asked))
    }

    /// May a request by `method` to `target` be sent? Without an entry that allows it, it may not; deny beats allow.
    pub fn http(&self, method: &str, target: &RequestTarget) -> HttpDecision<'_> {
        let Some(method) = Method::parse(method) else { return HttpDecision::Denied(HttpDenied::Method) };
        if let Some(entry) = self.deny.iter().find(|entry| entry.denies(&method, target)) {
            return HttpDecision::Denied(HttpDenied::Entry(entry));
        }
        let mut allowing = self.http.iter().filter(|entry| entry.allow.allows(&method, target));
        match allowing.next() {
            None => HttpDecision::Denied(HttpDenied::NoEntry),
            Some(first) => {
                let private = std::iter::once(first).chain(allowing).flat_map(|entry| entry.private.iter().copied());
                HttpDecision::Allowed { by: &first.allow, private: private.collect() }
            }
        }
    }
}

/// In one order, each pattern once with all its ranges.
pub(super) fn normal(entries: Vec<HttpGrant>) -> Result<Vec<HttpGrant>, GrantError> {
    check_entries(ChangeKind::Http, "http", entries.len())?;
    let mut by_text = BTreeMap::<String, HttpGrant>::new();
    for entry in entries {
        match by_text.entry(entry.allow.to_string()) {
            Entry::Vacant(vacant) => _ = vacant.insert(entry),
            Entry::Occupied(mut before) => before.get_mut().private.extend(entry.private),
        }
    }
    for entry in by_text.values() {
        check_entries(ChangeKind::Http, "private", entry.private.len())?;
    }
    Ok(by_text.into_values().collect())
}

/// An entry of `deny`, with a fault that names its list.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct DenyEntry(HttpPattern);

impl TryFrom<String> for DenyEntry {
    type Error = GrantError;
    fn try_from(text: String) -> Result<Self, GrantError> {
        text.parse().map(Self).map_err(|error| GrantError { key: ChangeKind::Deny, ..error })
    }
}

/// In one order, each pattern once.
pub(super) fn normal_deny(entries: Vec<DenyEntry>) -> Result<Vec<HttpPattern>, GrantError> {
    check_entries(ChangeKind::Deny, "deny", entries.len())?;
    let by_text: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.0.to_string(), entry.0)).collect();
    Ok(by_text.into_values().collect())
}
