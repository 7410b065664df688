//! A full disk, by a limit on the size of files: writes are refused with the reason, reads go on, and with space writes are
//! back.

use std::path::Path;

use portcullis_store::{Key, StoreError, Version};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::child::{bucket, key, open, runtime, set, soon, start, writer};

fn limit(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).expect("limited");
}

/// In the child, whose limits are its own.
pub(crate) fn fill(folder: &Path) {
    let store = open(folder).expect("opened");
    let file = folder.join("store.redb");
    let value = |at: u32| vec![at as u8; 1_000_000];
    runtime().block_on(async {
        let put = async |at: u32| {
            let operations = vec![set(format!("{at:06}"), value(at))];
            store
                .transact(&bucket(), operations, &writer(), soon())
                .await
                .map(|versions| versions[0].expect("a version"))
        };
        let whole = async |count: u32| {
            let (mut after, mut found): (Option<Key>, u32) = (None, 0);
            loop {
                let page = store.list(&bucket(), "", after.as_ref(), 1000, soon()).await.expect("reads go on");
                for entry in page.entries {
                    assert_eq!((entry.key.as_str(), entry.value), (format!("{found:06}").as_str(), value(found)));
                    found += 1;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, count);
        };
        let mut count = 0;
        for round in 0..3 {
            // More than the memory for pages holds, so that reads come from the file.
            while count < 80 + round * 10 {
                assert_eq!(put(count).await, Ok(Version(u64::from(count) + 1)));
                count += 1;
            }
            limit(Some(std::fs::metadata(&file).expect("its length").len()));
            let refused = loop {
                match put(count).await {
                    Ok(version) => assert_eq!(version, Version(u64::from(count) + 1)),
                    Err(refused) => break refused,
                }
                count += 1;
            };
            for _ in 0..5 {
                let again = put(count).await;
                let reason = match &again {
                    Err(StoreError::Unavailable(reason)) => reason,
                    other => panic!("{other:?} after {refused:?}"),
                };
                assert!(reason.contains("File too large"), "{reason}");
                assert_eq!(store.get(&bucket(), &key(format!("{count:06}")), soon()).await, Ok(None));
            }
            whole(count).await;
            limit(None);
            assert_eq!(put(count).await, Ok(Version(u64::from(count) + 1)), "space is back");
            count += 1;
            whole(count).await;
        }
        println!("count {count}");
    });
}

/// In the child: small writes, which are in the log before they are in redb's part.
pub(crate) fn trickle(folder: &Path) {
    let store = open(folder).expect("opened");
    let file = folder.join("store.redb");
    runtime().block_on(async {
        let put = async |at: u64| {
            let operations = vec![set(format!("{at:06}"), format!("{at}").repeat(100))];
            store.transact(&bucket(), operations, &writer(), soon()).await.map(|_| ())
        };
        let mut count = 0;
        for _ in 0..3 {
            for _ in 0..200 {
                put(count).await.expect("written");
                count += 1;
            }
            limit(Some(std::fs::metadata(&file).expect("its length").len()));
            let refused = loop {
                match put(count).await {
                    Ok(()) => count += 1,
                    Err(refused) => break refused,
                }
            };
            let full = |error: &StoreError| match error {
                StoreError::Unavailable(reason) | StoreError::UnknownOutcome(reason) => {
                    reason.contains("File too large")
                }
                _ => false,
            };
            assert!(full(&refused), "{refused:?}");
            // It was in the log when there was no room for more.
            if store.get(&bucket(), &key(format!("{count:06}")), soon()).await.expect("read").is_some() {
                assert!(matches!(refused, StoreError::UnknownOutcome(_)), "{refused:?}");
                count += 1;
            }
            // Room for a few more may be found.
            let mut again = 0;
            while again < 5 {
                match put(count).await {
                    Ok(()) => count += 1,
                    Err(error) => {
                        assert!(matches!(error, StoreError::Unavailable(_)) && full(&error), "{error:?}");
                        again += 1;
                    }
                }
            }
            for at in 0..count {
                let found = store.get(&bucket(), &key(format!("{at:06}")), soon()).await.expect("reads go on");
                assert_eq!(found.map(|entry| entry.value), Some(format!("{at}").repeat(100).into_bytes()), "{at}");
            }
            limit(None);
            assert_eq!(put(count).await, Ok(()), "space is back");
            count += 1;
        }
        // Not even what stands may be written over.
        assert_eq!(store.health(soon()).await, Ok(()));
        limit(Some(4096));
        assert!(put(count).await.is_err());
        for _ in 0..2 {
            let health = store.health(soon()).await;
            assert!(
                matches!(&health, Err(StoreError::Unavailable(reason)) if reason.contains("too large")),
                "{health:?}"
            );
        }
        limit(None);
        assert_eq!(store.health(soon()).await, Ok(()), "it asks for a write, and is told of it");
        println!("count {count}");
    });
    // As a crash would leave it.
    std::process::exit(0);
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    refuses("fill");
}

#[test]
fn a_full_disk_refuses_what_the_log_has_no_room_for() {
    refuses("trickle");
}

fn refuses(work: &str) {
    use std::io::BufRead;
    let dir = tempfile::tempdir().expect("a folder");
    let (mut child, output) = start(dir.path(), work);
    let lines: Vec<String> = output.lines().map_while(Result::ok).collect();
    let count = lines.iter().find_map(|line| line.strip_prefix("count "));
    assert!(child.wait().expect("ended").success());
    let count: u64 = count.expect("a count").parse().expect("a number");
    let store = open(dir.path()).expect("opened");
    let usage = runtime().block_on(store.usage(&bucket(), soon())).expect("usage");
    assert_eq!(usage.entries, count);
}
