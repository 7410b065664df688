//! A block as it stands in the lock: an approval, and the digest of its grants and limits beside them. Whether they
//! belong together is not known here.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{Confirm, Digest, Grants, Limits, ToolName};
use serde::Deserialize;

use crate::{Approval, ApprovedTool};

/// [`Approval`] field by field: a struct that refuses unknown fields cannot be part of another (`serde(flatten)`).
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Block {
    source: String,
    sha256: Digest,
    size: u64,
    mapping: u32,
    approved_by: String,
    approved_at: String,
    imports: BTreeSet<String>,
    tools: BTreeMap<ToolName, ApprovedTool>,
    grants: Grants,
    limits: Limits,
    #[serde(default)]
    tool_limits: BTreeMap<String, Limits>,
    #[serde(default)]
    confirm: BTreeMap<String, Confirm>,
    /// Of the grants and limits.
    digest: Digest,
}

impl Block {
    /// The approval, and the digest that its grants and limits should have.
    pub(super) fn parts(self) -> (Approval, Digest) {
        let approval = Approval {
            source: self.source,
            sha256: self.sha256,
            size: self.size,
            mapping: self.mapping,
            approved_by: self.approved_by,
            approved_at: self.approved_at,
            imports: self.imports,
            tools: self.tools,
            grants: self.grants,
            limits: self.limits,
            tool_limits: self.tool_limits,
            confirm: self.confirm,
        };
        (approval, self.digest)
    }
}
