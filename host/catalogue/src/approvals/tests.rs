//! What is recorded before and after an operator's word counts.

use std::{path::Path, time::SystemTime};

use portcullis_audit::Ledger;
use portcullis_runtime::{
    Runtime, RuntimeOptions, StateDir, Surroundings,
    worker::{WorkerCommand, WorkerLimits},
};
use portcullis_trust::{Judgement, Lock, TrustOptions};

use super::*;
use crate::Purpose;

/// A register over the state in `folder` whose audit log is `log`.
fn register(folder: &Path, log: &Path) -> Arc<Catalogue> {
    let state = StateDir::open(&folder.join("state")).expect("a state directory");
    let ledger = Ledger::open(log, "test".to_owned(), &[7; 32], SystemTime::now).expect("a log");
    let worker = WorkerCommand { program: "none".into(), arguments: Vec::new(), limits: WorkerLimits::default() };
    let surroundings = Surroundings::of_this_machine(folder, Vec::new());
    let runtime =
        Runtime::new(RuntimeOptions { max_concurrent_calls: 1, max_waiting_calls: 0, worker, surroundings }, &state);
    let options = TrustOptions {
        state: state.subdirectory("trust").expect("a folder"),
        lock: folder.join("portcullis.lock"),
        key: [7; 32],
        step: None,
    };
    let admission = Admission::Lock(Arc::new(Trust::open(options).expect("opened")));
    Catalogue::new(Arc::new(runtime.expect("a workshop")), Arc::new(ledger), admission, Purpose::Review)
}

/// M7: what cannot be recorded beforehand does not happen; what only takes away happens all the same.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_log_no_pin_moves() {
    let folder = tempfile::tempdir().expect("a folder");
    let operator = Operator { name: "alice".to_owned(), at: "2026-11-21T12:00:00Z".to_owned() };
    let text = Lock::default().render(&BTreeSet::new()).expect("text");
    std::fs::write(folder.path().join("portcullis.lock"), &text).expect("a lock");
    let (full, first) = (register(folder.path(), Path::new("/dev/full")), PluginName::new("first").expect("a name"));
    let record = folder.path().join("state/trust/accepted.json");
    let error = full.accept_lock(Digest::of(text.as_bytes()), false, &operator).expect_err("not recorded");
    assert!(matches!(error, ApprovalError::Audit(_)), "{error}");
    let error = full.remove(&first, &operator).await.expect_err("not recorded");
    assert!(matches!(error, ApprovalError::Audit(_)), "{error}");
    assert!(!record.exists(), "something was accepted");
    assert!(full.disable(&first, &operator).expect("switched off"));
    assert!(matches!(full.standing().expect("a standing").of(&first), Judgement::Disabled(None)));
    // With a log, the intent comes before what came of it.
    let log = folder.path().join("audit.jsonl");
    let register = register(folder.path(), &log);
    register.accept_lock(Digest::of(text.as_bytes()), false, &operator).expect("accepted");
    register.remove(&first, &operator).await.expect("removed");
    let text = std::fs::read_to_string(log).expect("a log");
    let events: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["event"].clone())
        .collect();
    assert_eq!(events, ["approval.intent", "lock.accepted", "approval.intent", "plugin.removed"]);
}
