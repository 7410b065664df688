//! What is served of a plugin: the approved bytes, under the definitions that were stored at approval.

use std::{path::Path, sync::Arc};

use portcullis_policy::{Annotations, Digest, PluginName, ToolDefinition, ToolName};
use portcullis_runtime::{
    Component, Runtime, Terms,
    component::{Description, MAPPING_VERSION},
    wit,
};
use portcullis_trust::{Approval, ApprovedTool, Components, Finding, Severity, ToolNames, definition_digest, examine};
use tokio::sync::watch;

use crate::{
    PluginSpec,
    prepare::{self, Examined},
    snapshot::Code,
};

/// The generation of a plugin that runs.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) approval: Arc<Approval>,
    pub(crate) description: Arc<Description>,
    pub(crate) tools: Vec<ServedTool>,
    /// What the code was made for.
    pub(crate) terms: Arc<Terms>,
    pub(crate) code: watch::Receiver<Code>,
}

/// A tool of it.
#[derive(Clone, Debug)]
pub(crate) struct ServedTool {
    pub(crate) definition: Arc<ToolDefinition>,
    /// The function's position in the description, and its name in WIT.
    pub(crate) function: usize,
    pub(crate) name: String,
}

/// What was approved cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotServed {
    /// Another Portcullis has approved it.
    #[error(
        "it was approved under version {approved} of the mapping between WIT and JSON, this host has {MAPPING_VERSION}"
    )]
    Mapping {
        /// The version of the approval.
        approved: u32,
    },
    /// Its bytes are neither in the store nor at its source, or are not what they should be.
    #[error("pin_mismatch: the approved component {digest} cannot be had: {reason}")]
    Bytes {
        /// The digest that was approved.
        digest: Digest,
        /// What the store said.
        reason: String,
    },
    /// A definition is not in the store, or not what it should be.
    #[error("pin_mismatch: the approved definition of `{tool}` cannot be had: {reason}")]
    Definition {
        /// The tool.
        tool: ToolName,
        /// Why.
        reason: String,
    },
    /// The approved bytes cannot be decoded any more.
    #[error("the approved component cannot be decoded: {0}")]
    Decode(String),
}

/// The approved bytes: those that were just read where they are the same, or from the store, or read again: what has not
/// changed at its source was not read this time.
pub(crate) fn approved_bytes(
    store: Option<&Components>,
    approval: &Approval,
    read: Option<Component>,
    source: &Path,
) -> Result<Component, NotServed> {
    let digest = approval.sha256;
    let same = |component: &Component| component.digest() == digest;
    if let Some(component) = read.filter(same) {
        return Ok(component);
    }
    let reason = match store.map(|store| tokio::task::block_in_place(|| store.get(digest))) {
        // The store has verified them; what is compiled is verified here once more.
        Some(Ok(bytes)) => match Component::new(bytes) {
            component if same(&component) => return Ok(component),
            _ => "other bytes are there".to_owned(),
        },
        Some(Err(error)) => error.to_string(),
        None => "there is no store".to_owned(),
    };
    prepare::read(source).ok().filter(same).ok_or(NotServed::Bytes { digest, reason })
}

/// Decodes `component`, or takes the description of the generation before, where it is of the same bytes.
pub(crate) async fn description(
    runtime: &Runtime,
    component: &Component,
    examined: Option<&Examined>,
) -> Result<Arc<Description>, NotServed> {
    match examined.map(|examined| &examined.inspection) {
        Some(inspection) if inspection.digest == component.digest() => Ok(Arc::clone(&inspection.description)),
        _ => runtime.describe(component).await.map(Arc::new).map_err(|error| NotServed::Decode(error.to_string())),
    }
}

