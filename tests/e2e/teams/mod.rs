//! The two teams of `plugins/portcullis.toml`, whose members are processes with the official Python client.

mod research;
mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use portcullis_artifacts::PLUGINS;
use serde_json::Value;

use crate::{
    agents::key,
    host::{Folder, Served},
    tools::tests,
};

/// A folder with the bundled configuration and the plugins that are built here, all of it approved.
///
/// Of the file only where the host listens is put in, and what `more` says.
fn bundled(more: &str) -> Folder {
    let config = fs::read_to_string(tests().join("../plugins/portcullis.toml")).expect("the configuration");
    let port = "http = \"127.0.0.1:8080\"";
    assert!(config.contains(port), "where it listens");
    // The two that need another toolchain are in no team.
    let (before, others) = config.split_once("# Two plugins that reach beyond").expect("the other plugins");
    let (_, routes) = others.split_once("# The same tools without").expect("the routes");
    let config = format!("{before}# The same tools without{routes}").replace(port, "http = \"127.0.0.1:0\"");
    let folder = Folder::unapproved("");
    fs::write(folder.path().join("portcullis.toml"), format!("{config}\n{more}")).expect("a configuration");
    for (name, built) in PLUGINS {
        let dist = folder.path().join(name).join("dist");
        fs::create_dir_all(&dist).expect("a folder");
        fs::copy(built, dist.join(format!("{name}.wasm"))).expect("a component");
    }
    folder.approve_all();
    folder
}

/// A host, with the folder in which it runs.
struct Place {
    folder: Folder,
    host: Served,
}

impl Place {
    fn new(more: &str) -> Self {
        let folder = bundled(more);
        let host = folder.serve();
        Self { folder, host }
    }

    /// What a member is told of this host: its address and a key.
    fn at(&self, name: &str) -> [String; 3] {
        ["--at".into(), self.host.url(), key(&self.folder, name).0]
    }
}

/// A member of a team: a process of its own. Ends with the test.
struct Member {
    child: Child,
    name: String,
    lines: mpsc::Receiver<Value>,
}

impl Member {
    /// Starts one. None where the client is not installed, as `tools::script` says it.
    fn start(team: &str, name: &str, duty: &str, at: &[[String; 3]], count: usize) -> Self {
        let mut command = Command::new(tests().join("clients/run"));
        command.args([team, name, "--duty", duty, "--count", &count.to_string()]).args(at.concat());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a member");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody listens any more once the test is over.
                _ = told.send(serde_json::from_str(&line).expect("a line of JSON"));
            }
        });
        Self { child, name: name.into(), lines }
    }

    /// Waits until it tells that it did this.
    fn told(&self, deed: &str, within: Duration) -> Value {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{} never {deed}", self.name));
            if line["did"] == deed {
                return line;
            }
        }
    }

    /// Waits for its end, which must be a good one; all that it told since it was last looked at.
    fn end(mut self) -> Vec<Value> {
        let lines: Vec<Value> = self.lines.iter().collect();
        let status = self.child.wait().expect("an end");
        assert!(status.success(), "{} ended with {status}: {lines:#?}", self.name);
        lines
    }

    /// Ends it as a crash does.
    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("an end");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Whether the members can run here; says so where not.
fn can_run() -> bool {
    let tried = crate::tools::script("clients/run", &["research", "--help"]);
    tried.map(|output| crate::tools::succeeded(&output)).is_some()
}
