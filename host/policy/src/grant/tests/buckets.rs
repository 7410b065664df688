//! Names put into grants of `kv`: whose bucket is whose.

use std::sync::Arc;

use proptest::prelude::*;

use crate::{Access, AgentName, Buckets, Effective, Grants, PluginName, Principal, Statutes};

fn agent(name: &str) -> Principal {
    let name = AgentName::new(name).expect(name);
    Principal::Agent(Arc::new(Statutes::default().vouched(name, None)))
}

fn grants(text: &str) -> Grants {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn plugin(name: &str) -> PluginName {
    PluginName::new(name).expect(name)
}

#[test]
fn names_are_put_in_by_call() {
    let grants = grants(
        "kv = [{ bucket = 'agent-{principal}', access = 'read-write' },
               { bucket = 'shared', prefix = 'of/{plugin}/{principal}/', access = 'read-write' },
               { bucket = 'shared', prefix = 'of/' }]",
    );
    let check = |principal: &Principal, name: &str, prefix: &str| {
        let buckets = Buckets::of(grants.kv(), principal, &plugin("notes"));
        assert_eq!(buckets.names().collect::<Vec<_>>(), [name, "shared"]);
        assert_eq!(
            (&*buckets.name("agent-{principal}"), buckets.bucket(name).map(|keys| keys.written())),
            (name, Some("agent-{principal}"))
        );
        let (own, shared) = (buckets.bucket(name).expect("it"), buckets.bucket("shared").expect("it"));
        assert!(own.are_all() && !shared.are_all() && buckets.bucket("agent-{principal}").is_none());
        assert!(shared.allow(&format!("{prefix}a"), Access::ReadWrite) && shared.allow("of/x", Access::Read));
        assert!(!shared.allow("of/x", Access::ReadWrite) && !shared.allow("off", Access::Read));
        assert_eq!(shared.within(""), ["of/"], "what another covers is not listed twice");
        assert_eq!((shared.within("of/x"), shared.within("x")), (vec!["of/x".to_owned()], vec![]));
    };
    check(&agent("alice"), "agent-alice", "of/notes/alice/");
    check(&Principal::LocalOperator, "agent-local-operator", "of/notes/local-operator/");
    // Nobody becomes the operator by being called so.
    check(&agent("local-operator"), "agent-agent.local-operator", "of/notes/agent.local-operator/");
    check(&agent("agent.local-operator"), "agent-agent.agent.local-operator", "of/notes/agent.agent.local-operator/");
}

