//! Which buckets there are for whom: what the configuration opens, seen through a role.

use std::collections::BTreeSet;

use portcullis_policy::Principal;
use portcullis_store::{BucketName, BucketPattern, Store, StoreError};
use rmcp::model::ResourceTemplate;

use super::{
    STORE_DEADLINE,
    address::{SCHEME, key_prefix},
};

/// Most buckets that a list goes through, and that are watched for one listener: `agent-{principal}` may stand for any
/// number. What an operator has beyond that is not listed; it is read all the same.
pub(super) const MAX_BUCKETS: usize = 1000;
/// Stands for a name that nobody has: no bucket's name holds it, so that nothing but a `*` of a pattern fits.
const ANY: char = '\u{1}';

/// The buckets of the configuration, the most exact first, with whether each is open.
#[derive(Debug)]
pub(super) struct OpenBuckets(Vec<(BucketPattern, bool)>);

impl OpenBuckets {
    pub(super) fn new(mut buckets: Vec<(BucketPattern, bool)>) -> Self {
        buckets.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.exactness()));
        Self(buckets)
    }

    /// Whether any is.
    pub(super) fn any(&self) -> bool {
        self.0.iter().any(|(_, open)| *open)
    }

    /// Whether the configuration opens this bucket: as the most exact pattern says.
    pub(super) fn is_open(&self, bucket: &BucketName) -> bool {
        self.0.iter().find(|(pattern, _)| pattern.fits(bucket.as_str())).is_some_and(|(_, open)| *open)
    }

    fn open(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().filter(|(_, open)| *open).map(|(pattern, _)| pattern.parts())
    }

    /// The buckets that are named one by one: by the configuration, or by the principal's role.
    pub(super) fn named(&self, principal: &Principal) -> BTreeSet<BucketName> {
        let exact = self.open().filter(|(_, after)| after.is_none()).map(|(name, _)| name.to_owned());
        let of_role = match principal {
            Principal::LocalOperator | Principal::Loopback => Vec::new(),
            Principal::Agent(agent) => {
                let name = agent.in_buckets();
                agent.resources().iter().filter_map(|pattern| pattern.bucket(&name)).collect()
            }
        };
        let names = exact.chain(of_role).filter_map(|name| BucketName::new(name).ok());
        names.filter(|name| self.is_open(name) && sees(principal, name.as_str())).collect()
    }

    /// The buckets that `principal` may see anything of, by name.
    ///
    /// # Errors
    /// When the store has to be asked which there are, and does not say.
    pub(super) async fn seen(&self, principal: &Principal, store: &Store) -> Result<BTreeSet<BucketName>, StoreError> {
        let mut found = self.named(principal);
        if self.kinds(principal).next().is_some() {
            let there = store.buckets(super::deadline(STORE_DEADLINE)).await?;
            found.extend(there.into_iter().filter(|name| self.is_open(name) && sees(principal, name.as_str())));
        }
        while found.len() > MAX_BUCKETS {
            found.pop_last();
        }
        Ok(found)
    }

    /// Kinds of buckets of which `principal` may see whichever there are.
    fn kinds(&self, principal: &Principal) -> impl Iterator<Item = (&str, &str)> {
        let kinds = self.open().filter_map(|(before, after)| Some((before, after?)));
        kinds.filter(move |(before, after)| sees(principal, &format!("{before}{ANY}{after}")))
    }

    /// A template a bucket, or a kind of buckets (RFC 6570).
    pub(super) fn templates(&self, principal: &Principal) -> Vec<ResourceTemplate> {
        let named = self.named(principal).into_iter().map(|name| name.to_string());
        let kinds = self.kinds(principal).map(|(before, after)| format!("{before}{{name}}{after}"));
        let template = |bucket: String| {
            let described = format!("Entries of shared context in the bucket `{bucket}`, by key. Plugins write them.");
            ResourceTemplate::new(format!("{SCHEME}{bucket}/{{+key}}"), bucket).with_description(described)
        };
        named.chain(kinds).map(template).collect()
    }
}

/// Whether `principal` may see anything in this bucket.
pub(super) fn sees(principal: &Principal, bucket: &str) -> bool {
    match principal {
        Principal::LocalOperator | Principal::Loopback => true,
        Principal::Agent(agent) => {
            let (base, name) = (format!("{SCHEME}{bucket}/"), agent.in_buckets());
            agent.resources().iter().any(|pattern| pattern.reaches(&base, &name))
        }
    }
}

