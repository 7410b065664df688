//! What is served of a plugin: the approved bytes, under the definitions that were stored at approval.

use std::sync::Arc;

use portcullis_policy::{Digest, ToolDefinition, ToolName};
use portcullis_runtime::{
    Component, Runtime, Terms,
    component::{Description, MAPPING_VERSION},
    wit,
};
use portcullis_trust::{Approval, ApprovedTool, Components, definition_digest};
use tokio::sync::watch;

use crate::{PluginSpec, prepare::Examined, snapshot::Code};

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

/// The approved bytes: those that were read at the source where they are the same, or from the store.
pub(crate) fn approved_bytes(
    store: Option<&Components>,
    approval: &Approval,
    examined: Option<&Component>,
) -> Result<Component, NotServed> {
    let digest = approval.sha256;
    if let Some(component) = examined.filter(|component| component.digest() == digest) {
        return Ok(component.clone());
    }
    let missing = |reason: String| NotServed::Bytes { digest, reason };
    let store = store.ok_or_else(|| missing("there is no store".to_owned()))?;
    let bytes = tokio::task::block_in_place(|| store.get(digest)).map_err(|error| missing(error.to_string()))?;
    let component = Component::new(bytes);
    if component.digest() == digest { Ok(component) } else { Err(missing("other bytes are there".to_owned())) }
}

/// Decodes `component`, or takes the description of the generation before, where it is of the same bytes.
pub(crate) async fn description(
    runtime: &Runtime,
    component: &Component,
    examined: Option<&Examined>,
) -> Result<Arc<Description>, NotServed> {
    match examined.map(|examined| &examined.inspection) {
        Some(inspection) if inspection.component.digest() == component.digest() => {
            Ok(Arc::clone(&inspection.description))
        }
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
        let definition = definition(store, name, approved, examined).map_err(|reason| unfit(&reason))?;
        tools.push(ServedTool { definition: Arc::new(definition), function: position, name: function.name.clone() });
    }
    // In the component's order, as it was before anything was approved.
    tools.sort_by_key(|tool| tool.function);
    Ok(tools)
}

fn definition(
    store: Option<&Components>,
    name: &ToolName,
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
    serde_json::from_value(json).map_err(|error| error.to_string())
}
