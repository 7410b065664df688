//! F1 to F12, S20, S22: what a guest does with the directories that it is granted, and what it cannot do.

mod denied;
mod escape;
mod granted;
mod limits;
mod places;
mod quota;

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_artifacts as guests;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::{Guest, House, built, patient};

/// What stands outside of every granted directory, and must never be read.
const SECRET: &str = "the secret outside";

/// A folder outside of the host's own, with a directory to grant and a secret beside it.
pub(crate) struct Ground {
    dir: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("data")).expect("a folder");
        fs::write(dir.path().join("secret"), SECRET).expect("a file");
        Self { dir }
    }

    /// The folder that holds the granted one, without a link in its path.
    pub(crate) fn outside(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("a path")
    }

    /// The granted one.
    pub(crate) fn data(&self) -> PathBuf {
        self.outside().join("data")
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        fs::write(self.data().join(name), text).expect("a file");
    }

    /// The grant, as the configuration would say it.
    pub(crate) fn grant(&self, more: &str) -> String {
        format!("files = [{{ host = {:?}, guest = \"/data\"{more} }}]", self.data())
    }
}

/// The three grants that most tests are about.
const READ: &str = "";
const WRITE: &str = ", access = \"read-write\"";

/// The guest that uses the standard library, as `f`, and the one that does not, as `raw`, both with this grant.
fn both(grant: &str) -> Vec<Guest> {
    vec![built("f", guests::FILES, patient()).granted(grant), built("raw", guests::FILES_RAW, patient()).granted(grant)]
}

/// A call, what it answers, and what the ledger has of it: the guest's path and the reason.
type Case<'a> = (&'a str, Value, Value, Option<(&'a str, &'a str)>);

/// The one check: the call answers so, the ledger has this refusal or none, and a benign call is answered.
async fn check(house: &House, cases: &[Case<'_>]) {
    for (tool, arguments, expected, denied) in cases {
        let before = refusals(house).len();
        let answer = house.answer(tool, arguments.clone()).await;
        assert_eq!(&answer, expected, "{tool} {arguments}");
        assert!(!answer.to_string().contains("/tmp"), "{tool} {arguments}: a path of the host in {answer}");
        let noted = refusals(house).split_off(before);
        let told = noted.first().map(|(target, reason)| (target.as_str(), reason.as_str()));
        assert_eq!(told, *denied, "{tool} {arguments}");
        house.alive().await;
    }
}

/// All refusals that the ledger has: target and reason.
fn refusals(house: &House) -> Vec<(String, String)> {
    let lines = house.audit();
    let of = lines.iter().filter(|line| line["event"] == "capability.denied" && line["capability"] == "files");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    of.map(|line| (text(&line["target"]), text(&line["reason"]))).collect()
}

/// Lengths of all regular files beneath `dir`, together.
fn bytes(dir: &Path) -> u64 {
    let of = |entry: fs::DirEntry| {
        let Ok(meta) = entry.path().symlink_metadata() else { return 0 };
        if meta.is_dir() { bytes(&entry.path()) } else { meta.len() }
    };
    fs::read_dir(dir).map_or(0, |entries| entries.filter_map(Result::ok).map(of).sum())
}

fn path(path: &str) -> Value {
    json!({ "path": path })
}

fn err(text: &str) -> Value {
    json!({ "err": text })
}

const NOT_PERMITTED: &str = "not-permitted";
const READ_ONLY: &str = "granted to read";
const OUT: &str = "it leads out of what is granted, or the operating system forbids it";
