//! The real binary behind its pipes, as the client that started it sees it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::binary::Folder;

/// Growth that THREATS.md allows over what is configured.
#[cfg(target_os = "linux")]
const MAX_GROWTH: u64 = 64 << 20;

/// A host behind its pipes.
pub(crate) struct Piped {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    asked: u64,
}

impl Piped {
    /// Starts it, and shakes hands.
    pub(crate) fn start(folder: &Folder) -> Self {
        let mut command = folder.command(&["serve", "--stdio"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a host");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut host = Self { child, stdin, stdout, asked: 0 };
        let client = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        let id = host.send("initialize", params);
        host.replies([id]);
        host.notify("notifications/initialized", &json!({}));
        host
    }

    pub(crate) fn notify(&mut self, method: &str, params: &Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        writeln!(self.stdin, "{message}").expect("a write");
    }

    pub(crate) fn send(&mut self, method: &str, params: Value) -> u64 {
        self.asked += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": params });
        writeln!(self.stdin, "{request}").expect("a write");
        self.asked
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.send("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Reads until each of `ids` has its reply; every line on the way must be the host's own.
    pub(crate) fn replies(&mut self, ids: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Value> {
        let mut open: Vec<u64> = ids.into_iter().collect();
        let mut replies = BTreeMap::new();
        while !open.is_empty() {
            let mut line = String::new();
            self.stdout.read_line(&mut line).expect("a line");
            let message: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            assert_eq!(message["jsonrpc"], "2.0", "{line}");
            assert_ne!(message["id"], 99_999, "a guest is heard: {line}");
            let Some(id) = message["id"].as_u64() else {
                assert!(
                    message["method"].as_str().is_some_and(|method| method.starts_with("notifications/")),
                    "{line}"
                );
                assert_ne!(message["method"], "notifications/forged", "a guest is heard");
                continue;
            };
            let at = open.iter().position(|open| *open == id).unwrap_or_else(|| panic!("nobody asked for {line}"));
            open.swap_remove(at);
            replies.insert(id, message);
        }
        replies
    }

    /// Resident memory in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("a process");
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * rustix::param::page_size() as u64
    }

    /// The memory is back at `before`, but for what THREATS.md allows.
    #[cfg(target_os = "linux")]
    pub(crate) fn check_memory(&mut self, before: u64) {
        // A call that is answered at its deadline leaves its sandbox a moment later.
        let began = Instant::now();
        while self.resident() > before + MAX_GROWTH {
            let after = self.resident();
            assert!(began.elapsed() < Duration::from_secs(20), "{} bytes are kept", after - before);
            let id = self.call("echo_echo", &json!({ "text": "on" }));
            self.replies([id]);
        }
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
