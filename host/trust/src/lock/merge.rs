//! Branches that approve different plugins merge, in the git that is installed.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use portcullis_policy::Digest;

use super::*;
use crate::samples::{approval, grants, name};

/// What a branch does to the lock.
type Change<'a> = &'a [Act<'a>];

enum Act<'a> {
    /// Approves it, for the first time or again.
    Approve(&'a str, u64),
    Remove(&'a str),
}
use Act::{Approve, Remove};

fn apply(lock: &Lock, change: Change<'_>) -> Lock {
    let mut lock = lock.clone();
    for act in change {
        match act {
            Approve(plugin, version) => {
                let mut approval = approval(plugin);
                approval.sha256 = Digest::of(&version.to_le_bytes());
                approval.approved_at = format!("2026-11-{version:02}T00:00:00Z");
                approval.limits.concurrency = *version as u32;
                approval.grants = grants();
                approval.tool_limits.insert(format!("t{version}"), approval.limits.clone());
                lock.plugins.insert(name(plugin), approval);
            }
            Remove(plugin) => {
                lock.plugins.remove(*plugin);
            }
        }
    }
    lock
}

fn git(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=t", "-c", "user.email=t@example", "-c", "commit.gpgsign=false"]);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    match command.args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(std::env::var_os("PORTCULLIS_REQUIRE").is_none(), "git is missing: {error}");
            eprintln!("skipped: git is missing: {error}");
            None
        }
    }
}

/// Merges by `git merge-file` and by `git merge`; both must give what one branch after the other would have given.
fn check(what: &str, known: &[&str], base: Change<'_>, ours: Change<'_>, theirs: Change<'_>) {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path();
    let run = |arguments: &[&str]| {
        git(folder, arguments).map(|output| {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{what}: git {arguments:?}: {said}");
        })
    };
    let known: BTreeSet<_> = known.iter().map(|text| name(text)).collect();
    let base = apply(&Lock::default(), base);
    let expected = apply(&apply(&base, ours), theirs);
    let ours = apply(&base, ours);
    let theirs = apply(&base, theirs);
    for (file, lock) in [("base", &base), ("ours", &ours), ("theirs", &theirs)] {
        fs::write(folder.join(file), lock.render(&known).expect("text")).expect("a file");
    }
    if run(&["merge-file", "ours", "base", "theirs"]).is_none() {
        return;
    }
    let merged = fs::read_to_string(folder.join("ours")).expect("a file");
    assert_eq!(merged, expected.render(&known).expect("text"), "{what}");

    let commit = |lock: &Lock| {
        fs::write(folder.join("portcullis.lock"), lock.render(&known).expect("text")).expect("a file");
        run(&["add", "portcullis.lock"]);
        run(&["commit", "-q", "--allow-empty", "-m", "x"]);
    };
    run(&["init", "-q", "-b", "main"]);
    commit(&base);
    run(&["checkout", "-q", "-b", "other"]);
    commit(&theirs);
    run(&["checkout", "-q", "main"]);
    commit(&ours);
    run(&["merge", "-q", "-m", "merged", "other"]);
    let merged = fs::read_to_string(folder.join("portcullis.lock")).expect("a file");
    assert_eq!(Lock::parse(&merged).expect("a lock"), expected, "{what}");
    assert_eq!(merged, expected.render(&known).expect("text"), "{what}");
}

#[test]
fn two_branches_merge_without_a_conflict() {
    let all: &[&str] = &["aaa", "alpha", "alto", "beta", "gamma"];
    let (one, two) = (|plugin| Approve(plugin, 1), |plugin| Approve(plugin, 2));
    check("both new, unknown before, other letters", &[], &[], &[one("alpha")], &[one("beta")]);
    check("both new, configured before, neighbours", all, &[], &[one("alpha")], &[one("alto")]);
    check("both new, neighbours, the later one in ours", all, &[], &[one("alto")], &[one("alpha")]);
    check("one new and its neighbour approved again", all, &[one("alto")], &[one("alpha")], &[two("alto")]);
    check("the neighbour before approved again", all, &[one("aaa")], &[two("aaa")], &[one("alpha")]);
    check(
        "unknown before, between two approved again",
        &[],
        &[one("aaa"), one("beta")],
        &[one("alpha")],
        &[two("aaa")],
    );
    check("unknown before, before one approved again", &[], &[one("alto")], &[one("alpha")], &[two("alto")]);
    check("both approved again", all, &[one("alpha"), one("alto")], &[two("alpha")], &[two("alto")]);
    check("one removed, the neighbour approved", all, &[one("alpha")], &[Remove("alpha")], &[one("alto")]);
    check(
        "one removed, the neighbour approved again",
        all,
        &[one("alpha"), one("alto")],
        &[Remove("alpha")],
        &[two("alto")],
    );
    check(
        "one removed that nobody knows any more",
        &[],
        &[one("alpha"), one("alto")],
        &[Remove("alpha")],
        &[two("alto")],
    );
    check("both removed", all, &[one("alpha"), one("alto"), one("beta")], &[Remove("alpha")], &[Remove("alto")]);
    let (first, between) = (&[one("alpha")], &[one("alto")]);
    check("removed, one after it approved, one between them", all, first, &[Remove("alpha"), one("beta")], between);
    check("the same, of other letters, unknown before", &[], first, &[Remove("alpha"), one("gamma")], &[one("beta")]);
    check(
        "the same, of one letter",
        &["aaa", "abc", "alpha"],
        &[one("aaa")],
        &[Remove("aaa"), one("alpha")],
        &[one("abc")],
    );
    check("three in order", all, &[], &[one("aaa"), one("alto")], &[one("alpha"), one("beta")]);
    check("both do the same", all, &[one("alpha")], &[two("alpha")], &[two("alpha")]);
}

