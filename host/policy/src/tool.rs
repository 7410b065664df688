//! A tool as clients see it, and the operator's settings for it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Limits, PluginName, ToolName};

/// What a client is told of a tool. Made from the component's types and doc comments alone, before anything of it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolDefinition {
    /// The name that clients call, unique in the host.
    pub name: ToolName,
    /// The doc comment of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema 2020-12 of the arguments, always of an object.
    pub input_schema: Map<String, Value>,
    /// JSON Schema 2020-12 of the structured result, always of an object.
    pub output_schema: Map<String, Value>,
    /// Hints on what the tool does, by the host and never by the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// The hints of MCP's `ToolAnnotations`. `None` leaves the reader to assume the worst, as the specification says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotations {
    /// The tool changes nothing outside its sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// The tool may destroy what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// A second call with the same arguments changes nothing further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// The tool reaches what is outside the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// What the operator's configuration says of one tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRules {
    /// The plugin that the tool belongs to.
    pub plugin: PluginName,
    /// The name that clients call.
    pub tool: ToolName,
    /// The limits of each call: the host's, narrowed or widened by the plugin's and the tool's own.
    pub limits: Limits,
}