#[test]
fn what_holds_is_in_both_whatever_the_names_are() {
    let check = |approved: &str, configured: &str, expected: &[&str]| {
        let effective = Effective::new(Arc::new(grants(approved)), Arc::new(grants(configured)));
        assert_eq!(effective.kv().iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{configured}");
    };
    let approved = "kv = [{ bucket = 'agent-{principal}', prefix = 'n/', access = 'read-write' }]";
    check(approved, approved, &["agent-{principal}, keys n/*, read-write"]);
    let narrower = "kv = [{ bucket = 'agent-{principal}', prefix = 'n/{plugin}/' }]";
    check(approved, narrower, &["agent-{principal}, keys n/{plugin}/*, read"]);
    check(narrower, approved, &["agent-{principal}, keys n/{plugin}/*, read"]);
    // One agent's bucket for all who call is another grant, not a part of each agent's own.
    check(approved, "kv = [{ bucket = 'agent-alice', access = 'read-write' }]", &[]);
    assert_eq!(grants("kv = [{ bucket = 'agent-alice' }]").widened_over(&grants(approved)).len(), 1);
    assert!(grants(narrower).widened_over(&grants(approved)).is_empty());
}

/// All texts of these letters with `least` to three of them.
fn texts(letters: &str, least: usize) -> Vec<String> {
    let longer = |text: &String| letters.chars().map(|letter| format!("{text}{letter}")).collect::<Vec<_>>();
    let mut all = vec![vec![String::new()]];
    for _ in 0..3 {
        let next = all.last().into_iter().flatten().flat_map(longer).collect();
        all.push(next);
    }
    all.into_iter().skip(least).flatten().collect()
}

/// Where one name could end in another place, it would be another's bucket: all short names around all short texts.
#[test]
fn two_names_in_a_bucket_are_told_apart() {
    let (agents, plugins) = (texts("a.-", 1), texts("a-", 1));
    let (agents, plugins): (Vec<_>, Vec<_>) =
        (agents.iter().map(|name| agent(name)).collect(), plugins.iter().map(|name| plugin(name)).collect());
    let mut patterns = 0;
    for between in texts("a.-", 0) {
        for bucket in [format!("{{principal}}{between}{{plugin}}"), format!("{{plugin}}{between}{{principal}}")] {
            let Ok(read) = toml::from_str::<Grants>(&format!("kv = [{{ bucket = '{bucket}' }}]")) else { continue };
            patterns += 1;
            let mut made = std::collections::BTreeSet::new();
            for (agent, plugin) in agents.iter().flat_map(|agent| plugins.iter().map(move |plugin| (agent, plugin))) {
                let name = Buckets::of(read.kv(), agent, plugin).names().collect::<String>();
                assert!(made.insert(name.clone()), "{bucket} makes {name} for {agent} and {plugin} and for others");
            }
        }
    }
    // Those with a dot in them.
    assert_eq!(patterns, 2 * (texts("a.-", 0).len() - texts("a-", 0).len()));
}

fn principal() -> impl Strategy<Value = Principal> {
    // Short, of few characters, and with the names of the host's own among them, so that they meet.
    let names = prop_oneof!["[a.-]{1,4}", "(agent\\.){0,3}(local-operator|loopback|a)"];
    prop_oneof![1 => Just(Principal::LocalOperator), 1 => Just(Principal::Loopback), 8 => names.prop_map(|name| agent(&name))]
}

fn one() -> impl Strategy<Value = (Principal, PluginName)> {
    (principal(), "[a_-]{1,3}".prop_map(|name| plugin(&name)))
}

/// The text that a grant makes of the names.
fn made(bucket: &str, principal: &Principal, plugin: &PluginName) -> Option<String> {
    let read = toml::from_str::<Grants>(&format!("kv = [{{ bucket = '{bucket}' }}]")).ok()?;
    Buckets::of(read.kv(), principal, plugin).names().next().map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Two principals never share a private bucket, nor two plugins where both are named.
    #[test]
    fn a_bucket_has_one_owner(
        pattern in "[a.-]{0,2}(\\{principal\\}|\\{plugin\\}[a.-]{0,2}\\{principal\\}|\\{principal\\}[a.-]{0,2}\\{plugin\\})[a.-]{0,2}",
        one in one(),
        other in one(),
    ) {
        let (Some(ours), Some(theirs)) = (made(&pattern, &one.0, &one.1), made(&pattern, &other.0, &other.1)) else {
            // A pattern that could make one bucket of two pairs is refused.
            return Ok(());
        };
        let same = one.0 == other.0 && (!pattern.contains("{plugin}") || one.1 == other.1);
        prop_assert_eq!(ours == theirs, same, "{} {}", ours, theirs);
    }

    /// No key of one principal's prefix is within another's.
    #[test]
    fn a_key_has_one_owner(
        pattern in "[a/]{0,2}(\\{principal\\}|\\{plugin\\}[a/]{0,2}\\{principal\\}|\\{principal\\}[a/]{0,2}\\{plugin\\})[a/]{0,2}",
        one in one(),
        other in one(),
        key in "[a./-]{0,3}",
    ) {
        let Ok(grants) = toml::from_str::<Grants>(&format!("kv = [{{ bucket = 'b', prefix = '{pattern}' }}]")) else {
            return Ok(());
        };
        let same = one.0 == other.0 && (!pattern.contains("{plugin}") || one.1 == other.1);
        let of = |(principal, plugin): &(Principal, PluginName)| Buckets::of(grants.kv(), principal, plugin).bucket("b").cloned();
        let (ours, theirs) = (of(&one).expect("granted"), of(&other).expect("granted"));
        let whole = format!("{}{key}", ours.within("").concat());
        prop_assert!(ours.allow(&whole, Access::Read));
        prop_assert_eq!(theirs.allow(&whole, Access::Read), same, "{}", whole);
    }

    /// What is made of any names is the name of a bucket, as the store takes them.
    #[test]
    fn every_name_makes_a_bucket(agent_name in "[a-zA-Z0-9_.-]{1,64}", plugin_name in "[a-zA-Z0-9_-]{1,64}") {
        let longest = format!("{}{{principal}}.{{plugin}}", "x".repeat(128 - 20));
        for pattern in ["{principal}", "agent-{principal}", "{plugin}.{principal}", &longest] {
            let name = made(pattern, &agent(&agent_name), &plugin(&plugin_name)).expect(pattern);
            prop_assert!((1..=256).contains(&name.len()), "{}", name);
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{}", name);
        }
    }
}
