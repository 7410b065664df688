//! The record of one call: opened before it runs, closed before the reply leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::SystemTime,
};

use portcullis_policy::{Digest, PluginName, Principal, ToolName};
use serde::{Deserialize, Serialize};

use crate::{Answer, Asking, AuditError, Event, Ledger, Outcome, file::Staged};

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Wall time in microseconds, waiting included.
    pub micros: u64,
    /// Units of fuel; not known of a call that was stopped from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Most bytes of linear memory at one time.
    pub memory: u64,
}

/// Most refusals of one call that are recorded; the guest decides how many there are.
const MAX_REFUSALS: u32 = 16;

/// What may be noted of a call while it runs, by whom it is handed to.
#[derive(Clone, Debug)]
pub struct CallNotes {
    ledger: Arc<Ledger>,
    call: u64,
    refusals: Arc<AtomicU32>,
}

impl CallNotes {
    /// Records that the guest asked for `target` and did not get it: the first 16 times. False where it was not recorded.
    pub fn denied(&self, capability: &str, target: &str, reason: &str) -> bool {
        if self.refusals.fetch_add(1, Ordering::Relaxed) >= MAX_REFUSALS {
            return false;
        }
        let event = Event::CapabilityDenied { call: self.call, capability, target, reason };
        if let Err(error) = self.ledger.append(&event) {
            // What was refused did not happen, and the outcome of the call will not be recorded either.
            tracing::error!(call = self.call, %error, "a refusal is not in the audit log");
        }
        true
    }

    /// How often the guest asked for what it did not get.
    pub fn refusals(&self) -> u32 {
        self.refusals.load(Ordering::Relaxed)
    }
}

/// An intent that stands in the ledger and waits for its outcome. Dropped unclosed, it is closed as cancelled.
#[derive(Debug)]
pub struct CallRecord {
    ledger: Arc<Ledger>,
    call: u64,
    began: SystemTime,
    open: bool,
    /// The outcome on its way into the file.
    outcome: Option<Staged>,
}

/// An intent on its way into the ledger: nothing of the call may happen before [`Self::written`].
#[derive(Debug)]
#[must_use]
pub struct Intent {
    record: CallRecord,
    staged: Staged,
}

impl Intent {
    /// Waits until it stands in the ledger, together with what others have to write at this moment.
    ///
    /// # Errors
    /// When it cannot be written: the call must not run.
    pub async fn written(mut self) -> Result<CallRecord, AuditError> {
        let written = self.record.ledger.settle_together(&self.staged).await;
        // What is not there has no outcome either.
        self.record.open = written.is_ok();
        written.map(|_| self.record)
    }
}