/// The conflict that has to be one: the same plugin, approved differently.
#[test]
fn one_plugin_approved_in_two_ways_is_a_conflict() {
    let dir = tempfile::tempdir().expect("a folder");
    for (file, version) in [("base", 1), ("ours", 2), ("theirs", 3)] {
        let text = apply(&Lock::default(), &[Approve("alpha", version)]).render(&BTreeSet::new()).expect("text");
        fs::write(dir.path().join(file), text).expect("a file");
    }
    let Some(output) = git(dir.path(), &["merge-file", "ours", "base", "theirs"]) else { return };
    assert_eq!(output.status.code().map(|code| code > 0), Some(true));
    let error = Lock::parse(&fs::read_to_string(dir.path().join("ours")).expect("a file")).expect_err("a conflict");
    assert!(matches!(error, LockError::Conflict { .. }), "{error}");
}

/// Where git cannot merge by itself, as without a common lock, a union of both sides is a lock with the blocks of both,
/// whatever lines it repeats: `portcullis.lock merge=union` in `.gitattributes`, or a person who keeps both sides.
#[test]
fn a_union_of_both_sides_is_a_lock() {
    let dir = tempfile::tempdir().expect("a folder");
    let one = |plugin| Approve(plugin, 1);
    let check = |what: &str, base: Option<&[&str]>, ours: Change<'_>, theirs: Change<'_>, expected: &[&str]| {
        let all =
            |plugins: &[&str]| plugins.iter().fold(Lock::default(), |lock, plugin| apply(&lock, &[Approve(plugin, 1)]));
        let render = |lock: &Lock| lock.render(&BTreeSet::new()).expect("text");
        let start = all(base.unwrap_or_default());
        let base = base.map(|_| render(&start)).unwrap_or_default();
        let (ours, theirs) = (render(&apply(&start, ours)), render(&apply(&start, theirs)));
        for (file, text) in [("base", base), ("ours", ours), ("theirs", theirs)] {
            fs::write(dir.path().join(file), text).expect("a file");
        }
        let Some(output) = git(dir.path(), &["merge-file", "--union", "ours", "base", "theirs"]) else { return };
        assert!(output.status.success(), "{what}");
        let merged = fs::read_to_string(dir.path().join("ours")).expect("a file");
        let lock = Lock::parse(&merged).unwrap_or_else(|error| panic!("{what}: {error}\n{merged}"));
        assert_eq!(lock, all(expected), "{what}");
    };
    check("no lock before, other letters", None, &[one("alpha")], &[one("beta")], &["alpha", "beta"]);
    check("no lock before, one letter", None, &[one("alpha")], &[one("alto")], &["alpha", "alto"]);
    let (ours, theirs) = (&[one("aaa"), one("beta")], &[one("alpha"), one("gamma")]);
    check("no lock before, several", None, ours, theirs, &["aaa", "alpha", "beta", "gamma"]);
    check("one letter, unknown before", Some(&["aaa"]), &[one("alpha")], &[one("alto")], &["aaa", "alpha", "alto"]);
    // It comes back, and waits on the host that removed it.
    check("beside one that was removed", Some(&["aaa"]), &[Remove("aaa")], &[one("alpha")], &["aaa", "alpha"]);
}

/// A union never says of a plugin what neither side said: approved differently by both, it is damaged.
#[test]
fn a_union_of_two_approvals_of_one_plugin_is_no_lock() {
    let dir = tempfile::tempdir().expect("a folder");
    for (file, version) in [("base", 1), ("ours", 2), ("theirs", 3)] {
        let text = apply(&Lock::default(), &[Approve("alpha", version)]).render(&BTreeSet::new()).expect("text");
        fs::write(dir.path().join(file), text).expect("a file");
    }
    let Some(_) = git(dir.path(), &["merge-file", "--union", "ours", "base", "theirs"]) else { return };
    let error = Lock::parse(&fs::read_to_string(dir.path().join("ours")).expect("a file")).expect_err("both");
    assert!(matches!(error, LockError::Damaged { .. }), "{error}");
}
