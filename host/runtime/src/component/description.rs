//! The description of a component: what crosses from the confined process to the parent, and what a definition is made of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::types::{Key, TypeId, Types};

/// The version of the mapping between WIT and JSON, as `wit/README.md` defines it. A definition that was approved
/// under another one has to be approved again.
pub const MAPPING_VERSION: u32 = 1;

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Description {
    /// The version of the mapping that it was read for.
    pub mapping: u32,
    /// The types that the functions refer to.
    pub types: Types,
    /// The exported functions in the component's order, those that cannot be tools included.
    pub functions: Vec<Function>,
    /// The imports in the component's order.
    pub imports: Vec<Import>,
    /// What the custom section `portcullis:requests` holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Value>,
    /// What does not fit in the sections that describe it, for the operator to read.
    pub warnings: Vec<String>,
}

/// An exported function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// The full id of its interface (`docs:adder/add@0.1.0`); none for a function of the world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its name in WIT.
    pub name: String,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// Its parameters.
    pub params: Vec<Param>,
    /// The type of its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TypeId>,
    /// Why it cannot be a tool. Then it has neither parameters nor a result here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
}

impl Function {
    /// Its name with its interface, as people see it: `docs:adder/add@0.1.0.add`.
    pub fn full_name(&self) -> String {
        match &self.interface {
            Some(interface) => format!("{interface}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    pub(crate) name: Key,
    pub(crate) ty: TypeId,
}

/// An imported interface with the functions that the component takes from it, or an imported function by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The full id of the interface, or the function's name.
    pub name: String,
    /// The functions of the interface.
    pub functions: Vec<String>,
}

/// A description as the other process wrote it: that process has read hostile bytes, so nothing of it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    mapping: u32,
    types: Types,
    functions: Vec<Function>,
    imports: Vec<Import>,
    #[serde(default)]
    requests: Option<Value>,
    warnings: Vec<String>,
}

/// A description that no honest process writes.
#[derive(Debug, thiserror::Error)]
enum Inconsistent {
    #[error("the mapping has version {found}, expected {MAPPING_VERSION}")]
    Mapping { found: u32 },
    #[error("`{function}` refers to a type that is not there")]
    Dangling { function: String },
}

impl TryFrom<Unchecked> for Description {
    type Error = Inconsistent;
    fn try_from(read: Unchecked) -> Result<Self, Inconsistent> {
        if read.mapping != MAPPING_VERSION {
            return Err(Inconsistent::Mapping { found: read.mapping });
        }
        for function in &read.functions {
            let mut referred = function.params.iter().map(|p| p.ty).chain(function.result);
            if !referred.all(|id| read.types.contains(id)) {
                return Err(Inconsistent::Dangling { function: function.name.escape_debug().take(100).collect() });
            }
        }
        Ok(Self {
            mapping: read.mapping,
            types: read.types,
            functions: read.functions,
            imports: read.imports,
            requests: read.requests,
            warnings: read.warnings,
        })
    }
}