/// What the keys begin with that `principal` may see in a bucket: in order, and none within another. Whether it may see
/// one of them is another question.
pub(super) fn prefixes(principal: &Principal, bucket: &BucketName) -> Vec<String> {
    let agent = match principal {
        Principal::LocalOperator | Principal::Loopback => return vec![String::new()],
        Principal::Agent(agent) => agent,
    };
    let (base, name) = (format!("{SCHEME}{bucket}/"), agent.in_buckets());
    let reaching = agent.resources().iter().filter(|pattern| pattern.reaches(&base, &name));
    let found: BTreeSet<_> = reaching
        .map(|pattern| pattern.beginning(&name).strip_prefix(&base).map(key_prefix).unwrap_or_default())
        .collect();
    let mut prefixes: Vec<String> = Vec::with_capacity(found.len());
    for prefix in found {
        if !prefixes.last().is_some_and(|last| prefix.starts_with(last.as_str())) {
            prefixes.push(prefix);
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use portcullis_policy::{AgentName, RoleName, RoleRules, Statutes, may_read};

    use super::*;

    fn agent(patterns: &[&str]) -> Principal {
        named("alice", patterns)
    }

    fn named(name: &str, patterns: &[&str]) -> Principal {
        let resources = patterns.iter().map(|pattern| pattern.parse().expect(pattern)).collect();
        let role = RoleName::new("r").expect("a name");
        let roles = BTreeMap::from([(role.clone(), RoleRules { resources, ..RoleRules::default() })]);
        let name = AgentName::new(name).expect("a name");
        let statutes = Statutes::new(roles, BTreeMap::from([(name.clone(), role)])).expect("statutes");
        Principal::Agent(Arc::new(statutes.agent(&name).expect("an agent")))
    }

    #[test]
    fn a_role_sees_where_it_may_read() {
        let pattern = |text: &str| BucketPattern::new(text).expect(text);
        let open = OpenBuckets::new(vec![
            (pattern("shared"), true),
            (pattern("hidden"), false),
            (pattern("agent-{principal}"), true),
            (pattern("agent-secret"), false),
        ]);
        let templates = |principal: &Principal| -> Vec<String> {
            open.templates(principal).into_iter().map(|template| template.uri_template).collect()
        };
        for (patterns, expected) in [
            (&[][..], &[][..]),
            (&["kv://shared/a/**"], &["kv://shared/{+key}"]),
            (&["kv://sh*x/**"], &[]),
            (&["kv://hidden/**", "kv://other/**", "kv://agent-secret/**"], &[]),
            (&["kv://agent-{principal}/**"], &["kv://agent-alice/{+key}"]),
            (&["kv://agent-bob/x"], &["kv://agent-bob/{+key}"]),
            (&["kv://agent-*/**"], &["kv://agent-{name}/{+key}"]),
        ] {
            assert_eq!(templates(&agent(patterns)), expected, "{patterns:?}");
        }
        assert_eq!(templates(&Principal::LocalOperator), ["kv://shared/{+key}", "kv://agent-{name}/{+key}"]);
        let name = |text: &str| BucketName::new(text).expect(text);
        for (bucket, is_open) in
            [("shared", true), ("hidden", false), ("other", false), ("agent-bob", true), ("agent-secret", false)]
        {
            assert_eq!(open.is_open(&name(bucket)), is_open, "{bucket}");
        }
    }

    /// An agent that is called like somebody else of the host's has buckets of its own, as in grants.
    #[test]
    fn a_namesake_reads_nothing_of_whom_it_is_called_like() {
        let open = OpenBuckets::new(vec![(BucketPattern::new("agent-{principal}").expect("a pattern"), true)]);
        for name in ["local-operator", "loopback", "agent.loopback"] {
            let principal = named(name, &["kv://agent-{principal}/**"]);
            let buckets: Vec<_> = open.named(&principal).into_iter().map(|bucket| bucket.to_string()).collect();
            assert_eq!(buckets, [format!("agent-agent.{name}")]);
            let read = |bucket: &str| may_read(&principal, &format!("kv://{bucket}/note"));
            assert!(read(&format!("agent-agent.{name}")) && !read(&format!("agent-{name}")), "{name}");
            assert!(!sees(&principal, &format!("agent-{name}")), "{name}");
            let bucket = BucketName::new(format!("agent-{name}")).expect("a name");
            assert!(prefixes(&principal, &bucket).is_empty(), "{name}");
        }
    }

    #[test]
    fn lists_begin_where_patterns_do() {
        let bucket = BucketName::new("shared").expect("a name");
        for (patterns, expected) in [
            (&["kv://shared/b/**", "kv://shared/a/*", "kv://shared/a/x/**", "kv://other/z"][..], &["a/", "b/"][..]),
            (&["kv://shared/a", "kv://**"], &[""]),
            (&["kv://s*/a/**"], &[""]),
            (&["kv://shared/%C3%BCb/*"], &["üb/"]),
            (&["kv://other/**"], &[]),
        ] {
            assert_eq!(prefixes(&agent(patterns), &bucket), expected, "{patterns:?}");
        }
    }
}
