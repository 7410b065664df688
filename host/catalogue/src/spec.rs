//! What the operator configured, resolved: no defaults are left to fill in.

use std::{collections::BTreeMap, path::PathBuf};

use portcullis_policy::{Limits, PluginName};

/// One plugin of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// Its key.
    pub name: PluginName,
    /// The component's file.
    pub source: PathBuf,
    /// What its tools' names begin with.
    pub prefix: String,
    /// The functions that are tools, by WIT name; none: all that can be.
    pub tools: Option<Vec<String>>,
    /// Whether it is served at all.
    pub enabled: bool,
    /// The limits of its calls.
    pub limits: Limits,
    /// By function: what differs.
    pub settings: BTreeMap<String, ToolSpec>,
}

/// The operator's settings for one function.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// The limits of its calls.
    pub limits: Limits,
    /// A description, where the component has none.
    pub description: Option<String>,
}
