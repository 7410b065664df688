//! Which tools are new, gone, renamed or changed.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{Digest, ToolName};
use serde::Serialize;
use serde_json::Value;

use super::carriers::{Budget, CarrierChange, Carriers};
use super::{Changed, changed};
use crate::canonical::definition_digest;
use crate::{ApprovedTool, Definition};

/// The tools that differ, by the name that they have now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolsChanged {
    /// Tools that were not approved, with their definitions.
    pub added: BTreeMap<ToolName, Value>,
    /// Tools that were approved under another name: the same function, or the same definition but for the name.
    pub renamed: BTreeMap<ToolName, ToolChange>,
    /// Tools whose definition or function is another.
    pub changed: BTreeMap<ToolName, ToolChange>,
    /// Tools that are no longer there.
    pub removed: BTreeSet<ToolName>,
}

/// What differs in one tool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolChange {
    /// Its approved name, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<ToolName>,
    /// The function behind it, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<Changed<String>>,
    /// The digests of the definitions, where they differ; the new one is missing for a definition that has no canonical
    /// form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Changed<Option<Digest>>>,
    /// Each part of the definition that differs. Empty, with other digests, where the approved definition is not at hand.
    pub carriers: Vec<CarrierChange>,
    /// How many more differ.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl ToolsChanged {
    pub(super) fn between(
        approved: &BTreeMap<ToolName, ApprovedTool>,
        definitions: &BTreeMap<ToolName, Value>,
        present: &BTreeMap<ToolName, Definition>,
    ) -> Self {
        let mut tools = Self::default();
        let mut budget = Budget::default();
        let gone = Gone::of(approved, definitions, present);
        let mut renamed = BTreeSet::new();
        for (name, definition) in present {
            let old_name = match approved.get_key_value(name) {
                Some((name, _)) => Some(name),
                None => gone.find(definition, &renamed),
            };
            let Some((old_name, old)) = old_name.and_then(|name| approved.get_key_value(name)) else {
                tools.added.insert(name.clone(), definition.json.clone());
                continue;
            };
            let change = ToolChange::between(old, definitions.get(old_name), definition, &mut budget);
            if old_name != name {
                renamed.insert(old_name.clone());
                tools.renamed.insert(name.clone(), ToolChange { was: Some(old_name.clone()), ..change });
            } else if change.function.is_some() || change.sha256.is_some() {
                tools.changed.insert(name.clone(), change);
            }
        }
        let missing = approved.keys().filter(|name| !present.contains_key(*name) && !renamed.contains(*name));
        tools.removed = missing.cloned().collect();
        tools
    }

    /// Whether a client would see or call something that was not approved.
    pub(super) fn widen(&self) -> bool {
        !(self.added.is_empty() && self.renamed.is_empty() && self.changed.is_empty())
    }
}

impl ToolChange {
    fn between(old: &ApprovedTool, json: Option<&Value>, new: &Definition, budget: &mut Budget) -> Self {
        let digest = definition_digest(&new.json).ok();
        let sha256 = changed(Some(old.sha256), digest);
        let mut carriers = Carriers::new(budget);
        if let (Some(json), true) = (json, sha256.is_some()) {
            carriers.compare(json, &new.json);
        }
        let (carriers, more) = carriers.finish();
        Self { was: None, function: changed(old.function.clone(), new.function.clone()), sha256, carriers, more }
    }
}

/// The approved tools that are not there under their names.
struct Gone<'a> {
    by_function: BTreeMap<&'a str, &'a ToolName>,
    by_definition: BTreeMap<Digest, Vec<&'a ToolName>>,
}

impl<'a> Gone<'a> {
    fn of(
        approved: &'a BTreeMap<ToolName, ApprovedTool>,
        definitions: &BTreeMap<ToolName, Value>,
        present: &BTreeMap<ToolName, Definition>,
    ) -> Self {
        let mut gone = Self { by_function: BTreeMap::new(), by_definition: BTreeMap::new() };
        for (name, tool) in approved.iter().filter(|(name, _)| !present.contains_key(*name)) {
            gone.by_function.insert(&tool.function, name);
            if let Some(digest) = definitions.get(name).and_then(nameless) {
                gone.by_definition.entry(digest).or_default().push(name);
            }
        }
        gone
    }

    fn find(&self, definition: &Definition, taken: &BTreeSet<ToolName>) -> Option<&'a ToolName> {
        let free = |name: &&&'a ToolName| !taken.contains(**name);
        let by_function = self.by_function.get(definition.function.as_str()).filter(free);
        let by_definition =
            || nameless(&definition.json).and_then(|digest| self.by_definition.get(&digest)?.iter().find(free));
        by_function.or_else(by_definition).copied()
    }
}

/// The digest of a definition without its name.
fn nameless(definition: &Value) -> Option<Digest> {
    let mut members = definition.as_object()?.clone();
    members.shift_remove("name");
    definition_digest(&Value::Object(members)).ok()
}
