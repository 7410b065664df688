//! What is approved as one: bytes, definitions, imports, grants and limits. Plain types, nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{Confirm, Digest, Grants, Limits, PluginName, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::canonical::{NotCanonical, canonical, definition_digest};

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
    /// The functions before which a person is asked, by WIT name.
    pub confirm: BTreeMap<String, Confirm>,
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
    /// See [`Candidate::confirm`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub confirm: BTreeMap<String, Confirm>,
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

/// An approval that has no canonical form.
#[derive(Debug, thiserror::Error)]
#[error("the approval has no canonical form")]
pub enum NoDigest {
    /// It is not JSON.
    Json(#[from] serde_json::Error),
    /// It has a number that is not exact in a double.
    Canonical(#[from] NotCanonical),
}

impl Candidate {
    /// SHA-256 of all that an approval of it would bind, whoever approves: what `inspect` and `diff` show, and
    /// `approve --review` compares.
    ///
    /// # Errors
    /// When a definition, or a number, has no canonical form.
    pub fn digest(&self) -> Result<Digest, NoDigest> {
        let tool = |(name, tool): (&ToolName, &Definition)| {
            let sha256 = definition_digest(&tool.json)?;
            Ok((name.clone(), ApprovedTool { function: tool.function.clone(), sha256 }))
        };
        let tools = self.tools.iter().map(tool).collect::<Result<_, NotCanonical>>()?;
        self.approved(tools, String::new(), String::new()).digest()
    }

    /// Its block, once its definitions have these digests.
    pub(crate) fn approved(&self, tools: BTreeMap<ToolName, ApprovedTool>, by: String, at: String) -> Approval {
        Approval {
            source: self.source.clone(),
            sha256: self.sha256,
            size: self.size,
            mapping: self.mapping,
            approved_by: by,
            approved_at: at,
            imports: self.imports.clone(),
            tools,
            grants: self.grants.clone(),
            limits: self.limits.clone(),
            tool_limits: self.tool_limits.clone(),
            confirm: self.confirm.clone(),
        }
    }
}

impl Approval {
    /// SHA-256 of the whole approval as canonical JSON, domain separated.
    ///
    /// # Errors
    /// When a number in it is not exact in a double.
    pub fn digest(&self) -> Result<Digest, NoDigest> {
        let text = canonical(&serde_json::to_value(self)?)?;
        Ok(Digest::of(&[b"portcullis approval v1\0".as_slice(), &text].concat()))
    }

    /// SHA-256 of its grants and limits, which its block of the lock holds beside them.
    ///
    /// # Errors
    /// When a number in them is not exact in a double.
    pub fn terms_digest(&self) -> Result<Digest, NoDigest> {
        let Self { grants, limits, tool_limits, confirm, .. } = self;
        let mut terms = json!({ "grants": grants, "limits": limits, "tool-limits": tool_limits });
        // Blocks that were written before there was any keep their digest.
        if let Some(terms) = terms.as_object_mut().filter(|_| !confirm.is_empty()) {
            terms.insert("confirm".to_owned(), serde_json::to_value(confirm)?);
        }
        let text = canonical(&terms)?;
        Ok(Digest::of(&[b"portcullis terms v1\0".as_slice(), &text].concat()))
    }
}
