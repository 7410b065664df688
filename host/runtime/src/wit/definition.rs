//! From a component's description to the definitions of its tools.

use portcullis_policy::{ToolDefinition, ToolName};

use super::naming::{InterfaceId, tool_names};
use super::schema::{input_schema, output_schema};
use crate::component::{Description, Function};

/// Deepest nesting of a definition in JSON: deeper ones are refused where definitions are approved (THREATS.md, P5).
const MAX_DEPTH: usize = 32;
/// Largest definition in bytes of JSON. A model reads it whole; the largest of 755 real tools has some tens of KiB.
pub const MAX_DEFINITION: usize = 256 << 10;
/// Most bytes of all definitions of a component together: each list of tools carries them.
pub const MAX_DEFINITIONS: usize = 4 << 20;

/// The tools of a component, and what cannot be one.
#[derive(Clone, Debug, PartialEq)]
pub struct Definitions {
    /// In the order of the component's exports.
    pub tools: Vec<ToolEntry>,
    /// The functions that were chosen, or all, that cannot be tools.
    pub left_out: Vec<LeftOut>,
}

/// A tool and the function behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolEntry {
    /// The position of the function in the description.
    pub function: usize,
    /// What clients are told.
    pub definition: ToolDefinition,
}

/// A function that is no tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The full name of the function.
    pub function: String,
    /// Why.
    pub reason: String,
}

/// A choice of functions names one that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the component exports no function `{choice}`, expected one of: {}", .known.join(", "))]
pub struct UnknownChoice {
    /// What was chosen.
    pub choice: String,
    /// What there is.
    pub known: Vec<String>,
}

/// Makes the definitions of the tools that `prefix` begins the names of.
///
/// `chosen` names functions as WIT does, alone (`get-weather`) or with their interface (`forecast.get-weather`);
/// without it every function that can be a tool becomes one.
///
/// # Errors
/// When a choice names no exported function.
pub fn definitions(
    description: &Description,
    prefix: &str,
    chosen: Option<&[String]>,
) -> Result<Definitions, UnknownChoice> {
    if let Some(chosen) = chosen {
        for choice in chosen {
            if !description.functions.iter().any(|f| is_called(f, choice)) {
                return Err(UnknownChoice {
                    choice: choice.clone(),
                    known: description.functions.iter().map(chosen_by).collect(),
                });
            }
        }
    }
    let mut names = tool_names(prefix, description.functions.iter().filter(|f| f.obstacle.is_none())).into_iter();
    let mut made = Definitions { tools: Vec::new(), left_out: Vec::new() };
    let mut total: usize = 0;
    for (position, function) in description.functions.iter().enumerate() {
        let name = match &function.obstacle {
            Some(obstacle) => Err(obstacle.clone()),
            None => names.next().unwrap_or_else(|| Err("it has no name".to_owned())),
        };
        if !is_chosen(function, chosen) {
            continue;
        }
        let entry = name.and_then(|name| define(description, function, name, &mut total));
        match entry {
            Ok(definition) => made.tools.push(ToolEntry { function: position, definition }),
            Err(reason) => made.left_out.push(LeftOut { function: function.full_name(), reason }),
        }
    }
    Ok(made)
}

fn define(
    description: &Description,
    function: &Function,
    name: String,
    total: &mut usize,
) -> Result<ToolDefinition, String> {
    let definition = ToolDefinition {
        name: ToolName::new(name).map_err(|error| error.to_string())?,
        description: function.docs.clone(),
        input_schema: input_schema(&description.types, function),
        output_schema: output_schema(&description.types, function),
        annotations: None,
    };
    let json = serde_json::to_value(&definition).map_err(|error| error.to_string())?;
    let depth = depth(&json);
    if depth > MAX_DEPTH {
        return Err(format!("its definition is nested {depth} deep in JSON, more than {MAX_DEPTH}"));
    }
    let size = json.to_string().len();
    if size > MAX_DEFINITION {
        return Err(format!("its definition has {size} bytes of JSON, more than {MAX_DEFINITION}"));
    }
    let sum = total.saturating_add(size);
    if sum > MAX_DEFINITIONS {
        return Err(format!(
            "the definitions before it and its own have {sum} bytes of JSON, more than {MAX_DEFINITIONS}"
        ));
    }
    *total = sum;
    Ok(definition)
}

/// Levels of arrays and objects. The recursion is bounded by the nesting of types.
fn depth(value: &serde_json::Value) -> usize {
    let inner = match value {
        serde_json::Value::Array(items) => items.iter().map(depth).max(),
        serde_json::Value::Object(fields) => fields.values().map(depth).max(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => return 0,
    };
    inner.unwrap_or(0).saturating_add(1)
}

/// Whether a choice of functions names this one.
pub fn is_chosen(function: &Function, chosen: Option<&[String]>) -> bool {
    chosen.is_none_or(|chosen| chosen.iter().any(|choice| is_called(function, choice)))
}

fn is_called(function: &Function, choice: &str) -> bool {
    let Some(interface) = choice.strip_suffix(&function.name) else {
        return false;
    };
    let Some(interface) = interface.strip_suffix('.') else {
        return interface.is_empty();
    };
    function.interface.as_deref().is_some_and(|id| id == interface || InterfaceId::of(id).interface == interface)
}

/// How an operator chooses this function.
fn chosen_by(function: &Function) -> String {
    match &function.interface {
        Some(id) => format!("{}.{}", InterfaceId::of(id).interface, function.name),
        None => function.name.clone(),
    }
}
