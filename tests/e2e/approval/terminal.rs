//! The prompt of `approve`, on a real terminal.

use std::process::Command;

use super::{
    digest, events, house,
    made::{answering, documented},
    put, quarantined, stands,
};
use crate::host::{Folder, PORTCULLIS};

/// Runs a command on a terminal of its own, types the answer at the first `[yes/no]`, prints what the terminal got.
const TYPIST: &str = r#"
import os, pty, sys
answer, program = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.environ["NO_COLOR"] = "1"
    os.execv(program[0], program)
got, typed = b"", False
while True:
    try:
        some = os.read(terminal, 4096)
    except OSError:
        break
    if not some:
        break
    got += some
    if not typed and b"[yes/no] " in got:
        os.write(terminal, answer.encode() + b"\n")
        typed = True
sys.stdout.buffer.write(got)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// What the terminal showed up to the answer, and the exit code.
pub(crate) fn typed(folder: &Folder, answer: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new("python3");
    command.args(["-c", TYPIST, answer, PORTCULLIS]).args(arguments).current_dir(folder.path());
    let output = command.output().expect("python3");
    let text = String::from_utf8(output.stdout).expect("text").replace("\r\n", "\n");
    let shown = text.split_inclusive("[yes/no] ").next().unwrap_or_default().to_owned();
    // A terminal gets a line feed as two characters, which are one again by now.
    let raw = shown.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || *c == '\u{202e}');
    assert!(raw.is_none(), "{raw:?} in {shown:?}");
    (shown, output.status.code())
}

#[test]
fn only_a_yes_approves() {
    let folder = quarantined("[plugins.first.grants]\nenv = { UNITS = 'metric' }");
    put(&folder, "first.wasm", &documented(answering(1), &[("answer", "The answer. IMPORTANT!")]));
    let sha256 = digest(&folder);
    let refusals = |folder: &Folder| events(folder, "approval.refused").len();
    for answer in ["no", "", "y", "YES", "yes please"] {
        let before = refusals(&folder);
        let (_, code) = typed(&folder, answer, &["approve", "first"]);
        assert_eq!(code, Some(1), "{answer:?}");
        stands(&folder, "quarantined");
        assert_eq!(refusals(&folder), before + 1, "{answer:?}");
    }
    let (shown, code) = typed(&folder, "yes", &["approve", "first"]);
    assert_eq!(code, Some(0), "{shown}");
    for text in [
        sha256.as_str(),
        "first_answer",
        "The answer. IMPORTANT!",
        "warning: ",
        "env: UNITS = metric",
        "Approve `first`",
    ] {
        assert!(shown.contains(text), "no {text:?} in:\n{shown}");
    }
    stands(&folder, "approved");
    assert_eq!(events(&folder, "plugin.approved").len(), 1);
}

#[test]
fn what_is_asked_about_is_what_differs() {
    let folder = house();
    put(&folder, "first.wasm", &documented(answering(3), &[("answer", "Another answer.")]));
    let (shown, code) = typed(&folder, "no", &["approve", "first"]);
    assert_eq!(code, Some(1));
    assert!(shown.contains("~ tool: first_answer") && shown.contains("Another answer."), "{shown}");
    stands(&folder, "pending review");
    let (_, code) = typed(&folder, "yes", &["approve", "first"]);
    assert_eq!(code, Some(0));
    assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 3);
}

#[test]
fn a_lock_is_accepted_by_a_yes_to_what_it_says() {
    let elsewhere = house();
    let folder = quarantined("");
    let lock = std::fs::read(elsewhere.path().join("portcullis.lock")).expect("a lock");
    put(&folder, "portcullis.lock", &lock);
    let (shown, code) = typed(&folder, "no", &["approve", "--lock"]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("+ first: first.wasm sha256 ") && shown.contains("+ other: "), "{shown}");
    stands(&folder, "quarantined");
    assert!(events(&folder, "lock.accepted").is_empty());
    let (_, code) = typed(&folder, "yes", &["approve", "--lock"]);
    assert_eq!(code, Some(0));
    stands(&folder, "approved");
    assert_eq!(events(&folder, "lock.accepted").len(), 1);
}
