//! A snapshot while it is put together: which tools there are, and what stands against them.

use std::{path::PathBuf, sync::Arc};

use portcullis_policy::{Digest, PluginName, ToolName, ToolRules, snake_case};
use portcullis_runtime::LoadError;
use portcullis_trust::{Collision, Folding, Owned, collisions};

use crate::{
    PluginSpec, PluginStatus, State, Tool,
    prepare::{Examined, Unfit},
    served::Served,
    stamp::Stamp,
};

/// A plugin of the configuration, and how far it came.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) spec: PluginSpec,
    /// What lies at its source; none of a disabled plugin, which nobody reads.
    pub(crate) examined: Option<Result<Arc<Examined>, Unfit>>,
    /// What runs.
    pub(crate) served: Option<Served>,
    pub(crate) state: State,
    /// The command that mends the lock, where that is what keeps it from running.
    pub(crate) hint: Option<String>,
    /// What was read; none where it has to be read again.
    pub(crate) stamp: Option<Stamp>,
}

impl Entry {
    /// SHA-256 and size of what lies at its source, where it could be read.
    pub(crate) fn read(&self) -> Option<(Digest, u64)> {
        match self.examined.as_ref()? {
            Ok(examined) => Some((examined.inspection.digest, examined.inspection.size)),
            Err(unfit) => unfit.read,
        }
    }

    /// The names of its tools: those that are served, or, of a plugin that waits for its first approval, those that would
    /// be. What only lies at the source of an approved plugin takes no name from anybody.
    pub(crate) fn names(&self) -> Vec<&ToolName> {
        match (&self.served, &self.examined) {
            (Some(served), _) => served.tools.iter().map(|tool| &tool.definition.name).collect(),
            (None, Some(Ok(examined))) if examined.refused.is_none() => examined.candidate.tools.keys().collect(),
            (None, _) => Vec::new(),
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
    /// Two plugins have tools whose names are taken for each other.
    #[error(transparent)]
    Collision(#[from] NameCollision),
    /// A setting is for a function that is not there.
    #[error("the plugin `{plugin}` has no function `{function}`, which `{setting}` is about")]
    UnknownFunction {
        /// The plugin.
        plugin: PluginName,
        /// The function.
        function: String,
        /// Where the configuration names it.
        setting: String,
    },
}

impl StartError {
    /// The line or command that mends it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { plugin, .. } => {
                format!("build it with `portcullis build`, or correct `source` in `[plugins.{plugin}]`")
            }
            Self::Collision(collision) => collision.hint(),
            Self::UnknownFunction { plugin, .. } => format!("`portcullis inspect {plugin}` lists its functions"),
        }
    }
}

/// Tools of two plugins whose names a model or a person would take for each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub struct NameCollision(pub(crate) Collision);

impl NameCollision {
    /// The hint renames the other one's tools, or the one's where `newcomer` holds of it alone: what was approved keeps
    /// its names, since other names are approved anew.
    pub(crate) fn renaming(mut collision: Collision, newcomer: impl Fn(&Owned) -> bool) -> Self {
        if newcomer(&collision.one) && !newcomer(&collision.other) {
            std::mem::swap(&mut collision.one, &mut collision.other);
        }
        Self(collision)
    }

    fn told(&self) -> String {
        let Collision { folding, one, other } = &self.0;
        let (first, second) = (&one.plugin, &other.plugin);
        let how = match folding {
            Folding::Equal => return format!("the plugins `{first}` and `{second}` both have a tool `{}`", one.tool),
            Folding::Case => "differ by case alone",
            Folding::Compatibility => "are the same in Unicode's form NFKC",
            Folding::Confusable => "look the same",
            Folding::Near => "differ by two characters at most",
        };
        format!("the tools `{}` of `{first}` and `{}` of `{second}` {how}", one.tool, other.tool)
    }

    /// The line that mends it.
    pub fn hint(&self) -> String {
        let plugin = &self.0.other.plugin;
        // The plugin's own name may be what collides.
        let prefix = if self.0.other.tool.as_str().starts_with(&format!("{}_", snake_case(plugin.as_str()))) {
            format!("{}_2_", snake_case(plugin.as_str()))
        } else {
            format!("{}_", snake_case(plugin.as_str()))
        };
        format!("in `[plugins.{plugin}]`: prefix = \"{prefix}\"")
    }

    /// The two plugins.
    pub(crate) fn plugins(&self) -> [&PluginName; 2] {
        [&self.0.one.plugin, &self.0.other.plugin]
    }
}

/// What the snapshot will hold.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) tools: Vec<Tool>,
    pub(crate) statuses: Vec<PluginStatus>,
    pub(crate) errors: Vec<StartError>,
}

