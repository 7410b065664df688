//! What the operator configured, resolved: no defaults are left to fill in.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use portcullis_policy::{Annotations, Confirm, Grants, Limits, PluginName, SecretSource};

/// One plugin of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// Its key.
    pub name: PluginName,
    /// The component's file.
    pub source: PathBuf,
    /// The same as the configuration writes it: what a lock says must not depend on the machine.
    pub written_source: String,
    /// What its tools' names begin with.
    pub prefix: String,
    /// The functions that are tools, by WIT name; none: all that can be.
    pub tools: Option<Vec<String>>,
    /// Whether it is served at all.
    pub enabled: bool,
    /// The limits of its calls.
    pub limits: Limits,
    /// What its calls may reach.
    pub grants: Arc<Grants>,
    /// Where the secrets of the configuration are, by name.
    pub secrets: Arc<BTreeMap<String, SecretSource>>,
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
    /// What the grants make of the tool, or stricter.
    pub annotations: Annotations,
    /// Whether a person is asked first.
    pub confirm: Option<Confirm>,
}

impl PluginSpec {
    /// One for tests.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: PluginName::new(name).expect("a name"),
            source: format!("{name}.wasm").into(),
            written_source: format!("{name}.wasm"),
            prefix: format!("{name}_"),
            tools: None,
            enabled: true,
            limits: Limits::default(),
            grants: Arc::default(),
            secrets: Arc::default(),
            settings: BTreeMap::new(),
        }
    }

    /// Whether a person is asked before a function runs, as it is configured.
    pub(crate) fn confirm_of(&self, function: &str) -> Option<Confirm> {
        self.settings.get(function).and_then(|own| own.confirm)
    }

    /// The limits that are configured for a function.
    pub(crate) fn limits_of(&self, function: &str) -> &Limits {
        self.settings.get(function).map_or(&self.limits, |own| &own.limits)
    }
}
