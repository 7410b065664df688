//! A snapshot while it is put together: which tools there are, and what stands against them.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use portcullis_policy::{Digest, PluginName, ToolName, ToolRules};
use portcullis_runtime::LoadError;
use tokio::sync::watch;

use crate::{Inspection, PluginSpec, PluginStatus, State, Tool, prepare::complete, snapshot::Code};

/// A plugin of the configuration, and how far it came.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) spec: PluginSpec,
    pub(crate) prepared: Result<Prepared, (State, Option<Digest>, Option<u64>)>,
}

/// A plugin that was decoded; its code is there or on its way.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) inspection: Inspection,
    pub(crate) code: watch::Receiver<Code>,
}

impl Entry {
    pub(crate) fn digest(&self) -> Option<Digest> {
        match &self.prepared {
            Ok(prepared) => Some(prepared.inspection.component.digest()),
            Err((_, digest, _)) => *digest,
        }
    }
}

/// A configuration that no host should start with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A plugin's file is not there.
    #[error("the component of plugin `{plugin}` is not there: `{}`", source_path.display())]
    Missing {
        /// The plugin.
        plugin: PluginName,
        /// The file.
        source_path: PathBuf,
    },
    /// Two plugins have a tool of the same name.
    #[error("the plugins `{first}` and `{second}` both have a tool `{tool}`")]
    Collision {
        /// The tool's name.
        tool: ToolName,
        /// The plugin that comes first.
        first: PluginName,
        /// The other.
        second: PluginName,
    },
    /// A setting is for a function that is not there.
    #[error("the plugin `{plugin}` has no function `{function}`, which `[plugins.{plugin}.tool.{function}]` is about")]
    UnknownFunction {
        /// The plugin.
        plugin: PluginName,
        /// The function.
        function: String,
    },
}

impl StartError {
    /// The line or command that mends it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { plugin, .. } => {
                format!("build it with `portcullis build`, or correct `source` in `[plugins.{plugin}]`")
            }
            Self::Collision { second, .. } => format!("in `[plugins.{second}]`: prefix = \"{second}_\""),
            Self::UnknownFunction { plugin, .. } => format!("`portcullis inspect {plugin}` lists its functions"),
        }
    }
}

/// What the snapshot will hold.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) tools: Vec<Tool>,
    pub(crate) statuses: Vec<PluginStatus>,
    pub(crate) errors: Vec<StartError>,
    owners: HashMap<ToolName, PluginName>,
}

impl Draft {
    /// Adds a plugin; `failure` is why its code did not come to be.
    pub(crate) fn add(&mut self, entry: &Entry, failure: Option<&LoadError>) {
        let spec = &entry.spec;
        let mut status = PluginStatus {
            name: spec.name.clone(),
            source: spec.source.clone(),
            state: State::Loaded,
            digest: entry.digest(),
            size: None,
            tools: Vec::new(),
            left_out: Vec::new(),
            warnings: Vec::new(),
        };
        match (&entry.prepared, failure) {
            (Err((state, _, size)), _) => {
                if matches!(state, State::Missing { .. }) {
                    let (plugin, source_path) = (spec.name.clone(), spec.source.clone());
                    self.errors.push(StartError::Missing { plugin, source_path });
                }
                (status.state, status.size) = (state.clone(), *size);
            }
            (Ok(_), Some(failure)) => status.state = State::Broken { reason: failure.to_string() },
            (Ok(prepared), None) => self.add_tools(spec, prepared, &mut status),
        }
        self.statuses.push(status);
    }

    fn add_tools(&mut self, spec: &PluginSpec, prepared: &Prepared, status: &mut PluginStatus) {
        let Inspection { component, description, definitions } = &prepared.inspection;
        status.size = Some(component.size());
        status.warnings.clone_from(&description.warnings);
        status.left_out = definitions.left_out.iter().map(|f| (f.function.clone(), f.reason.clone())).collect();
        for function in spec.settings.keys() {
            if !description.functions.iter().any(|f| f.name == *function) {
                let (plugin, function) = (spec.name.clone(), function.clone());
                self.errors.push(StartError::UnknownFunction { plugin, function });
            }
        }
        for tool in &definitions.tools {
            let Some(function) = description.functions.get(tool.function) else {
                continue;
            };
            let definition = complete(spec, function, tool.definition.clone());
            let name = &definition.name;
            if let Some(first) = self.owners.get(name) {
                let (tool, first, second) = (name.clone(), first.clone(), spec.name.clone());
                self.errors.push(StartError::Collision { tool, first, second });
                continue;
            }
            self.owners.insert(name.clone(), spec.name.clone());
            status.tools.push(name.clone());
            let limits = spec.settings.get(&function.name).map_or(&spec.limits, |own| &own.limits).clone();
            let rules = ToolRules { plugin: spec.name.clone(), tool: name.clone(), limits };
            self.tools.push(Tool {
                definition: Arc::new(definition),
                rules: Arc::new(rules),
                function: tool.function,
                digest: component.digest(),
                code: prepared.code.clone(),
            });
        }
    }
}
