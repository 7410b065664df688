//! Processes that end in the middle of a write, and processes that write at the same time.
//!
//! A child is this test program again, started on the one test `child`, which does what its environment says.

use std::{
    io::{BufRead, BufReader, Write as _},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use rustix::process::{Signal, getpid, kill_process};

use super::{
    tests::{approve, open, word},
    *,
};
use crate::samples::name;

const FOLDER: &str = "PORTCULLIS_TEST_FOLDER";
const WORK: &str = "PORTCULLIS_TEST_WORK";
const STEP: &str = "PORTCULLIS_TEST_STEP";

/// What the children do, a word and a plugin: see [`work`].
fn work(trust: &Trust, work: &str) {
    let (verb, plugin) = work.split_once(' ').expect("a verb and a plugin");
    match verb {
        "approve" => _ = approve(trust, plugin, 2).expect("approved"),
        "remove" => _ = trust.remove(&name(plugin), &Default::default()).expect("removed"),
        "disable" => _ = trust.disable(&name(plugin)).expect("disabled"),
        // Ever newer versions, until somebody ends this.
        "endless" => (2..1000).for_each(|version| _ = approve(trust, plugin, version).expect("approved")),
        "many" => {
            println!("ready");
            io::stdin().read_line(&mut String::new()).expect("the word to begin");
            (1..=40).for_each(|version| _ = approve(trust, plugin, version).expect("approved"));
        }
        _ => panic!("{verb}"),
    }
}

#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let step: fn(Step) = |step| {
        let shown = format!("{:?} {:?}", step.target, step.phase);
        if std::env::var(STEP).is_ok_and(|wanted| wanted == shown) {
            kill_process(getpid(), Signal::KILL).expect("killed");
        }
        println!("step {shown}");
    };
    work(&open(Path::new(&folder), 7, Some(step)), &std::env::var(WORK).expect("work"));
}

fn start(folder: &Path, work: &str, step: &str) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["trust::crash::child", "--exact", "--nocapture"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::inherit()).env(FOLDER, folder).env(WORK, work).env(STEP, step);
    let mut child = command.spawn().expect("started");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    (child, output)
}

fn run(folder: &Path, work: &str, step: &str) -> ExitStatus {
    let (mut child, output) = start(folder, work, step);
    output.lines().for_each(drop);
    child.wait().expect("ended")
}

fn stands(folder: &Path, plugin: &str) -> String {
    word(&open(folder, 7, None).reload().of(&name(plugin)))
}

/// A13, for approvals: the process ends at each step of each write; what stands is the old or the new, nothing is in
/// trouble, and the next write goes through.
#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new() {
    let check = |work: &str, targets: &[Target], prepared: &[u64], before: &str, after: &str| {
        let mut seen = std::collections::BTreeSet::new();
        for target in targets {
            for phase in [Phase::Begun, Phase::Synced, Phase::Renamed] {
                let at = format!("{work}: {target:?} {phase:?}");
                let dir = tempfile::tempdir().expect("a folder");
                let trust = open(dir.path(), 7, None);
                for version in prepared {
                    approve(&trust, "alpha", *version).expect("approved");
                }
                approve(&trust, "beta", 1).expect("approved");
                let ended = run(dir.path(), &format!("{work} alpha"), &format!("{target:?} {phase:?}"));
                assert_eq!(ended.signal(), Some(9), "{at} is never reached");
                let found = stands(dir.path(), "alpha");
                assert!(found == before || found == after, "{at}: {found}");
                // The old one until the lock is in its place, the new one from then on.
                let expected = match (target, phase) {
                    (Target::Accepted, Phase::Renamed) | (Target::Lock, Phase::Renamed) => after,
                    (Target::Accepted, _) if work != "disable" => after,
                    _ => before,
                };
                assert_eq!(found, expected, "{at}");
                seen.insert(found);
                assert_eq!(stands(dir.path(), "beta"), "1", "{at}");
                assert!(trust.reload().trouble().is_none(), "{at}");
                assert!(trust.lock_changes().expect("reviewed").is_empty(), "{at}");
                approve(&trust, "gamma", 1).expect("the next write");
                assert_eq!(stands(dir.path(), "alpha"), expected, "{at}, after another write");
                approve(&trust, "alpha", 3).expect("the next write");
                assert_eq!(stands(dir.path(), "alpha"), "3", "{at}");
            }
        }
        assert_eq!(seen.len(), 2, "{work}: both outcomes are seen");
    };
    let all = [Target::Component, Target::Definition, Target::Journal, Target::Lock, Target::Accepted];
    check("approve", &all, &[1], "1", "2");
    check("approve", &all, &[], "unapproved", "2");
    check("remove", &[Target::Journal, Target::Lock, Target::Accepted], &[1], "1", "unapproved");
    check("disable", &[Target::Accepted], &[1], "1", "disabled 1");
}