/// The tools of `approval` that are still chosen, under the definitions of the approval.
pub(crate) fn tools(
    store: Option<&Components>,
    approval: &Approval,
    description: &Description,
    spec: &PluginSpec,
    examined: Option<&Examined>,
) -> Result<Vec<ServedTool>, NotServed> {
    let mut tools = Vec::with_capacity(approval.tools.len());
    for (name, approved) in &approval.tools {
        let unfit = |reason: &str| NotServed::Definition { tool: name.clone(), reason: reason.to_owned() };
        let found = description.functions.iter().enumerate().find(|(_, f)| f.full_name() == approved.function);
        let (position, function) = found.ok_or_else(|| unfit("the component has no such function"))?;
        if !wit::is_chosen(function, spec.tools.as_deref()) {
            continue;
        }
        let definition = definition(store, (&spec.name, name), approved, examined).map_err(|reason| unfit(&reason))?;
        let definition = as_strict(definition, spec, &function.name);
        tools.push(ServedTool { definition: Arc::new(definition), function: position, name: function.name.clone() });
    }
    // In the component's order, as it was before anything was approved.
    tools.sort_by_key(|tool| tool.function);
    Ok(tools)
}

/// The definition with the hints that an operator has made stricter by hand: those hold at once, and wait for approval
/// all the same. What grants make stricter comes with their approval.
fn as_strict(mut definition: ToolDefinition, spec: &PluginSpec, function: &str) -> ToolDefinition {
    let Some(own) = spec.settings.get(function).map(|own| own.annotations) else { return definition };
    let derived = Annotations::of(&spec.grants);
    let approved = definition.annotations.unwrap_or_default();
    let hint = |of: fn(&Annotations) -> Option<bool>| {
        // No other hint than the grants' own can be milder than they are.
        if of(&own) == of(&derived) { of(&approved) } else { of(&own) }
    };
    definition.annotations = Some(Annotations {
        read_only_hint: hint(|hints| hints.read_only_hint),
        destructive_hint: hint(|hints| hints.destructive_hint),
        idempotent_hint: hint(|hints| hints.idempotent_hint),
        open_world_hint: hint(|hints| hints.open_world_hint),
    });
    definition
}

/// The definition that was approved: what lies at the source where it is the same, or from the store. The block of a lock
/// names it by digest, so that it may be another tool's, or break a rule: both are for [`examine`].
fn definition(
    store: Option<&Components>,
    (plugin, name): (&PluginName, &ToolName),
    approved: &ApprovedTool,
    examined: Option<&Examined>,
) -> Result<ToolDefinition, String> {
    let same = examined.filter(|examined| examined.digests.get(name) == Some(&approved.sha256));
    if let Some(present) = same.and_then(|examined| examined.candidate.tools.get(name)) {
        return serde_json::from_value(present.json.clone()).map_err(|error| error.to_string());
    }
    let store = store.ok_or("there is no store")?;
    let json = tokio::task::block_in_place(|| store.definition(approved.sha256)).map_err(|error| error.to_string())?;
    let digest = definition_digest(&json).map_err(|error| error.to_string())?;
    if digest != approved.sha256 {
        return Err("another definition is there".to_owned());
    }
    let findings = examine(plugin, name, &json, &ToolNames::default());
    if let Some(Finding { rule, place, detail, .. }) = findings.into_iter().find(|f| f.severity == Severity::Reject) {
        return Err(format!("it is refused: {place}: {detail} ({rule})"));
    }
    serde_json::from_value(json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(name: &str, definition: &Value) -> Result<ToolDefinition, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Components::open(folder.path()).expect("a store");
        let sha256 = store.put_definition(definition).expect("kept");
        let approved = ApprovedTool { function: "trap".to_owned(), sha256 };
        let (plugin, name) = (PluginName::new("o").expect("a name"), ToolName::new(name).expect("a name"));
        super::definition(Some(&store), (&plugin, &name), &approved, None)
    }

    fn print(description: &str) -> Value {
        let schema = json!({ "type": "object" });
        json!({ "name": "o_print", "description": description, "inputSchema": schema, "outputSchema": schema })
    }

    /// H2: a lock may name any definition by its digest.
    #[test]
    fn a_definition_is_served_under_its_own_name_alone() {
        let served = read("o_print", &print("Prints.")).expect("its own");
        assert_eq!(served.name.as_str(), "o_print");
        let error = read("o_harmless", &print("Prints.")).expect_err("another's");
        assert!(error.contains("o_harmless"), "{error}");
    }

    /// H2: what is in the store was put there by whoever could, and the rules hold of it too.
    #[test]
    fn a_definition_from_the_store_is_examined() {
        let error = read("o_print", &print("Prints.\u{202e}")).expect_err("a rule");
        assert!(error.starts_with("it is refused: $.description: "), "{error}");
    }
}
