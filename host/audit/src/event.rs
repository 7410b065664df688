//! What can happen. One line of the file is one [`Event`].

use portcullis_policy::{Digest, PluginName, ToolName};
use serde::{Deserialize, Serialize};

/// One event, as it stands in the file beside `seq`, `session` and `time`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event")]
pub enum Event<'a> {
    /// A host process began; every session's first line.
    #[serde(rename = "host.started")]
    HostStarted {
        /// Version of Portcullis.
        version: &'a str,
        /// The command that it runs.
        command: &'a str,
        /// Its process.
        pid: u32,
    },
    /// A host process ends in good order.
    #[serde(rename = "host.stopped")]
    HostStopped,
    /// A plugin changed its state.
    #[serde(rename = "plugin.state")]
    Plugin {
        /// Which.
        plugin: &'a PluginName,
        /// Its component's bytes, where they could be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
        /// What it is now.
        state: PluginState,
        /// Why, where it is broken.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    /// An operator approved a plugin as it lay there.
    #[serde(rename = "plugin.approved")]
    Approved {
        /// Which.
        plugin: &'a PluginName,
        /// The bytes.
        digest: Digest,
        /// The bytes that were approved before.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<Digest>,
        /// All that was approved, as `inspect` shows its digest: bytes, definitions, imports, grants and limits.
        review: Digest,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// An approval, a removal or the acceptance of a lock is about to be written. What came of it follows, unless the
    /// process ended.
    #[serde(rename = "approval.intent")]
    ApprovalIntent {
        /// What is about to be done.
        action: ApprovalAction,
        /// To which plugin; none where it is about the whole lock.
        #[serde(skip_serializing_if = "Option::is_none")]
        plugin: Option<&'a PluginName>,
        /// The bytes of the plugin, or of the lock.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// An approval, removal, disablement or acceptance of a lock was refused.
    #[serde(rename = "approval.refused")]
    Refused {
        /// Which plugin; none where it was about the whole lock.
        #[serde(skip_serializing_if = "Option::is_none")]
        plugin: Option<&'a PluginName>,
        /// Why.
        reason: &'a str,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// What lies at a plugin's source, or in the store, is not what was approved.
    #[serde(rename = "pin.mismatch")]
    PinMismatch {
        /// Which.
        plugin: &'a PluginName,
        /// What was approved.
        expected: Digest,
        /// What is there, where anything is.
        #[serde(skip_serializing_if = "Option::is_none")]
        found: Option<Digest>,
    },
    /// An operator took an approval back.
    #[serde(rename = "plugin.removed")]
    ApprovalRemoved {
        /// Which.
        plugin: &'a PluginName,
        /// What had been approved.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// An operator switched a plugin off.
    #[serde(rename = "plugin.disabled")]
    Disabled {
        /// Which.
        plugin: &'a PluginName,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// An operator accepted a lock as it lay there.
    #[serde(rename = "lock.accepted")]
    LockAccepted {
        /// SHA-256 of its bytes.
        digest: Digest,
        /// How many plugins came new, changed and went.
        added: usize,
        /// See `added`.
        changed: usize,
        /// See `added`.
        removed: usize,
        /// Whether nothing had counted as accepted, since the record or its key was lost.
        started_over: bool,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// The lock is not the one that this host has accepted.
    #[serde(rename = "lock.refused")]
    LockRefused {
        /// What is wrong with it.
        reason: &'a str,
    },
    /// Somebody at a door was not let in. At most 60 a minute are recorded: anybody can make them.
    #[serde(rename = "log-in.refused")]
    LogInRefused {
        /// Why. Nothing of what was shown.
        reason: &'a str,
        /// From where: the other end of the connection, or what a trusted proxy says.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<std::net::IpAddr>,
    },
    /// An operator made a key.
    #[serde(rename = "key.made")]
    KeyMade {
        /// The key.
        id: &'a str,
        /// Whose it is.
        agent: &'a str,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// An operator revoked a key.
    #[serde(rename = "key.revoked")]
    KeyRevoked {
        /// The key.
        id: &'a str,
        /// Whose it was.
        agent: &'a str,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// An operator is about to write shared context by hand. What came of it follows, unless the process ended.
    #[serde(rename = "kv.intent")]
    KvIntent {
        /// What is about to be done.
        action: KvAction,
        /// To which bucket.
        bucket: &'a str,
        /// To which key; none of an import.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        /// How many entries.
        entries: usize,
        /// The operating system's name of the user.
        by: &'a str,
    },
    /// What came of it.
    #[serde(rename = "kv.outcome")]
    KvOutcome {
        /// The number of the intent in this session.
        intent: u64,
        /// How it ended.
        outcome: KvOutcome,
        /// The version that it was given, where it was given one.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// A call was asked for and is about to be decided on.
    #[serde(rename = "call.intent")]
    CallIntent {
        /// Unique in the session.
        call: u64,
        /// Who asks.
        principal: &'a str,
        /// For what.
        tool: &'a ToolName,
        /// Whose it is.
        plugin: &'a PluginName,
        /// The bytes that will run.
        digest: Digest,
        /// HMAC-SHA-256 of the arguments as JSON under this host's key: equal arguments show as equal, and none can be
        /// guessed from the file alone.
        arguments_mac: &'a str,
        /// Length of the arguments as JSON, in bytes.
        arguments_bytes: u64,
        /// The route that it came by, method and path as configured; none where MCP or a command asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        route: Option<&'a str>,
    },
    /// A call asked for what its plugin is not granted, and did not get it.
    #[serde(rename = "capability.denied")]
    CapabilityDenied {
        /// The call of the intent.
        call: u64,
        /// The kind of grant: `http`, `files`.
        capability: &'a str,
        /// What was asked for, without its query and without any value.
        target: &'a str,
        /// Why not.
        reason: &'a str,
    },
    /// A client asked for an entry of shared context as a resource. Written before it gets it.
    #[serde(rename = "resource.read")]
    ResourceRead {
        /// Who asked.
        principal: &'a str,
        /// For what: the address, or the beginning of what is none, escaped.
        uri: &'a str,
        /// What it got.
        outcome: ReadOutcome,
    },
    /// A person is asked whether a call may run. Written before they are.
    #[serde(rename = "call.asked")]
    CallAsked {
        /// The call of the intent.
        call: u64,
        /// About what.
        #[serde(flatten)]
        about: Asking<'a>,
    },
    /// What they said, or that nothing came. Written before the call runs, or ends. Where a call ends with the question, the answer
    /// comes with the next one.
    #[serde(rename = "call.answered")]
    CallAnswered {
        /// The call of the intent.
        call: u64,
        /// To what.
        #[serde(flatten)]
        about: Asking<'a>,
        /// What they said.
        answer: Answer,
    },
    /// A call ended.
    #[serde(rename = "call.outcome")]
    CallOutcome {
        /// The call of the intent.
        call: u64,
        /// How it ended.
        outcome: Outcome,
        /// The rule that denied it, or the limit of its agent.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<&'a str>,
        /// What it used.
        #[serde(flatten)]
        used: crate::Used,
    },
}

/// What a person is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Asking<'a> {
    /// Who calls.
    pub principal: &'a str,
    /// What.
    pub tool: &'a ToolName,
    /// The bytes that would run.
    pub digest: Digest,
}

/// What a person said of a call. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Yes.
    Yes,
    /// Yes, earlier in the session of the client.
    Remembered,
    /// The operator said yes to whatever the call is.
    Unseen,
    /// No.
    No,
    /// They closed the question.
    Dismissed,
    /// Nothing, in time.
    None,
    /// The answer is to another question, over, or was used before.
    Invalid,
}

/// What an operator does to what may run. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalAction {
    /// Approve a plugin.
    Approve,
    /// Take an approval back.
    Remove,
    /// Accept a lock.
    AcceptLock,
}

/// How the reading of a resource ended. The names are stable; but for the first and the last a client is told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadOutcome {
    /// It was handed out.
    Ok,
    /// No rule allowed it, or its bucket is not open. Nothing was looked at.
    Denied,
    /// There is none.
    NotFound,
    /// The store did not answer.
    Unavailable,
}

/// What an operator does to shared context. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvAction {
    /// Write an entry.
    Set,
    /// Delete one.
    Delete,
    /// Put exported entries in.
    Import,
}

/// How that ended. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvOutcome {
    /// It was done.
    Done,
    /// It was refused, or the store was away. Nothing was written.
    NotDone,
    /// It may have been done, or not.
    Unknown,
}

/// How a call ended. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The tool answered.
    Ok,
    /// The tool answered with an error of its own.
    ToolError,
    /// The arguments did not fit the tool's types; nothing ran.
    BadArguments,
    /// No rule allowed the call; nothing ran.
    Denied,
    /// Its agent asks for more than it may; nothing ran.
    Limited,
    /// A person has to say yes first: it ended with that question, and nothing ran.
    Asked,
    /// Nobody said yes; nothing ran.
    NotConfirmed,
    /// The guest trapped.
    Trapped,
    /// The guest left through `exit`.
    Exited,
    /// The fuel was used up.
    OutOfFuel,
    /// The deadline passed.
    Deadline,
    /// Memory, tables or handles were used up.
    OutOfMemory,
    /// The result was larger than allowed.
    OutputTooLarge,
    /// No slot was free within the deadline.
    Busy,
    /// The guest used its output streams too often.
    LogFlood,
    /// The plugin's code could not be had; nothing ran.
    Unavailable,
    /// The client called it off, or went away.
    Cancelled,
    /// The host itself failed.
    HostError,
}

/// What a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// Its code is ready, and its tools are served.
    Loaded,
    /// Nobody has approved it, or the lock is not the accepted one. Nothing of it is served.
    Quarantined,
    /// It is not what was approved. What was approved is served meanwhile.
    PendingReview,
    /// It is switched off.
    Disabled,
    /// Its file is not there.
    Missing,
    /// It cannot be served, for the reason given.
    Broken,
    /// It is no longer served.
    Removed,
}
