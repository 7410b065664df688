//! A host process in a folder of its own, and its end.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use portcullis_artifacts as guests;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");
/// How long anything may take that takes a second: machines differ by much more than ten times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a configuration.
pub(crate) struct Folder {
    dir: TempDir,
}

/// The guests that most tests use: `echo`, `outcomes` and `progress`.
pub(crate) fn usual() -> Folder {
    Folder::new(&plugins(&usual_plugins()))
}

/// The same, by name.
pub(crate) fn usual_plugins() -> [(&'static str, &'static str); 3] {
    [("echo", guests::ECHO), ("outcomes", guests::OUTCOMES), ("progress", guests::PROGRESS)]
}

/// Waits until something holds that takes a moment: what a running host has to notice.
pub(crate) fn eventually(holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it never came to hold");
        std::thread::yield_now();
    }
}

/// Configuration text for some plugins.
pub(crate) fn plugins(plugins: &[(&str, &str)]) -> String {
    plugins.iter().map(|(name, source)| format!("[plugins.{name}]\nsource = {source:?}\n")).collect()
}

impl Folder {
    /// A folder with this configuration, in which everything that can be is approved; the server takes a free port.
    pub(crate) fn new(config: &str) -> Self {
        let folder = Self::unapproved(config);
        folder.approve_all();
        folder
    }

    /// Approves what waits for its first approval.
    pub(crate) fn approve_all(&self) {
        // It fails where something is broken, and prints the list all the same.
        let listed = self.run(&["list", "--json"]);
        let plugins: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        for plugin in plugins.as_array().into_iter().flatten().filter(|plugin| plugin["state"] == "quarantined") {
            let (name, digest) = (plugin["name"].as_str().expect("a name"), plugin["digest"].as_str());
            let approved = self.run(&["approve", name, "--sha256", digest.expect("a digest")]);
            // What cannot be approved stays as it is.
            drop(approved);
        }
    }

    /// A folder with this configuration, in which nobody has approved anything; the server takes a free port.
    pub(crate) fn unapproved(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = format!("{config}\n[server]\nhttp = \"127.0.0.1:0\"\n");
        fs::write(dir.path().join("portcullis.toml"), config).expect("a configuration");
        Self { dir }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The command, in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PORTCULLIS);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("a run")
    }

    /// Runs a command that must succeed, and reads what it printed as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Starts `serve` over HTTP and waits until it listens.
    pub(crate) fn serve(&self) -> Served {
        Served::start(self.command(&["serve"]), "serving at ")
    }

    /// Starts `serve --stdio`.
    pub(crate) fn stdio(&self) -> Piped {
        Self::piped(self.command(&["serve", "--stdio"]))
    }

    /// Starts `serve --stdio` for an agent.
    pub(crate) fn stdio_as(&self, agent: &str) -> Piped {
        Self::piped(self.command(&["serve", "--stdio", "--agent", agent]))
    }

    /// Starts a command behind two pipes.
    pub(crate) fn piped(mut command: Command) -> Piped {
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a host");
        Piped::new(child)
    }

    /// The audit log, line by line. Read beside a write it may end in the middle of a line, which is not there yet.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join(".portcullis/audit.jsonl")).expect("an audit log");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// A host that listens. Ends with the test.
pub(crate) struct Served {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    lines: mpsc::Receiver<String>,
}

impl Served {
    /// Starts `command`, which tells its address on standard error after `mark`.
    #[expect(clippy::zombie_processes, reason = "where it panics, the test process ends, and the host with its pipes")]
    pub(crate) fn start(mut command: Command, mark: &str) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a host");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens any more once the test is over.
                _ = told.send(line);
            }
        });
        let mut seen = Vec::new();
        loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else { panic!("the host did not listen: {seen:#?}") };
            if line.contains(mark)
                && let Some((_, rest)) = line.split_once("://")
            {
                let address = rest.split('/').next().unwrap_or_default().to_owned();
                return Self { child, address, lines };
            }
            seen.push(line);
        }
    }

    /// The endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn logged(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { panic!("no line with {text:?}: {seen:#?}") };
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
    }

    /// Of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Bytes that it has read, from files and elsewhere.
    #[cfg(target_os = "linux")]
    pub(crate) fn bytes_read(&self) -> u64 {
        let counters = fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("a process");
        let line = counters.lines().find_map(|line| line.strip_prefix("rchar:")).expect("a counter");
        line.trim().parse().expect("a number")
    }

    /// Asks it to end, and waits; all that it logged since it was last looked at.
    pub(crate) fn end(mut self) -> Vec<String> {
        interrupt(&self.child);
        self.child.wait().expect("an end");
        self.lines.iter().collect()
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) -> std::process::ExitStatus {
        interrupt(&self.child);
        self.child.wait().expect("an end")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Sends the signal that a terminal sends for Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
}

/// A host behind two pipes.
pub(crate) struct Piped {
    child: Child,
    stdin: Option<ChildStdin>,
    replies: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
}

impl Piped {
    fn new(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (complain, errors) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                _ = complain.send(line);
            }
        });
        let (told, replies) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                _ = told.send(line);
            }
        });
        Self { stdin: child.stdin.take(), child, replies, errors }
    }

    /// Of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("an end");
    }

    /// Closes the host's input, and leaves it to itself.
    pub(crate) fn leave(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end; what it wrote to standard error meanwhile.
    pub(crate) fn end(&mut self) -> (std::process::ExitStatus, String) {
        let status = self.child.wait().expect("an end");
        (status, self.errors.iter().collect::<Vec<_>>().join("\n"))
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a state").is_none()
    }

    /// Waits for a notification.
    pub(crate) fn notified(&self, method: &str) {
        loop {
            let message: Value = serde_json::from_str(&self.line()).expect("a message");
            if message["method"] == method {
                return;
            }
        }
    }

    /// Writes a line, whatever it is.
    pub(crate) fn write(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(line).and_then(|()| stdin.write_all(b"\n")).and_then(|()| stdin.flush()).expect("a write");
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &Value) {
        self.write(message.to_string().as_bytes());
    }

    /// The next line that the host writes.
    pub(crate) fn line(&self) -> String {
        self.replies.recv_timeout(PATIENCE).expect("a line")
    }

    /// The reply to request `id`; what comes before is left out.
    pub(crate) fn reply(&self, id: u64) -> Value {
        loop {
            let message: Value = serde_json::from_str(&self.line()).expect("a message");
            if message["id"] == id {
                return message;
            }
        }
    }

    /// Sends a request and waits for its reply.
    pub(crate) fn request(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        self.reply(id)
    }

    /// Goes through the handshake of the older era.
    pub(crate) fn initialize(&mut self) -> Value {
        let client = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        let reply = self.request(0, "initialize", params);
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        reply
    }

    /// Closes the host's input and waits for its end; what it still writes is returned.
    pub(crate) fn close(mut self) -> (std::process::ExitStatus, Vec<String>) {
        self.stdin = None;
        let status = self.child.wait().expect("an end");
        (status, self.replies.iter().collect())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What a command printed for people.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Reads a stream to its end, as text.
pub(crate) fn text(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).expect("text");
    text
}
