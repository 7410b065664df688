//! Roles, by tables and by property.

use proptest::prelude::*;

use super::*;

fn tool(pattern: &str, plugin: &str, name: &str) -> bool {
    let pattern: ToolPattern = pattern.parse().expect(pattern);
    pattern.matches(&PluginName::new(plugin).expect("a name"), &ToolName::new(name).expect("a name"))
}

#[test]
fn tools_match_by_name_and_plugin() {
    for (pattern, plugin, name, expected) in [
        ("search", "web", "search", true),
        ("search", "web", "searches", false),
        ("context_*", "context", "context_read", true),
        ("context_*", "context", "context", false),
        ("*", "a", "b", true),
        ("*_read", "context", "context_read", true),
        ("c*t_*d", "context", "context_read", true),
        ("a*a", "p", "a", false),
        ("web/*", "web", "search", true),
        ("web/*", "web2", "search", false),
        ("w*/s*", "web", "search", true),
        ("Search", "web", "search", false),
    ] {
        assert_eq!(tool(pattern, plugin, name), expected, "{pattern} {plugin} {name}");
    }
    for text in ["", "/", "web/", "/search", "a b", "a/b/c", "é", "a?", "kv://x", "a\u{200b}"] {
        assert!(text.parse::<ToolPattern>().is_err(), "{text:?}");
    }
}

#[test]
fn resources_match_by_path() {
    for (pattern, uri, expected) in [
        ("kv://shared/research/**", "kv://shared/research/a/b", true),
        ("kv://shared/research/**", "kv://shared/research/", true),
        ("kv://shared/research/**", "kv://shared/other", false),
        ("kv://shared/*", "kv://shared/a", true),
        ("kv://shared/*", "kv://shared/a/b", false),
        ("kv://*/notes", "kv://alice/notes", true),
        ("kv://**", "kv://a/b", true),
        ("kv://a*b*c", "kv://aXbYc", true),
        ("kv://a*b*c", "kv://aXbY", false),
        ("kv://shared/*", "kv://shared/a%2Fb", true),
        ("kv://shared/%C3%BC*", "kv://shared/%C3%BCber", true),
        ("kv://agent-{principal}/**", "kv://agent-alice/a/b", true),
        ("kv://agent-{principal}/**", "kv://agent-bob/a", false),
        ("kv://agent-{principal}/**", "kv://agent-{principal}/a", false),
    ] {
        let parsed: ResourcePattern = pattern.parse().expect(pattern);
        assert_eq!(parsed.matches(uri, "alice"), expected, "{pattern} {uri}");
    }
    let bad =
        ["", "kv://", "file:///etc", "shared/*", "kv://a\n", "kv://a/\u{fc}", "kv://a/%c3", "kv://a/%C", "kv://a/b?c"];
    for text in [&bad[..], &["kv://a/#", "kv://a/b c", "kv://{plugin}/a", "kv://a/\"", "kv://a/\u{202e}"]].concat() {
        assert!(text.parse::<ResourcePattern>().is_err(), "{text:?}");
    }
}

/// What a list is made with: where to look, and where not.
#[test]
fn patterns_say_where_they_reach() {
    for (pattern, beginning, bucket, reached, not) in [
        ("kv://shared/research/**", "kv://shared/research/", Some("shared"), "kv://shared/", "kv://other/"),
        ("kv://shared/a*b", "kv://shared/a", Some("shared"), "kv://shared/", "kv://shared/b"),
        ("kv://sh*x/**", "kv://sh", None, "kv://shx/", "kv://shared/"),
        ("kv://*/notes", "kv://", None, "kv://anything/", "kv://anything/x"),
        ("kv://**", "kv://", None, "kv://a/b/c", "http://"),
        ("kv://agent-{principal}/**", "kv://agent-alice/", Some("agent-alice"), "kv://agent-alice/", "kv://agent-bob/"),
        ("kv://shared/one", "kv://shared/one", Some("shared"), "kv://shared/", "kv://shared/one/"),
    ] {
        let parsed: ResourcePattern = pattern.parse().expect(pattern);
        assert_eq!(parsed.beginning("alice"), beginning, "{pattern}");
        assert_eq!(parsed.bucket("alice").as_deref(), bucket, "{pattern}");
        assert!(parsed.reaches(reached, "alice") && !parsed.reaches(not, "alice"), "{pattern}");
    }
}

