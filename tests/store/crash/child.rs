//! The child, and how it is started.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use portcullis_store::{
    Bucket, BucketName, Durability, EmbeddedOptions, Key, Limits, OpenError, Operation, SetOptions, Store, Writer,
};

const FOLDER: &str = "PORTCULLIS_TEST_FOLDER";
const WORK: &str = "PORTCULLIS_TEST_WORK";

pub(crate) fn options(folder: &Path) -> EmbeddedOptions {
    let path = folder.join("store.redb");
    EmbeddedOptions { path, durability: Durability::Always, clock: Arc::new(SystemTime::now), check: false }
}

pub(crate) fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::embedded(options(folder))
}

pub(crate) fn bucket() -> Bucket {
    let limits = Limits { max_entries: 1 << 30, max_bytes: 1 << 40, ..Limits::default() };
    Bucket { name: BucketName::new("b").expect("a name"), limits }
}

pub(crate) fn key(key: impl Into<String>) -> Key {
    Key::new(key).expect("a key")
}

pub(crate) fn writer() -> Writer {
    Writer { principal: "p".into(), plugin: "q".into(), digest: "d".into() }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) fn set(at: impl Into<String>, value: impl Into<Vec<u8>>) -> Operation {
    Operation::Set { key: key(at), value: value.into(), options: SetOptions::default() }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let work = std::env::var(WORK).expect("work");
    let folder = Path::new(&folder);
    match work.split_once(' ').unwrap_or((&work, "")) {
        ("write", from) => super::killed::write(folder, from.parse().expect("a number")),
        ("own", _) => {
            let store = open(folder).expect("opened");
            println!("ready");
            std::io::stdin().read_line(&mut String::new()).expect("the word to end");
            drop(store);
        }
        ("fill", _) => super::full::fill(folder),
        ("trickle", _) => super::full::trickle(folder),
        _ => panic!("{work}"),
    }
}

/// Starts the child. `SIGXFSZ` is ignored in it, so that a limit on the size of files is an error and not its end.
pub(crate) fn start(folder: &Path, work: &str) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(std::env::current_exe().expect("this program"));
    command.args(["child::child", "--exact", "--nocapture"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::inherit()).env(FOLDER, folder).env(WORK, work);
    let mut child = command.spawn().expect("started");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    (child, output)
}

/// Reads until the child says `word`.
pub(crate) fn wait_for(output: &mut BufReader<ChildStdout>, word: &str) {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(output.read_line(&mut line).expect("a line"), 0, "it ended before it said {word}");
    }
}
