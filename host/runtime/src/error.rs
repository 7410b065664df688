//! How a call can fail, and which of it is whose fault.

use std::time::Duration;

use portcullis_audit::Outcome;
use wasmtime::{Trap, WasmBacktrace, component::ResourceTableError};
use wasmtime_wasi::I32Exit;

use crate::{
    sandbox::{Exhausted, LogFlood, Sandbox},
    wit::ArgumentError,
};

/// Bytes of a trap's text that reach a client.
const MAX_TRAP_TEXT: usize = 300;

/// Why a call has no result. The text is for the client: a model can read it, and it tells nothing of the host.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The arguments do not fit the function's types. Nothing ran.
    #[error("{0}")]
    BadArguments(#[from] ArgumentError),
    /// The guest trapped.
    #[error("the tool crashed: {trap}")]
    Trapped {
        /// What wasmtime calls it.
        trap: String,
        /// The guest's functions, for the operator's log.
        backtrace: Option<String>,
    },
    /// The guest left through `wasi:cli/exit` without an answer.
    #[error("the tool exited with code {code} instead of answering")]
    Exited {
        /// The code.
        code: i32,
    },
    /// The fuel is used up.
    #[error("the tool used up its fuel of {limit} (limit `fuel`)")]
    OutOfFuel {
        /// The limit.
        limit: u64,
    },
    /// The deadline passed.
    #[error("the tool did not finish within {} (limit `deadline`)", humane(*limit))]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// Memory, tables or handles are used up.
    #[error("the tool wanted {what} (limit `memory`)")]
    OutOfMemory {
        /// What it wanted.
        what: String,
    },
    /// The result is too large.
    #[error("the tool's result is larger than {limit} bytes (limit `output`)")]
    OutputTooLarge {
        /// The limit.
        limit: u64,
    },
    /// Too many operations on standard output and error.
    #[error("the tool flooded its log: {0}")]
    LogFlood(String),
    /// No slot came free within the deadline.
    #[error("the tool is busy: no slot came free after {} ({scope})", humane(*waited))]
    Busy {
        /// How long the call waited.
        waited: Duration,
        /// Which limit it waited for.
        scope: &'static str,
    },
    /// The plugin's code could not be had in time, or at all.
    #[error("the tool is not available: {0}")]
    Unavailable(String),
    /// The host failed; the reason is in the operator's log.
    #[error("the host failed to run the tool")]
    Host(String),
}

impl CallError {
    /// What stands in the ledger.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::BadArguments(_) => Outcome::BadArguments,
            Self::Trapped { .. } => Outcome::Trapped,
            Self::Exited { .. } => Outcome::Exited,
            Self::OutOfFuel { .. } => Outcome::OutOfFuel,
            Self::Deadline { .. } => Outcome::Deadline,
            Self::OutOfMemory { .. } => Outcome::OutOfMemory,
            Self::OutputTooLarge { .. } => Outcome::OutputTooLarge,
            Self::LogFlood(_) => Outcome::LogFlood,
            Self::Busy { .. } => Outcome::Busy,
            Self::Unavailable(_) => Outcome::Unavailable,
            Self::Host(_) => Outcome::HostError,
        }
    }

    /// What a failure inside the sandbox means: the one place that reads wasmtime's errors.
    pub(crate) fn classify(error: &wasmtime::Error, sandbox: &Sandbox, fuel: Option<u64>, output: u64) -> Self {
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return Self::Exited { code: *code };
        }
        if let Some(flood) = error.downcast_ref::<LogFlood>() {
            return Self::LogFlood(flood.to_string());
        }
        if let Some(exhausted) = error.downcast_ref::<Exhausted>().copied().or(sandbox.limiter.exhausted()) {
            return Self::OutOfMemory { what: exhausted.to_string() };
        }
        if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
            return Self::OutOfMemory { what: "too many host resources at one time".into() };
        }
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::OutOfFuel) {
            return Self::OutOfFuel { limit: fuel.unwrap_or(u64::MAX) };
        }
        let backtrace = error.downcast_ref::<WasmBacktrace>();
        let text = trap.map_or_else(|| error.root_cause().to_string(), Trap::to_string);
        // Wasmtime keeps the type to itself. Without a guest on the stack it was the result that was too large.
        if text.contains("fuel allocated for hostcalls") {
            return match backtrace {
                None => Self::OutputTooLarge { limit: output },
                Some(_) => Self::OutOfMemory { what: "to hand the host too much at once".into() },
            };
        }
        if text.contains("store handle limit exceeded") {
            return Self::OutOfMemory { what: "too many handles at one time".into() };
        }
        let trap = text.get(..text.floor_char_boundary(MAX_TRAP_TEXT)).unwrap_or_default().to_owned();
        Self::Trapped { trap, backtrace: backtrace.map(ToString::to_string) }
    }
}

/// `1.5s`, `200ms`.
fn humane(time: Duration) -> String {
    format!("{:?}", Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}
