//! The scripts: one for each operation, so that condition, expiry, quota and the record of changes are one step.

use std::sync::LazyLock;

use redis::{Cmd, Value};

use crate::contract::{BucketName, Limits, Writer};

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Get,
    List,
    Changes,
    Usage,
    Transact,
    Increment,
    Import,
    Sweep,
}

/// A script that may not write goes through where memory or disk of the server are full; one that may is refused before its
/// first step there, and never in the middle.
const READS: &str = concat!("#!lua flags=no-writes\n", include_str!("lua/read.lua"));
const WRITES: &str = concat!("#!lua\n", include_str!("lua/read.lua"), include_str!("lua/write.lua"));

macro_rules! script {
    ($head:expr, $file:literal) => {{
        static SCRIPT: LazyLock<redis::Script> =
            LazyLock::new(|| redis::Script::new(&format!("{}{}", $head, include_str!($file))));
        &SCRIPT
    }};
}

impl Script {
    pub(super) fn writes(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Changes | Self::Usage => false,
            Self::Transact | Self::Increment | Self::Import | Self::Sweep => true,
        }
    }

    fn script(self) -> &'static redis::Script {
        match self {
            Self::Get => script!(READS, "lua/get.lua"),
            Self::List => script!(READS, "lua/list.lua"),
            Self::Changes => script!(READS, "lua/changes.lua"),
            Self::Usage => script!(READS, "lua/usage.lua"),
            Self::Transact => script!(WRITES, "lua/transact.lua"),
            Self::Increment => script!(WRITES, "lua/increment.lua"),
            Self::Import => script!(WRITES, "lua/import.lua"),
            Self::Sweep => script!(WRITES, "lua/sweep.lua"),
        }
    }

    /// Its invocation: by its hash, or with its text for a server that does not know it.
    pub(super) fn invocation(self, bucket: &BucketName, arguments: &[Vec<u8>], text: bool) -> Cmd {
        let mut command = redis::cmd(if text { "EVAL" } else { "EVALSHA" });
        if text {
            command.arg(self.text());
        } else {
            command.arg(self.script().get_hash());
        }
        command.arg(KEYS.len());
        for part in KEYS {
            command.arg(key(bucket, part));
        }
        for argument in arguments {
            command.arg(argument.as_slice());
        }
        command
    }

    fn text(self) -> String {
        let (head, body) = match self {
            Self::Get => (READS, include_str!("lua/get.lua")),
            Self::List => (READS, include_str!("lua/list.lua")),
            Self::Changes => (READS, include_str!("lua/changes.lua")),
            Self::Usage => (READS, include_str!("lua/usage.lua")),
            Self::Transact => (WRITES, include_str!("lua/transact.lua")),
            Self::Increment => (WRITES, include_str!("lua/increment.lua")),
            Self::Import => (WRITES, include_str!("lua/import.lua")),
            Self::Sweep => (WRITES, include_str!("lua/sweep.lua")),
        };
        format!("{head}{body}")
    }
}

/// The keys of a bucket, as the scripts take them. The tag in braces keeps them in one slot of a cluster.
const KEYS: [&str; 5] = ["state", "entries", "order", "expiries", "changes"];

fn key(bucket: &BucketName, part: &str) -> String {
    format!("portcullis:{{{bucket}}}:{part}")
}

/// Where writes of a bucket are announced.
pub(super) fn channel(bucket: &BucketName) -> String {
    key(bucket, "state")
}

/// The bucket that is announced on a channel.
pub(super) fn announced(channel: &str) -> Option<BucketName> {
    let name = channel.strip_prefix("portcullis:{")?.strip_suffix("}:state")?;
    BucketName::new(name).ok()
}

/// The names of all buckets that were ever written.
pub(super) const REGISTRY: &str = "portcullis:buckets";

pub(super) fn number(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// What scripts that write take first.
pub(super) fn limits(limits: &Limits) -> Vec<Vec<u8>> {
    [limits.max_entries, limits.max_bytes, limits.changes, limits.change_bytes]
        .map(|limit| number(limit.min(1 << 53)))
        .into()
}

/// A writer as bytes: each part after its length.
pub(super) fn writer(writer: &Writer) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [&writer.principal, &writer.plugin, &writer.digest] {
        bytes.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// What a script answers: a word, the server's instant, and the rest.
pub(super) struct Reply {
    pub(super) word: String,
    pub(super) now: u64,
    pub(super) rest: Vec<Vec<u8>>,
}

impl Reply {
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::Array(values) = value else { return None };
        let mut values = values.into_iter().map(|value| match value {
            Value::BulkString(bytes) => Some(bytes),
            Value::SimpleString(text) => Some(text.into_bytes()),
            _ => None,
        });
        let word = String::from_utf8(values.next()??).ok()?;
        let now = read_number(&values.next()??)?;
        Some(Self { word, now, rest: values.collect::<Option<_>>()? })
    }
}

pub(super) fn read_number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
