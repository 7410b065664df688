//! Decoding and compiling, apart: a confined child process, since the bytes are hostile.
//!
//! The child is this program again, under limits of its own: bytes come in through its standard input, the answer goes
//! out through its standard output, and it can reach nothing else. What it answers is data to the parent, and bounded.

mod child;
mod parent;

use std::time::Duration;

pub(crate) use self::parent::Worker;
pub use self::{child::main, parent::WorkerCommand};

/// What a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Decode a component's types, documentation and requests.
    Describe,
    /// Make native code of it.
    Compile,
}

impl Job {
    /// The word on the child's command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Compile => "compile",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Describe => "decoding",
            Self::Compile => "compiling",
        }
    }

    /// Most bytes of an answer. Native code of 18 MB of Python is 37 MB.
    fn max_answer(self) -> u64 {
        match self {
            Self::Describe => 32 << 20,
            Self::Compile => 512 << 20,
        }
    }
}

/// What a child may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Processor time. Default 60 s: 18 MB of Python need 10.5 s, 12 MB of JavaScript 12.3 s.
    pub cpu: Duration,
    /// Address space in bytes. Default 1 GiB: the two need 354 and 375 MB.
    pub memory: u64,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { cpu: Duration::from_secs(60), memory: 1 << 30 }
    }
}

/// Why a child gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The bytes are at fault; what is wrong with them.
    #[error("{0}")]
    Refused(String),
    /// The processor time is used up.
    #[error("{job} took more than {} s of processor time", limit.as_secs())]
    Cpu {
        /// Decoding or compiling.
        job: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The address space is used up.
    #[error("{job} took more than {} MiB of memory", limit >> 20)]
    Memory {
        /// Decoding or compiling.
        job: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer is larger than the bound.
    #[error("{job} made more than {} MiB", limit >> 20)]
    Answer {
        /// Decoding or compiling.
        job: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// It took too long, however little it computed.
    #[error("{job} took more than {} s", limit.as_secs())]
    Time {
        /// Decoding or compiling.
        job: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// It died otherwise, by a fault of the decoder or compiler.
    #[error("{job} crashed: {how}")]
    Crashed {
        /// Decoding or compiling.
        job: &'static str,
        /// The signal or exit code.
        how: String,
    },
    /// It could not be started or talked to.
    #[error("the child process for {job} could not run: {reason}")]
    Unusable {
        /// Decoding or compiling.
        job: &'static str,
        /// What the operating system said.
        reason: String,
    },
}

/// First byte of an answer that is one.
const ANSWER: u8 = 0;
/// First byte of an answer that says what is wrong with the bytes.
const REFUSAL: u8 = 1;
