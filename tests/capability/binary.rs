//! The real binary in a folder with a configuration: what an operator sees of what is hostile or wrong.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::house::PORTCULLIS;

/// A folder with a configuration.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// An empty folder with this text as its configuration.
    pub(crate) fn new(config: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("portcullis.toml", config);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).expect("a file");
    }

    /// The binary, in the folder; standard input is closed.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PORTCULLIS);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("a run")
    }

    /// Approves every plugin that waits for its first approval, and can have it.
    pub(crate) fn approve_all(&self) {
        let (_, list) = self.json(&["list", "--json"]);
        for plugin in list.as_array().into_iter().flatten().filter(|plugin| plugin["state"] == "quarantined") {
            let (name, digest) = (plugin["name"].as_str().expect("a name"), plugin["digest"].as_str());
            self.run(&["approve", name, "--sha256", digest.expect("a digest")]);
        }
    }

    /// Runs a command that prints data, and returns its exit code and the data.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(arguments);
        let data = serde_json::from_slice(&output.stdout);
        (output.status.code(), data.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}")))
    }
}