#[test]
fn deny_beats_allow_and_nothing_is_nothing() {
    let role = |toml: &str| Role::new(RoleName::new("r").expect("a name"), toml::from_str(toml).expect(toml));
    let (plugin, name) =
        (PluginName::new("context").expect("a name"), ToolName::new("context_delete").expect("a name"));
    let check = |toml: &str, expected: &str| {
        assert_eq!(format!("{:?}", role(toml).tool(&plugin, &name)), expected, "{toml}");
    };
    check("", "NotAllowed");
    check("allow = ['context_read']", "NotAllowed");
    check("allow = ['context_*']", "Allowed(\"context_*\")");
    check("allow = ['context_*']\ndeny = ['*_delete']", "Denied(\"*_delete\")");
    check("deny = ['other']", "NotAllowed");
}

#[test]
fn agents_have_roles_that_there_are() {
    let statutes = |agents: &[(&str, &str)]| {
        let name = |text: &str| AgentName::new(text).expect("a name");
        let role = |text: &str| RoleName::new(text).expect("a name");
        let agents = agents.iter().map(|(agent, of)| (name(agent), role(of))).collect();
        Statutes::new([(role("reader"), RoleRules::default())].into(), agents)
    };
    let fine = statutes(&[("alice", "reader"), ("bob", "reader")]).expect("in order");
    let alice = fine.agent(&AgentName::new("alice").expect("a name")).expect("alice");
    assert_eq!(alice.role().map(|role| role.name().as_str()), Some("reader"));
    assert_eq!(fine.agent(&AgentName::new("Alice").expect("a name")), None, "A5");
    let told = |agents: &[(&str, &str)]| statutes(agents).expect_err("a fault").to_string();
    assert_eq!(told(&[("alice", "writer")]), "the agent `alice` has the role `writer`, which is none");
    assert_eq!(
        told(&[("alice", "reader"), ("ALICE", "reader")]),
        "the agents `ALICE` and `alice` differ by case alone"
    );
    for text in ["", " alice", "alice ", "al ice", "älice", "alice\n", "a/b"] {
        assert!(AgentName::new(text).is_err(), "A5: {text:?}");
    }
    assert_eq!(fine.vouched(AgentName::new("eve").expect("a name"), Some("admin")).role(), None);
}

fn patterns() -> impl Strategy<Value = Vec<ToolPattern>> {
    proptest::collection::vec("([a-c*]{1,3}/)?[a-c_*]{1,4}".prop_map(|text| text.parse().expect("a pattern")), 0..5)
}

proptest! {
    /// Adding a deny never allows; adding an allow never denies another.
    #[test]
    fn rules_only_do_what_they_say(
        allow in patterns(), deny in patterns(), more in patterns(), plugin in "[a-c]{1,3}", tool in "[a-c_]{1,4}",
    ) {
        let (plugin, tool) = (PluginName::new(plugin).expect("a name"), ToolName::new(tool).expect("a name"));
        let allowed = |allow: &[ToolPattern], deny: &[ToolPattern]| {
            let rules = RoleRules { allow: allow.to_vec(), deny: deny.to_vec(), resources: Vec::new() };
            let role = Role::new(RoleName::new("r").expect("a name"), rules);
            matches!(role.tool(&plugin, &tool), Verdict::Allowed(_))
        };
        let before = allowed(&allow, &deny);
        let more_denied = [deny.clone(), more.clone()].concat();
        let more_allowed = [allow.clone(), more].concat();
        prop_assert!(before || !allowed(&allow, &more_denied));
        prop_assert!(!before || allowed(&more_allowed, &deny));
    }

    /// Against the plainest matcher there is.
    #[test]
    fn globs_are_what_a_reference_says(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
        fn reference(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), None) => reference(rest, text),
                (Some((b'*', rest)), Some((_, behind))) => reference(rest, text) || reference(pattern, behind),
                (Some((p, rest)), Some((t, behind))) => p == t && reference(rest, behind),
                (Some(_), None) | (None, Some(_)) => false,
            }
        }
        let expected = reference(pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(pattern::glob(&pattern, &text), expected);
        prop_assert_eq!(pattern::path(&pattern, &text), expected);
    }
}
