//! The text of a lock: what is written reads back equal, what is damaged is refused with its line.

use portcullis_policy::{Digest, Limits};
use proptest::prelude::*;

use super::*;
use crate::samples::{any_grants, any_limits, approval, grants, name};

fn lock(names: &[&str]) -> Lock {
    Lock { plugins: names.iter().map(|text| (name(text), approval(text))).collect(), ..Lock::default() }
}

#[test]
fn a_block_reads_well_and_stands_in_its_place() {
    let known = BTreeSet::from([name("Zeta"), name("9lives"), name("alpha")]);
    let text = lock(&["alpha", "beta"]).render(&known).expect("text");
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is missing in\n{text}"));
    let order = [
        "version = 1",
        "# -- 9 --\n# begin 9lives\n# end 9lives\n",
        "# -- a --\n# begin alpha\nplugins.alpha.source = \"plugins/alpha.wasm\"\n",
        "plugins.alpha.imports = [\n    \"wasi:cli/environment@0.2.0\", # plugins.alpha.imports\n",
        "\n] # plugins.alpha.imports\nplugins.alpha.tools.alpha_one.function = ",
        "plugins.alpha.grants = {}\nplugins.alpha.limits.deadline-ms = 15000\n",
        "# end alpha\n\n# -- b --\n# begin beta\nplugins.beta.source = ",
        "# -- z --\n# begin Zeta\n# end Zeta\n",
    ];
    assert!(order.map(place).is_sorted(), "{text}");
    assert_eq!(text, lock(&["beta", "alpha"]).render(&known).expect("text"), "the order of approving shows");
}

/// Grants and limits that were changed by hand, or by a merge, are not taken for those that somebody approved.
#[test]
fn grants_and_limits_have_their_digest() {
    let good = lock(&["alpha", "beta"]).render(&BTreeSet::new()).expect("text");
    let check = |text: &str, stale: bool| {
        let read = Lock::parse(text).expect("a lock");
        let expected: BTreeSet<_> = stale.then(|| name("alpha")).into_iter().collect();
        assert_eq!(read.stale, expected, "{text}");
    };
    let limits = "{ deadline-ms = 1, fuel = 1, memory = 65536, output = 1, concurrency = 1 }";
    check(&good, false);
    check(&good.replacen("alpha.limits.memory = ", "alpha.limits.memory = 1", 1), true);
    check(&good.replace("alpha.grants = {}", "alpha.grants.env.A = \"b\""), true);
    check(&good.replace("# end alpha", &format!("plugins.alpha.tool-limits.f = {limits}\n# end alpha")), true);
    check(&good.replace("alpha.approved-by = \"alice\"", "alpha.approved-by = \"bob\""), false);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let good = lock(&["alpha"]).render(&BTreeSet::new()).expect("text");
    assert_eq!(Lock::parse(&good).expect("a lock"), lock(&["alpha"]));
    let line = |part: &str| good.lines().position(|line| line.starts_with(part)).expect("a line") + 1;
    let check = |text: &str, expected: &str| {
        let error = Lock::parse(text).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}, expected {expected}");
        assert!(error.hint().is_some(), "{error}");
    };
    check("", "line 1 of the lock: missing field `version`");
    check("version = 0", "there is no version 0");
    check("version = 2\nnew-things = true", "has version 2, this Portcullis knows 1");
    check("version = 1\nmac = \"x\"", "line 2 of the lock: unknown field `mac`");
    let at = |key: &str| format!("line {} of the lock", line(&format!("plugins.alpha.{key}")));
    check(&good.replace("approved-by", "approved-as"), &at("approved-by"));
    check(&good.replace("size = ", "size = -"), &at("size"));
    check(&good.replace("alpha.grants = {}", "alpha.grants.all = true"), "unknown field `all`");
    check(&good.replace("begin alpha", "begin alpha\n<<<<<<< HEAD"), "a conflict that was left by a merge");
    check(&format!("{good}[plugins.\"../x\"]\n"), "contains `.`");
    check(&format!("{good}[plugins.\"\\u001b[2J\"]\n"), "line ");
    check(&format!("{good}plugins.alpha.size = 1\n"), "duplicate key");
    check(&format!("{good}[plugins.alpha]\n"), "line ");
    check(&good.replace("plugins.alpha.digest", "# "), "missing field `digest`");
    check(&" ".repeat(MAX_LOCK as usize + 1), "larger than");
    let error = Lock::read(b"version = 1\n\xff").expect_err("no text");
    assert!(matches!(error, LockError::Encoding { line: 2 }), "{error}");
}

/// P7: however a lock is cut short, it is either damaged or has fewer blocks; a block is never half there unnoticed.
#[test]
fn a_truncated_lock_has_no_half_block() {
    let whole = lock(&["alpha", "beta"]);
    let text = whole.render(&BTreeSet::new()).expect("text");
    let mut damaged = 0;
    for length in 0..text.len() {
        match Lock::parse(&text[..length]) {
            Ok(part) => {
                for (plugin, approval) in part.plugins {
                    assert_eq!(whole.plugins.get(&plugin), Some(&approval), "{length}");
                }
            }
            Err(_) => damaged += 1,
        }
    }
    assert!(damaged > text.len() / 4, "{damaged} of {}", text.len());
}

