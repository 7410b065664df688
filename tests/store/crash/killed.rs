//! A13: kill -9 in a load of writes. What was acknowledged is there, whole, and in order.
//!
//!     PORTCULLIS_KILL_ROUNDS=200 cargo test -p portcullis-store --test crash killed

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io::{BufRead, Write as _},
    os::unix::process::ExitStatusExt,
    path::Path,
    sync::Arc,
};

use portcullis_store::Version;

use super::child::{bucket, key, open, runtime, set, soon, start, writer};

const TASKS: u64 = 8;

/// Writes until it is killed: each task a new entry of its own, one that it overwrites, and one that all overwrite. Says
/// what was acknowledged.
pub(crate) fn write(folder: &Path, from: u64) {
    let store = Arc::new(open(folder).expect("opened"));
    runtime().block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for count in from.. {
                        let value = format!("{count}");
                        let new =
                            set(format!("new-{task}-{count:08}"), value.clone().repeat(1 + (count % 700) as usize));
                        let operations = vec![new, set(format!("own-{task}"), value.clone()), set("all", value)];
                        let versions = store.transact(&bucket(), operations, &writer(), soon()).await.expect("written");
                        let line = format!("ack {task} {count} {}\n", versions[0].expect("a version"));
                        // In one piece: half a line is no acknowledgement.
                        std::io::stdout().write_all(line.as_bytes()).expect("said");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("never");
        }
    });
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

#[test]
fn what_was_acknowledged_before_kill_9_is_there() {
    let rounds = std::env::var("PORTCULLIS_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let (mut acks, mut from): (BTreeMap<(u64, u64), u64>, _) = (BTreeMap::new(), 0);
    for round in 0..rounds {
        let (mut child, output) = start(dir.path(), &format!("write {from}"));
        let mut lines = output.lines().map_while(Result::ok).filter(|line| line.starts_with("ack"));
        let mut seen: Vec<String> = lines.by_ref().take(1 + random(400) as usize).collect();
        for _ in 0..random(2_000_000) {
            std::hint::spin_loop();
        }
        child.kill().expect("killed");
        assert_eq!(child.wait().expect("ended").signal(), Some(9), "it ended before it was killed");
        // What it still said.
        seen.extend(lines);
        for line in seen {
            let numbers: Vec<u64> = line.split(' ').skip(1).map(|number| number.parse().expect("a number")).collect();
            acks.insert((numbers[0], numbers[1]), numbers[2]);
            from = from.max(numbers[1] + 100);
        }
        let store = open(dir.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        runtime.block_on(async {
            for ((task, count), version) in &acks {
                let at = key(format!("new-{task}-{count:08}"));
                let entry = store.get(&bucket(), &at, soon()).await.expect("read");
                let entry = entry.unwrap_or_else(|| panic!("round {round}: {at} was acknowledged and is gone"));
                assert_eq!(entry.version, Version(*version), "round {round}: {at}");
                assert_eq!(entry.value, format!("{count}").repeat(1 + (count % 700) as usize).into_bytes());
            }
            // Each transact whole: as many entries of a task as its own says, and the version of all the last one.
            let mut latest = Version(0);
            for task in 0..TASKS {
                let Some(own) = store.get(&bucket(), &key(format!("own-{task}")), soon()).await.expect("read") else {
                    continue;
                };
                let count = String::from_utf8(own.value).expect("text").parse::<u64>().expect("a number");
                let new = store.get(&bucket(), &key(format!("new-{task}-{count:08}")), soon()).await.expect("read");
                let new = new.unwrap_or_else(|| panic!("round {round}: a half of a transact"));
                assert_eq!(new.version.0 + 1, own.version.0, "round {round}");
                latest = latest.max(own.version);
                if let Some((_, version)) = acks.range((task, 0)..(task + 1, 0)).next_back() {
                    assert!(new.version.0 >= *version, "round {round}: an older one than was acknowledged");
                }
            }
            let all = store.get(&bucket(), &key("all"), soon()).await.expect("read").expect("written");
            assert_eq!(all.version.0, latest.0 + 1, "round {round}");
            let written = store.transact(&bucket(), vec![set("after", "v")], &writer(), soon()).await.expect("written");
            assert_eq!(written, [Some(Version(all.version.0 + 1))], "round {round}: the next");
        });
    }
    eprintln!("{rounds} rounds, {} acknowledged", acks.len());
}
