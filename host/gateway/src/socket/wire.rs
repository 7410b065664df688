//! What stands on the lines of the socket: one hello, one welcome, and then MCP, or requests and their answers.

use serde::{Deserialize, Serialize};

use crate::{
    consent::Confirmed,
    desk::{Called, KvAnswer, KvRefusal, KvRequest, Listed},
};

/// The version of all that this file has. Another one is not understood.
pub(crate) const PROTOCOL: u32 = 1;
/// Bytes of a hello and of a welcome. The longest path of Linux is 4096 bytes, and six times that as JSON at worst.
pub(crate) const MAX_HELLO: usize = 32 << 10;
/// Bytes of a request. A document as the arguments of a call, or a value of a mebibyte in base64, fit several times.
pub(crate) const MAX_REQUEST: usize = 8 << 20;
/// Bytes of an answer: the largest result that a limit allows (64 MiB), as JSON in JSON, with its log.
pub(crate) const MAX_ANSWER: usize = 256 << 20;

/// What a peer says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Hello {
    /// See [`PROTOCOL`].
    pub(crate) protocol: u32,
    /// Which Portcullis the peer is.
    pub(crate) portcullis: String,
    /// What it believes is served: the whole path of the configuration.
    pub(crate) config: String,
    /// What it wants.
    pub(crate) wants: Wants,
}

impl Hello {
    /// Of this Portcullis, about what `config` configures.
    pub fn new(config: String, wants: Wants) -> Self {
        Self { protocol: PROTOCOL, portcullis: env!("CARGO_PKG_VERSION").to_owned(), config, wants }
    }
}

/// What a peer wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Wants {
    /// To carry the bytes of an MCP client.
    Mcp {
        /// The agent that the client is; the operator of this machine without.
        agent: Option<String>,
    },
    /// To ask on behalf of a command.
    Answers,
}

/// What every version of a hello has, so that another version is told from nonsense.
#[derive(Debug, Deserialize)]
pub(crate) struct AnyHello {
    pub(crate) protocol: u32,
    pub(crate) portcullis: String,
}

/// What the host says to a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Welcome {
    /// Go on.
    Welcome {
        /// The host's process.
        pid: u32,
    },
    /// Go away.
    Refused {
        /// Why.
        what: String,
        /// What to do instead.
        hint: Option<String>,
    },
}

/// What a command asks for. Each request has one answer, and a call reports before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Call a tool.
    Call {
        /// The tool.
        tool: String,
        /// Its arguments.
        arguments: serde_json::Map<String, serde_json::Value>,
        /// What the operator has said yes to, where the tool needs it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirmed: Option<Confirmed>,
    },
    /// The plugins and their states, once the files were looked at again.
    List,
    /// Look at the files again.
    Reload,
    /// Shared context.
    Kv(KvRequest),
}

/// What the host answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Answer {
    /// A report of a call that goes on. An answer follows.
    Progress {
        /// How far.
        progress: f64,
        /// Of how much.
        total: Option<f64>,
        /// In words.
        message: Option<String>,
    },
    /// How a call ended.
    Called(Box<Called>),
    /// The plugins.
    Listed(Box<Listed>),
    /// The files were looked at.
    Reloaded,
    /// What shared context answers.
    Kv(Box<Result<KvAnswer, KvRefusal>>),
    /// The request is none, or the host cannot do it.
    Failed {
        /// Why.
        what: String,
    },
}
