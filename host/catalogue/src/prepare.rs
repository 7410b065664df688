//! From a file to definitions: read once, hash, decode in the confined child, name the tools. Nothing is compiled.

use std::{io, path::Path, sync::Arc};

use portcullis_policy::{Annotations, ToolDefinition};
use portcullis_runtime::{
    Component, Runtime,
    component::{Description, Function},
    wit::{self, Definitions},
};

use crate::{PluginSpec, State};

/// A component that was read and decoded.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The bytes.
    pub component: Component,
    /// What they say of themselves.
    pub description: Arc<Description>,
    /// The tools that come of it.
    pub definitions: Definitions,
}

/// Reads and decodes the component at `source`; its tools' names begin with `prefix`.
///
/// # Errors
/// The state of a plugin that is no better: missing, or broken with the reason. What could be read comes with it.
pub async fn inspect(
    runtime: &Runtime,
    source: &Path,
    prefix: &str,
    tools: Option<&[String]>,
) -> Result<Inspection, (State, Option<Component>)> {
    let component = tokio::task::block_in_place(|| Component::read(source)).map_err(|error| {
        let reason = error.to_string();
        let missing = error.kind() == io::ErrorKind::NotFound;
        (if missing { State::Missing { reason } } else { State::Broken { reason } }, None)
    })?;
    let broken = |reason: String, component: &Component| (State::Broken { reason }, Some(component.clone()));
    let description = match runtime.describe(&component).await {
        Ok(description) => Arc::new(description),
        Err(error) => return Err(broken(error.to_string(), &component)),
    };
    match wit::definitions(&description, prefix, tools) {
        Ok(definitions) => Ok(Inspection { component, description, definitions }),
        Err(error) => Err(broken(error.to_string(), &component)),
    }
}

/// Adds what the operator's settings and the grants say to what the component says.
///
/// Without any grant a sandbox reaches nothing, so that every tool is read-only in a closed world.
pub(crate) fn complete(spec: &PluginSpec, function: &Function, mut definition: ToolDefinition) -> ToolDefinition {
    if definition.description.is_none() {
        let configured = spec.settings.get(&function.name).and_then(|settings| settings.description.clone());
        // Many clients ask for a description of each tool; the name in WIT is all that is known.
        definition.description = configured.or_else(|| Some(format!("`{}`", function.full_name())));
    }
    definition.annotations = Some(Annotations {
        read_only_hint: Some(true),
        destructive_hint: Some(false),
        idempotent_hint: None,
        open_world_hint: Some(false),
    });
    definition
}