impl CallRecord {
    /// Stages the intent. `arguments` are the arguments as JSON; only their size and keyed digest are kept. `route` is the
    /// one that the call came by, where it came by one.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn open(
        ledger: &Arc<Ledger>,
        principal: &Principal,
        tool: &ToolName,
        plugin: &PluginName,
        digest: Digest,
        arguments: &[u8],
        route: Option<&str>,
    ) -> Result<Intent, AuditError> {
        let call = ledger.calls.fetch_add(1, Ordering::Relaxed);
        let staged = ledger.stage(&Event::CallIntent {
            call,
            principal: principal.as_str(),
            tool,
            plugin,
            digest,
            arguments_mac: &ledger.mac(arguments),
            arguments_bytes: arguments.len() as u64,
            route,
        })?;
        let record = Self { ledger: Arc::clone(ledger), call, began: ledger.now(), open: true, outcome: None };
        Ok(Intent { record, staged })
    }

    /// The call's number, unique in the session.
    pub fn call(&self) -> u64 {
        self.call
    }

    /// What the call may note while it runs.
    pub fn notes(&self) -> CallNotes {
        CallNotes { ledger: Arc::clone(&self.ledger), call: self.call, refusals: Arc::default() }
    }

    /// Writes that the call was denied, and by which rule.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn deny(self, rule: &str) -> Result<(), AuditError> {
        self.refuse(Outcome::Denied, rule)
    }

    /// Writes that the agent asks for more than it may, and by which limit.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn limit(self, rule: &str) -> Result<(), AuditError> {
        self.refuse(Outcome::Limited, rule)
    }

    /// Writes that a person is asked.
    ///
    /// # Errors
    /// When it cannot be written: they must not be.
    pub fn asked(&self, about: &Asking<'_>) -> Result<(), AuditError> {
        self.ledger.append(&Event::CallAsked { call: self.call, about: *about })?;
        Ok(())
    }

    /// Writes what a person said.
    ///
    /// # Errors
    /// When it cannot be written: the call must not run.
    pub fn answered(&self, about: &Asking<'_>, answer: Answer) -> Result<(), AuditError> {
        self.ledger.append(&Event::CallAnswered { call: self.call, about: *about, answer })?;
        Ok(())
    }

    /// Writes that nobody said that the call may run, and why.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn not_confirmed(self, rule: &str) -> Result<(), AuditError> {
        self.refuse(Outcome::NotConfirmed, rule)
    }

    /// Writes that the call ended with the question whether it may run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn ends_asking(self) -> Result<(), AuditError> {
        self.refuse(Outcome::Asked, "`confirm`")
    }

    fn refuse(mut self, outcome: Outcome, rule: &str) -> Result<(), AuditError> {
        self.open = false;
        let used = Used::default();
        self.ledger.append(&Event::CallOutcome { call: self.call, outcome, rule: Some(rule), used })?;
        Ok(())
    }

    /// Writes the outcome, together with what others have to write at this moment.
    ///
    /// # Errors
    /// When it cannot be written: the reply must say so and hold no result.
    pub async fn close(mut self, outcome: Outcome, used: Used) -> Result<(), AuditError> {
        self.open = false;
        let staged = self.ledger.stage(&Event::CallOutcome { call: self.call, outcome, rule: None, used })?;
        let written = self.ledger.settle_together(self.outcome.insert(staged)).await;
        // Whoever waited for it knows, and the drop has nothing to tell.
        self.outcome = None;
        written.map(drop)
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        if let Some(outcome) = &self.outcome {
            // Where nobody waits any more for what [`Self::close`] staged; done already in all other cases.
            if let Err(error) = self.ledger.settle(outcome) {
                tracing::error!(call = self.call, %error, "the outcome of a call is not in the audit log");
            }
        }
        if self.open {
            let micros = self.ledger.now().duration_since(self.began).map_or(0, |time| time.as_micros() as u64);
            let used = Used { micros, ..Used::default() };
            let event = Event::CallOutcome { call: self.call, outcome: Outcome::Cancelled, rule: None, used };
            if let Err(error) = self.ledger.append(&event) {
                tracing::error!(call = self.call, %error, "the outcome of a cancelled call is not in the audit log");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    fn ledger(dir: &tempfile::TempDir) -> Arc<Ledger> {
        let path = dir.path().join("audit.jsonl");
        Arc::new(Ledger::open(&path, "s1".into(), &[7; 32], || SystemTime::UNIX_EPOCH).expect("a ledger"))
    }

    fn lines(dir: &tempfile::TempDir) -> Vec<Value> {
        let text = fs::read_to_string(dir.path().join("audit.jsonl")).expect("a file");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    async fn open(ledger: &Arc<Ledger>, arguments: &str) -> CallRecord {
        stage(ledger, arguments).written().await.expect("an intent")
    }

    fn stage(ledger: &Arc<Ledger>, arguments: &str) -> Intent {
        let tool = ToolName::new("echo_echo").expect("a name");
        let plugin = PluginName::new("echo").expect("a name");
        CallRecord::open(
            ledger,
            &Principal::LocalOperator,
            &tool,
            &plugin,
            Digest::of(b"x"),
            arguments.as_bytes(),
            None,
        )
        .expect("JSON")
    }

    #[tokio::test]
    async fn intent_stands_before_outcome_and_holds_no_value() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = ledger(&dir);
        let record = open(&ledger, r#"{"text":"canary\nvalue"}"#).await;
        assert_eq!(lines(&dir).len(), 1, "the intent is written at once");
        record.close(Outcome::Ok, Used { micros: 5, fuel: Some(6), memory: 7 }).await.expect("an outcome");
        drop(open(&ledger, "{}").await);
        let lines = lines(&dir);
        assert_eq!(lines.iter().map(|line| line["seq"].as_u64()).collect::<Vec<_>>(), [1, 2, 3, 4].map(Some));
        assert_eq!(lines[1]["outcome"], "ok");
        assert_eq!(lines[1]["fuel"], 6);
        assert_eq!(lines[3]["outcome"], "cancelled");
        assert_eq!(lines[0]["call"], lines[1]["call"]);
        assert_ne!(lines[0]["arguments_mac"], lines[2]["arguments_mac"]);
        let text = fs::read_to_string(dir.path().join("audit.jsonl")).expect("a file");
        assert!(!text.contains("canary"));
    }

    /// Those that are ready at one moment share a `write`: whoever waits for the first finds the second written as well.
    #[tokio::test]
    async fn lines_of_one_moment_are_written_together_and_each_before_its_call() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = ledger(&dir);
        let staged = [stage(&ledger, "{}"), stage(&ledger, "{}")];
        assert!(lines(&dir).is_empty(), "they wait");
        let [first, second] = staged.map(Intent::written);
        let first = first.await.expect("an intent");
        assert_eq!(lines(&dir).len(), 2);
        let second = second.await.expect("an intent");
        let mut closing = Box::pin(first.close(Outcome::Ok, Used::default()));
        assert!(futures::poll!(closing.as_mut()).is_pending());
        assert_eq!(lines(&dir).len(), 2, "it waits");
        // Nobody waits for it any more, and it is written all the same.
        drop(closing);
        assert_eq!(lines(&dir)[2]["outcome"], "ok");
        // A call that is dropped before its intent stands there has both lines.
        drop(second);
        drop(stage(&ledger, "{}"));
        let lines = lines(&dir);
        assert_eq!(lines.iter().map(|line| line["seq"].as_u64()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6].map(Some));
        assert_eq!(lines[4]["call"], lines[5]["call"]);
        assert_eq!(lines[5]["outcome"], "cancelled");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_refuses() {
        let ledger = Ledger::open("/dev/full".as_ref(), "s1".into(), &[0; 32], SystemTime::now).expect("a ledger");
        assert!(ledger.append(&Event::HostStopped).is_err());
        // All that shared a write share its fate, and none of their numbers is used up.
        let ledger = Arc::new(ledger);
        let [first, second] = [stage(&ledger, "{}"), stage(&ledger, "{}")].map(Intent::written);
        assert!(first.await.is_err());
        assert!(second.await.is_err());
    }
}
