//! What differs between what was approved and what lies there now. Says what a change widens; approves nothing.

mod blocks;
mod carriers;
mod hints;
mod lines;
mod tools;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{Change, Confirm, Digest, ToolName};
use serde::Serialize;
use serde_json::Value;

pub use carriers::{CarrierChange, Word, WordKind};
pub use lines::{Line, LineKind};
pub use tools::{ToolChange, ToolsChanged};

use crate::{Approval, Candidate};

/// Something that was one thing and is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed<T> {
    /// What was approved.
    pub old: T,
    /// What it is now.
    pub new: T,
}

/// The component's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Their SHA-256.
    pub sha256: Digest,
    /// Their length.
    pub size: u64,
}

/// What differs between an approval and a candidate. Texts in it are the plugin's own: [`Difference::lines`] escapes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Grants and limits of all calls that are wider than approved.
    pub widened: Vec<Change>,
    /// Limits of single functions that are wider than approved.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tools_widened: BTreeMap<String, Vec<Change>>,
    /// What it imports that it did not.
    pub imports_added: BTreeSet<String>,
    /// Its tools.
    pub tools: ToolsChanged,
    /// The component, if it is another.
    pub bytes: Option<Changed<Bytes>>,
    /// The version of the WIT-to-JSON mapping, if this Portcullis has another.
    pub mapping: Option<Changed<u32>>,
    /// What it imported and does not now.
    pub imports_removed: BTreeSet<String>,
    /// Grants and limits of all calls that are narrower than approved.
    pub narrowed: Vec<Change>,
    /// Limits of single functions that are narrower than approved.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tools_narrowed: BTreeMap<String, Vec<Change>>,
    /// Where it comes from. The same bytes from elsewhere are the same plugin.
    pub source: Option<Changed<String>>,
}

impl Difference {
    /// Compares. `definitions` are the approved definitions as stored; one that is missing, or is not the one that was
    /// approved, is compared by its digest.
    pub fn between(approved: &Approval, definitions: &BTreeMap<ToolName, Value>, candidate: &Candidate) -> Self {
        let mut widened = candidate.grants.widened_over(&approved.grants);
        widened.extend(candidate.limits.widened_over(&approved.limits));
        let mut narrowed = candidate.grants.narrowed_over(&approved.grants);
        narrowed.extend(candidate.limits.narrowed_over(&approved.limits));
        let (mut tools_widened, mut tools_narrowed) = (BTreeMap::new(), BTreeMap::new());
        let limited = approved.tool_limits.keys().chain(candidate.tool_limits.keys());
        let functions: BTreeSet<_> = limited.chain(approved.confirm.keys()).chain(candidate.confirm.keys()).collect();
        for function in functions {
            let old = approved.tool_limits.get(function).unwrap_or(&approved.limits);
            let new = candidate.tool_limits.get(function).unwrap_or(&candidate.limits);
            let (mut wider, mut narrower) = (new.widened_over(old), new.narrowed_over(old));
            let (asked, asks) = (approved.confirm.get(function).copied(), candidate.confirm.get(function).copied());
            wider.extend(Confirm::widened_over(asks, asked));
            narrower.extend(Confirm::narrowed_over(asks, asked));
            if !wider.is_empty() {
                tools_widened.insert(function.clone(), wider);
            }
            if !narrower.is_empty() {
                tools_narrowed.insert(function.clone(), narrower);
            }
        }
        let tools = hints::as_approved(approved, definitions, candidate);
        let old = Bytes { sha256: approved.sha256, size: approved.size };
        let new = Bytes { sha256: candidate.sha256, size: candidate.size };
        Self {
            widened,
            tools_widened,
            imports_added: candidate.imports.difference(&approved.imports).cloned().collect(),
            tools: ToolsChanged::between(&approved.tools, definitions, &tools),
            bytes: changed(old, new),
            mapping: changed(approved.mapping, candidate.mapping),
            imports_removed: approved.imports.difference(&candidate.imports).cloned().collect(),
            narrowed,
            tools_narrowed,
            source: changed(approved.source.clone(), candidate.source.clone()),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        !self.widens()
            && self.tools.removed.is_empty()
            && self.imports_removed.is_empty()
            && self.narrowed.is_empty()
            && self.tools_narrowed.is_empty()
            && self.source.is_none()
    }

    /// Whether it needs approval: other bytes, another mapping, a tool that is new, renamed or changed, an import more,
    /// a wider grant or limit.
    pub fn widens(&self) -> bool {
        self.bytes.is_some()
            || self.mapping.is_some()
            || self.tools.widen()
            || !self.imports_added.is_empty()
            || !self.widened.is_empty()
            || !self.tools_widened.is_empty()
    }
}

fn changed<T: PartialEq>(old: T, new: T) -> Option<Changed<T>> {
    (old != new).then_some(Changed { old, new })
}

#[cfg(test)]
mod tests;
