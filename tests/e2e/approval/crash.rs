//! `approve` beside another one, and `approve` that is killed.

use std::{
    fs,
    process::Stdio,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{answering, called, house, made::with_section, put, rounds, stands, status};
use crate::host::{Folder, stderr};

use portcullis_policy::Digest;

/// Bytes that were in no round before, whose tool answers this.
fn next(value: u8, round: u32) -> Vec<u8> {
    with_section(answering(value), "round", &round.to_le_bytes())
}

#[test]
fn two_processes_approve_two_plugins_at_once() {
    let folder = house();
    for round in 0..rounds("PORTCULLIS_RACE_ROUNDS") {
        let approving: Vec<_> = [("first", 3), ("other", 4)]
            .map(|(plugin, value)| {
                let bytes = next(value, round);
                put(&folder, &format!("{plugin}.wasm"), &bytes);
                (plugin, Digest::of(&bytes).to_string())
            })
            .into_iter()
            .map(|(plugin, digest)| {
                let mut command = folder.command(&["approve", plugin, "--sha256", &digest]);
                let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process");
                (plugin, digest, child)
            })
            .collect();
        let mut approved = Vec::new();
        for (plugin, digest, child) in approving {
            let output = child.wait_with_output().expect("an end");
            assert!(output.status.success(), "round {round}: {plugin}: {}", stderr(&output));
            approved.push((plugin, digest));
        }
        for (plugin, digest) in approved {
            let status = status(&folder, plugin);
            assert_eq!((&status["state"], &status["served"]), (&"approved".into(), &digest.into()), "round {round}");
        }
    }
    let host = folder.serve();
    assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (3.into(), 4.into()));
}

/// When `approve` is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// After this long.
    After(Duration),
    /// This long after its first trace in the state directory.
    IntoTheWrites(Duration),
}

/// Starts an approval and kills it.
fn killed(folder: &Folder, digest: &str, moment: Moment) {
    let mut command = folder.command(&["approve", "first", "--sha256", digest]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process");
    let began = Instant::now();
    // Nobody sends: this only waits.
    let (_never, waited) = mpsc::channel::<()>();
    let wait = |time| _ = waited.recv_timeout(time);
    match moment {
        Moment::After(time) => wait(time),
        Moment::IntoTheWrites(time) => {
            let component = super::kept(folder, &format!("components/{digest}.wasm"));
            while !component.exists() && began.elapsed() < Duration::from_secs(30) {
                wait(Duration::from_micros(50));
            }
            wait(time);
        }
    }
    // It may have ended by itself. On Unix this is `kill -9`.
    _ = child.kill();
    _ = child.wait();
}

#[test]
fn approve_that_is_killed_leaves_the_old_lock_or_the_new_one() {
    let folder = house();
    let rounds = rounds("PORTCULLIS_KILL_ROUNDS");
    let began = Instant::now();
    let bytes = next(3, u32::MAX);
    let mut old = Digest::of(&bytes).to_string();
    put(&folder, "first.wasm", &bytes);
    super::approve(&folder);
    let whole = began.elapsed();
    let (mut olds, mut news) = (0, 0);
    for round in 0..rounds {
        let bytes = next(3, round);
        let new = Digest::of(&bytes).to_string();
        put(&folder, "first.wasm", &bytes);
        // Spread by a number that shares nothing with the rounds.
        let part = f64::from(round.wrapping_mul(7919) % 1000) / 1000.0;
        let moment = match round % 2 {
            0 => Moment::IntoTheWrites(Duration::from_millis(20).mul_f64(part)),
            _ => Moment::After(whole.mul_f64(part)),
        };
        killed(&folder, &new, moment);
        let lock = fs::read_to_string(folder.path().join("portcullis.lock")).expect("a lock");
        let (has_old, has_new) = (lock.contains(&old), lock.contains(&new));
        assert!(has_old != has_new, "round {round}: neither the old lock nor the new one:\n{lock}");
        let served = if has_new { &new } else { &old };
        let status = stands(&folder, if has_new { "approved" } else { "pending review" });
        assert_eq!(status["served"], served.as_str(), "round {round}");
        assert_eq!(super::status(&folder, "other")["state"], "approved", "round {round}");
        if has_new {
            news += 1;
            old = new;
        } else {
            olds += 1;
        }
    }
    eprintln!("{olds} rounds left the old lock, {news} the new one");
    let host = folder.serve();
    assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (3.into(), 2.into()));
    drop(host);
    // The next approval finds nothing in its way.
    put(&folder, "first.wasm", &answering(5));
    super::approve(&folder);
    assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 5);
    let left = fs::read_dir(super::kept(&folder, "components")).expect("the store").count();
    assert!(left <= 6, "{left} components are left in the store");
}
