//! What can happen. One line of the file is one [`Event`].

use portcullis_policy::{Digest, PluginName, ToolName};
use serde::Serialize;

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
    },
    /// A call ended.
    #[serde(rename = "call.outcome")]
    CallOutcome {
        /// The call of the intent.
        call: u64,
        /// How it ended.
        outcome: Outcome,
        /// What it used.
        #[serde(flatten)]
        used: crate::Used,
    },
}

/// How a call ended. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    /// Its tools are served.
    Loaded,
    /// It cannot be served, for the reason given.
    Broken,
    /// It is no longer served.
    Removed,
}