/// Small, and different from run to run; printed when a round fails.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// kill -9 from outside, at no step in particular. `PORTCULLIS_KILL_ROUNDS=200` for the long run.
#[test]
fn a_process_killed_at_any_time_leaves_the_old_or_the_new() {
    let rounds = std::env::var("PORTCULLIS_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    for _ in 0..rounds {
        let dir = tempfile::tempdir().expect("a folder");
        let trust = open(dir.path(), 7, None);
        approve(&trust, "alpha", 1).expect("approved");
        let (mut child, output) = start(dir.path(), "endless alpha", "");
        // After a random step of one of the first writes, and then a moment that nobody chose.
        let steps = 1 + random() as usize % 60;
        // The pipe stays open: a child that could not print would end by itself, at a step.
        let mut lines = output.lines().map_while(Result::ok).filter(|line| line.starts_with("step"));
        let seen = lines.by_ref().take(steps).count();
        for _ in 0..random() % 2_000_000 {
            std::hint::spin_loop();
        }
        child.kill().expect("killed");
        let ended = child.wait().expect("ended");
        assert_eq!(ended.signal(), Some(9), "it ended before it was killed");
        drop(lines);
        let round = format!("after {seen} steps");
        let version: u64 =
            stands(dir.path(), "alpha").parse().unwrap_or_else(|_| panic!("{round}: {}", stands(dir.path(), "alpha")));
        assert!(trust.reload().trouble().is_none(), "{round}");
        let block = trust.reload().accepted(&name("alpha")).expect("accepted");
        let running = match trust.reload().of(&name("alpha")) {
            crate::Judgement::Approved(block) => block,
            other => panic!("{round}: {other:?}, accepted {block:?}"),
        };
        assert!(trust.components().get(running.sha256).is_ok(), "{round}: its bytes are kept");
        for tool in running.tools.values() {
            assert!(trust.components().definition(tool.sha256).is_ok(), "{round}: its definitions are kept");
        }
        approve(&trust, "alpha", version + 1).expect("the next write");
        approve(&trust, "beta", 1).expect("the next write");
    }
}

#[test]
fn of_two_processes_that_approve_at_once_both_approvals_stand() {
    let dir = tempfile::tempdir().expect("a folder");
    let children = ["alpha", "beta", "gamma"].map(|plugin| {
        let (child, mut output) = start(dir.path(), &format!("many {plugin}"), "");
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("a line"), 0, "it ended before it was ready");
        }
        (child, output)
    });
    let children = children.map(|(mut child, output)| {
        child.stdin.take().expect("its input").write_all(b"go\n").expect("told");
        (child, output)
    });
    // A reader meanwhile sees each plugin unapproved or approved, and never trouble.
    let trust = open(dir.path(), 7, None);
    for (mut child, output) in children {
        while child.try_wait().expect("its state").is_none() {
            let standing = trust.reload();
            assert!(standing.trouble().is_none(), "{:?}", standing.trouble());
        }
        assert!(child.wait().expect("ended").success());
        drop(output);
    }
    for plugin in ["alpha", "beta", "gamma"] {
        assert_eq!(stands(dir.path(), plugin), "40", "{plugin}");
    }
}
