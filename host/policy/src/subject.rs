//! Whom a token names, as a name of the house that no agent of the configuration can have.

use crate::{AgentName, Digest, MAX_AGENT_NAME, NameError, hex};

/// Longest `sub` of a token, in bytes (OpenID Connect Core 1.0, section 2).
pub const MAX_SUBJECT: usize = 255;
/// Bytes of the digest that stands for a `sub` that is no name: as many as fit, and two that meet are not to be found.
const DIGEST: usize = 28;

/// Whom a token of the issuer names (RFC 7519, section 4.1.2), where it is taken as an agent.
///
/// No two have one name: `token.` and the `sub`, where that is a name; otherwise `token..` and the first 224 bits of its
/// SHA-256. Case counts, as the RFC says. Another issuer's subjects are others: a host trusts one issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(AgentName);

/// A `sub` that names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It is empty or longer than the bound.
    #[error("its `sub` has {length} bytes, expected 1 to {MAX_SUBJECT}")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// Its name is none. It cannot happen.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Subject {
    /// What the names of subjects begin with, and those of no agent of the configuration.
    pub const MARK: &str = "token.";

    /// Whom `sub` names.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn new(sub: &str) -> Result<Self, SubjectError> {
        if sub.is_empty() || sub.len() > MAX_SUBJECT {
            return Err(SubjectError::Length { length: sub.len() });
        }
        let fits = sub.len() <= MAX_AGENT_NAME - Self::MARK.len() && !sub.starts_with('.');
        let name = match AgentName::new(sub) {
            Ok(_) if fits => format!("{}{sub}", Self::MARK),
            Ok(_) | Err(_) => {
                let digest = Digest::of(sub.as_bytes());
                format!("{}.{}", Self::MARK, hex(digest.as_bytes().get(..DIGEST).unwrap_or_default()))
            }
        };
        Ok(Self(AgentName::new(name)?))
    }

    /// The name in records, in buckets, and what guests are told.
    pub fn name(&self) -> &AgentName {
        &self.0
    }

    /// Whether a name is one of subjects, in whatever case.
    pub(crate) fn is_name(name: &AgentName) -> bool {
        name.as_str().get(..Self::MARK.len()).is_some_and(|start| start.eq_ignore_ascii_case(Self::MARK))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{Principal, RoleName, RoleRules, Statutes, StatutesError};

    fn name(sub: &str) -> String {
        Subject::new(sub).expect(sub).name().to_string()
    }

    #[test]
    fn a_subject_is_readable_where_it_can_be() {
        assert_eq!(name("alice"), "token.alice");
        assert_eq!(name("local-operator"), "token.local-operator");
        assert_eq!(name(&"x".repeat(58)), format!("token.{}", "x".repeat(58)));
        for other in
            ["auth0|alice", "alice@a.example", "\u{fc}", ".alice", " alice", "a\nb", &"x".repeat(59), &"x".repeat(255)]
        {
            let name = name(other);
            assert!(name.starts_with("token..") && name.len() == 63, "{other:?}: {name}");
        }
        assert!(Subject::new("").is_err() && Subject::new(&"x".repeat(256)).is_err());
    }

    /// A5: what looks like a subject's name is none in the configuration, and what looks like its digest none in a token.
    #[test]
    fn nobody_else_has_a_subjects_name() {
        let role = RoleName::new("r").expect("a name");
        let roles = BTreeMap::from([(role.clone(), RoleRules::default())]);
        for agent in ["token.alice", "TOKEN.alice", "token.", &name("a@b")] {
            let agent = AgentName::new(agent).expect("a name");
            let made = Statutes::new(roles.clone(), BTreeMap::from([(agent.clone(), role.clone())]));
            assert_eq!(made, Err(StatutesError::OfTokens { agent }));
        }
        let hashed = name("a@b");
        assert_ne!(name(hashed.trim_start_matches("token.")), hashed);
        assert_ne!(name(&hashed), hashed);
    }

    proptest! {
        #[test]
        fn two_subjects_have_two_names(subs in proptest::collection::btree_set("[aA.@\u{e9}-]{1,4}|token\\.[a.]{1,3}", 2..20)) {
            let statutes = Statutes::new(
                BTreeMap::from([(RoleName::new("r").expect("a name"), RoleRules::default())]),
                BTreeMap::new(),
            ).expect("statutes");
            let names: BTreeSet<_> = subs.iter().map(|sub| {
                let agent = statutes.subject(&Subject::new(sub).expect("a subject"), "r").expect("a role");
                Principal::Agent(agent.into()).in_buckets().into_owned()
            }).collect();
            prop_assert_eq!(names.len(), subs.len());
            prop_assert!(names.iter().all(|name| name.starts_with("token.") && name.len() <= 64));
        }
    }
}