#[test]
fn no_message_carries_a_control_character() {
    let error = Lock::parse("version = 1\n\"\\u001b[2J\\u202e\" = 1").expect_err("an unknown field").to_string();
    assert!(!error.contains(['\u{1b}', '\u{202e}']), "{error:?}");
}

#[test]
fn the_digest_of_an_approval_changes_with_each_part() {
    let base = approval("alpha");
    let digest = base.digest().expect("a digest");
    assert_eq!(approval("alpha").digest().expect("a digest"), digest);
    assert_ne!(
        digest,
        Digest::of(&crate::canonical::canonical(&serde_json::to_value(&base).expect("json")).expect("json"))
    );
    let changes: [fn(&mut Approval); 9] = [
        |a| a.source.push('x'),
        |a| a.sha256 = Digest::of(b"other"),
        |a| a.size += 1,
        |a| a.mapping += 1,
        |a| a.approved_by.push('x'),
        |a| a.approved_at.push('x'),
        |a| a.imports = BTreeSet::new(),
        |a| a.tools = BTreeMap::new(),
        |a| a.limits.memory += 1,
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(other.digest().expect("a digest"), digest, "change {at}");
    }
}

/// Every kind of grant as it stands in the lock, each line with its plugin's name.
#[test]
fn grants_of_every_kind_read_back() {
    let mut lock = lock(&["alpha"]);
    let block = lock.plugins.get_mut("alpha").expect("alpha");
    block.grants = grants();
    block.tool_limits.insert("a:b/c@0.1.0.d".to_owned(), Limits { fuel: None, ..Limits::default() });
    let text = lock.render(&BTreeSet::new()).expect("text");
    assert_eq!(Lock::parse(&text).expect("a lock"), lock, "{text}");
    let check = |line: &str| assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    check(r#"    "GET https://api.example/v1/**", # plugins.alpha.grants.http"#);
    check(
        r#"    { allow = "GET,POST https://intranet.example/**", private = ["10.0.0.0/8"] }, # plugins.alpha.grants.http"#,
    );
    check(r#"    "GET https://api.example/v1/secret/**", # plugins.alpha.grants.deny"#);
    check(r#"    { name = "api", header = "x-api-key", to = "https://api.example" }, # plugins.alpha.grants.secrets"#);
    check(
        r#"    { host = "data", guest = "/data", access = "read-write", quota = "3MiB" }, # plugins.alpha.grants.files"#,
    );
    check(r#"    { bucket = "agent-{principal}", prefix = "a \"b\"/", access = "read" }, # plugins.alpha.grants.kv"#);
    check(r#"plugins.alpha.grants.env.UNITS = "metric""#);
    check(r#"plugins.alpha.grants.env.TEXT = "\"two\"\nlines\t\U0000202E\U0000007F\\""#);
    check(r#"plugins.alpha.tool-limits."a:b/c@0.1.0.d".fuel = "off""#);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        plugins in prop::collection::btree_map(
            "[-_a-zA-Z0-9]{1,8}",
            ((any::<String>(), "[\\s\\S]{0,9}"), any::<u64>(), any_grants(), any_limits()),
            0..6,
        ),
        known in prop::collection::btree_set("[-_a-zA-Z0-9]{1,8}", 0..6),
    ) {
        let mut lock = Lock::default();
        for (plugin, ((source, by), size, grants, limits)) in plugins {
            let mut approval = approval(&plugin);
            approval.tool_limits.insert(source.clone(), limits.clone());
            approval.imports.insert(by.clone());
            (approval.source, approval.approved_by, approval.size) = (source, by, size >> 1);
            (approval.grants, approval.limits) = (grants, limits);
            lock.plugins.insert(name(&plugin), approval);
        }
        let known = known.iter().map(|text| name(text)).collect();
        let text = lock.render(&known).expect("text");
        prop_assert_eq!(&Lock::parse(&text).expect("a lock"), &lock);
        prop_assert_eq!(Lock::parse(&text).expect("a lock").render(&known).expect("text"), &text[..]);
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        // What merging rests on: no line but the blank one stands there twice.
        let mut lines = BTreeSet::new();
        prop_assert_eq!(text.lines().find(|line| !line.is_empty() && !lines.insert(*line)), None);
    }

    /// The same as `tests/fuzz` has it, from a lock with a few bytes changed.
    #[test]
    fn whatever_is_read_can_be_written(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut whole = lock(&["alpha", "beta"]);
        whole.plugins.values_mut().for_each(|block| block.grants = grants());
        let mut bytes = whole.render(&BTreeSet::new()).expect("text").into_bytes();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => _ = bytes.remove(at),
            }
        }
        match Lock::read(&bytes) {
            Ok(read) => {
                let text = read.render(&BTreeSet::new()).expect("text");
                let again = Lock::parse(&text).expect("a lock");
                prop_assert_eq!((again.plugins, again.stale), (read.plugins, BTreeSet::new()));
            }
            Err(error) => prop_assert_eq!(escaped(&error.to_string()).to_string(), error.to_string()),
        }
    }

    #[test]
    fn no_text_is_too_much(text in "(version = 1\n)?[\\s\\S]{0,60}") {
        _ = Lock::parse(&text);
    }
}
