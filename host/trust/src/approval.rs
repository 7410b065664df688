//! What is approved as one: bytes, definitions, imports, grants and limits. Plain types, nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{Digest, Grants, Limits, PluginName, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A plugin as it is configured and lies there now, decoded but not run: what `approve` would approve.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its key in the configuration.
    pub plugin: PluginName,
    /// Where its bytes come from, as the configuration writes it.
    pub source: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Length of its bytes.
    pub size: u64,
    /// The version of the WIT-to-JSON mapping that the definitions were made with.
    pub mapping: u32,
    /// Its tools' definitions, whole, by name.
    pub tools: BTreeMap<ToolName, Definition>,
    /// What it imports: interfaces by full id, and functions of the world.
    pub imports: BTreeSet<String>,
    /// What the configuration grants it.
    pub grants: Grants,
    /// The limits of its calls.
    pub limits: Limits,
    /// The limits of single functions where they differ, by WIT name.
    pub tool_limits: BTreeMap<String, Limits>,
}

/// A tool's definition as clients get it, and the function behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The full name of the function in WIT.
    pub function: String,
    /// The whole definition as MCP has it: an object with `name`, `description`, `inputSchema` and so on.
    pub json: Value,
}

/// A block of the lock: what an operator approved of one plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Approval {
    /// See [`Candidate::source`].
    pub source: String,
    /// See [`Candidate::sha256`].
    pub sha256: Digest,
    /// See [`Candidate::size`].
    pub size: u64,
    /// See [`Candidate::mapping`].
    pub mapping: u32,
    /// Who approved it: the operating system's name of the user.
    pub approved_by: String,
    /// When, as RFC 3339 in UTC.
    pub approved_at: String,
    /// See [`Candidate::imports`].
    pub imports: BTreeSet<String>,
    /// By name: the function, and the digest of the definition.
    pub tools: BTreeMap<ToolName, ApprovedTool>,
    /// See [`Candidate::grants`].
    pub grants: Grants,
    /// See [`Candidate::limits`].
    pub limits: Limits,
    /// See [`Candidate::tool_limits`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tool_limits: BTreeMap<String, Limits>,
}

/// What was approved of one tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedTool {
    /// The full name of the function in WIT.
    pub function: String,
    /// SHA-256 of the definition as canonical JSON, domain separated.
    pub sha256: Digest,
}