impl Draft {
    /// Puts together what is served of `entries`, which are in the order of their names; `failure` is why a plugin's
    /// code did not come to be.
    pub(crate) fn of(entries: &[&Entry], failure: impl Fn(&Served) -> Option<LoadError>) -> Self {
        let mut draft = Self::default();
        let names: Vec<_> = entries.iter().map(|entry| (&entry.spec.name, entry.names())).collect();
        let all = collisions(names.iter().flat_map(|(plugin, tools)| tools.iter().map(move |tool| (*plugin, *tool))));
        let (refused, near): (Vec<_>, Vec<_>) = all.into_iter().partition(Collision::refused);
        let runs = |owned: &Owned| entries.iter().any(|e| e.spec.name == owned.plugin && e.served.is_some());
        // Of two that run and are taken for each other neither is served: nobody could say which one was meant.
        let running = refused.iter().filter(|collision| runs(&collision.one) && runs(&collision.other));
        let unserved: Vec<_> = running.flat_map(|collision| [&collision.one, &collision.other]).collect();
        for entry in entries {
            let failure = entry.served.as_ref().and_then(&failure);
            draft.add(entry, failure.as_ref(), &unserved);
        }
        for collision in near.into_iter().filter(|collision| collision.one.plugin != collision.other.plugin) {
            let collision = NameCollision(collision);
            for plugin in collision.plugins() {
                let status = draft.statuses.iter_mut().find(|status| status.name == *plugin);
                status.into_iter().for_each(|status| status.warnings.push(collision.to_string()));
            }
        }
        let waits = |owned: &Owned| !runs(owned);
        draft.errors.extend(refused.into_iter().map(|collision| NameCollision::renaming(collision, waits).into()));
        draft
    }

    fn add(&mut self, entry: &Entry, failure: Option<&LoadError>, unserved: &[&Owned]) {
        let Entry { spec, examined, served, state, hint, .. } = entry;
        let read = entry.read();
        let mut status = PluginStatus {
            name: spec.name.clone(),
            source: spec.source.clone(),
            state: state.clone(),
            digest: read.map(|(digest, _)| digest),
            served: None,
            size: read.map(|(_, size)| size),
            tools: Vec::new(),
            left_out: Vec::new(),
            warnings: Vec::new(),
            next: hint.clone(),
        };
        match examined {
            Some(Ok(examined)) => self.examined(spec, examined, &mut status),
            Some(Err(unfit)) => self.unfit(spec, unfit, served.is_some()),
            None => {}
        }
        match (served, failure) {
            (Some(_), Some(failure)) => {
                let mend = failure.hint(&spec.name);
                status.state = State::Broken { reason: failure.to_string(), mend };
            }
            (Some(served), None) => self.serve(spec, served, &mut status, unserved),
            (None, _) => {}
        }
        status.next = status.state.next(&spec.name, status.next.take());
        self.statuses.push(status);
    }

    fn examined(&mut self, spec: &PluginSpec, examined: &Examined, status: &mut PluginStatus) {
        let description = &examined.inspection.description;
        status.warnings.clone_from(&description.warnings);
        let left_out = &examined.inspection.definitions.left_out;
        status.left_out = left_out.iter().map(|f| (f.function.clone(), f.reason.clone())).collect();
        for function in spec.settings.keys().filter(|key| !description.functions.iter().any(|f| f.name == **key)) {
            let (plugin, function) = (spec.name.clone(), function.clone());
            let setting = format!("[plugins.{plugin}.tool.{function}]");
            self.errors.push(StartError::UnknownFunction { plugin, function, setting });
        }
    }

    fn unfit(&mut self, spec: &PluginSpec, unfit: &Unfit, is_served: bool) {
        let plugin = spec.name.clone();
        match (&unfit.state, &unfit.unknown) {
            // What was approved goes on from the store.
            (State::Missing { .. }, _) if !is_served => {
                self.errors.push(StartError::Missing { plugin, source_path: spec.source.clone() });
            }
            (_, Some(function)) => {
                let setting = format!("[plugins.{plugin}] tools");
                self.errors.push(StartError::UnknownFunction { plugin, function: function.clone(), setting });
            }
            _ => {}
        }
    }

    fn serve(&mut self, spec: &PluginSpec, served: &Served, status: &mut PluginStatus, unserved: &[&Owned]) {
        let approval = &served.approval;
        status.served = Some(approval.sha256);
        for tool in &served.tools {
            let name = &tool.definition.name;
            if unserved.iter().any(|owned| owned.plugin == spec.name && owned.tool == *name) {
                continue;
            }
            status.tools.push(name.clone());
            let approved = approval.tool_limits.get(&tool.name).unwrap_or(&approval.limits);
            let limits = spec.limits_of(&tool.name).min(approved);
            let grants = served.terms.grants.clone();
            let confirm = spec.confirm_of(&tool.name).max(approval.confirm.get(&tool.name).copied());
            let rules = ToolRules { plugin: spec.name.clone(), tool: name.clone(), limits, grants, confirm };
            self.tools.push(Tool {
                definition: Arc::clone(&tool.definition),
                rules: Arc::new(rules),
                function: tool.function,
                digest: approval.sha256,
                code: served.code.clone(),
            });
        }
    }
}
