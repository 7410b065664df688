//! S30: native code in the cache that this host did not make is refused and made again, and the call works.

use std::{fs, path::Path};

use portcullis_artifacts as guests;

use crate::house::{House, built, patient};

/// Puts `bytes` where a file of the cache is, as somebody with access to the folder would.
fn replace(file: &Path, bytes: &[u8]) {
    let beside = file.with_extension("forged");
    fs::write(&beside, bytes).expect("a file");
    fs::rename(&beside, file).expect("a rename");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_native_code_is_made_again() {
    // Another host's code of the same component: right in all but the key of its MAC.
    let other = House::open(1, Vec::new()).await;
    let foreign = fs::read(&other.native_files()[0]).expect("native code");
    // Another component's code of this host: right in all but its name.
    let mut house = House::open(1, vec![built("many", guests::MANY, patient())]).await;
    let mut files = house.native_files();
    files.sort_by_key(|path| fs::metadata(path).expect("a file").len());
    let [echo, many] = files.as_slice() else { panic!("two files, not {files:?}") };
    let (good, misplaced) = (fs::read(echo).expect("native code"), fs::read(many).expect("native code"));

    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let forgeries: [(&str, Vec<u8>); 9] = [
        ("a bit flipped at the start", flipped(0)),
        ("a bit flipped in the code", flipped(good.len() / 2)),
        ("a bit flipped in the MAC", flipped(good.len() - 1)),
        ("cut off by a byte", good[..good.len() - 1].to_vec()),
        ("cut off in the middle", good[..good.len() / 2].to_vec()),
        ("without its MAC", good[..good.len() - 32].to_vec()),
        ("empty", Vec::new()),
        ("made by another host", foreign),
        ("made of another component", misplaced),
    ];
    for (what, forged) in forgeries {
        replace(echo, &forged);
        house = house.reopen(1).await;
        assert_eq!(house.status("echo").0, "approved", "{what}");
        house.alive().await;
        let made = fs::read(echo).expect("native code");
        assert!(made != forged, "{what}: it is still there");
        assert!(made == good, "{what}: what was made again is not what it was");
    }
}

/// A link at the place of a file is not followed, wherever it leads.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_cache_is_replaced() {
    let house = House::open(1, Vec::new()).await;
    let file = house.native_files().pop().expect("native code");
    let elsewhere = file.with_extension("elsewhere");
    fs::rename(&file, &elsewhere).expect("a rename");
    std::os::unix::fs::symlink(&elsewhere, &file).expect("a link");
    let house = house.reopen(1).await;
    house.alive().await;
    assert!(fs::symlink_metadata(&file).expect("a file").is_file(), "the link is gone");
    assert!(elsewhere.exists(), "and where it led is untouched");
}
