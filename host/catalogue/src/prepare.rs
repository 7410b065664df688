//! From a file to definitions: read once, hash, decode in the confined child, name the tools. Nothing is compiled. The
//! bytes go to whoever has code made of them, and are not kept here.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

use portcullis_policy::{Annotations, Digest, ToolDefinition, ToolName};
use portcullis_runtime::{
    Component, Plugin, Runtime,
    component::{Description, Function},
    wit::{self, Definitions},
};
use portcullis_trust::{Candidate, Definition, Finding, Severity, ToolNames, definition_digest, examine};

use crate::{PluginSpec, State};

/// A component that was read and decoded.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// What they say of themselves.
    pub description: Arc<Description>,
    /// The tools that come of it.
    pub definitions: Definitions,
}

/// A plugin as it is configured and lies there: what could be approved.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What was read.
    pub inspection: Inspection,
    /// What `approve` would approve.
    pub candidate: Arc<Candidate>,
    /// Why a rule refuses one of its definitions, or the host what it imports or needs. Then it can be looked at, and
    /// neither approved nor served.
    pub refused: Option<Refusal>,
    /// The digest of each definition.
    pub(crate) digests: BTreeMap<ToolName, Digest>,
}

/// Why a component cannot be approved as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: String,
    /// What to write into the configuration, where that mends it.
    pub mend: Option<String>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, mend: None }
    }
}

/// A component that cannot be a plugin as it lies there.
#[derive(Clone, Debug)]
pub struct Unfit {
    /// Missing, or broken with the reason.
    pub state: State,
    /// SHA-256 of the bytes, and their number, where they could be read.
    pub read: Option<(Digest, u64)>,
    /// The function that was chosen and is not there, where that is the reason.
    pub unknown: Option<String>,
}

impl Unfit {
    fn broken(reason: String, component: &Component) -> Self {
        let read = Some((component.digest(), component.size()));
        Self { state: State::Broken { reason, mend: None }, read, unknown: None }
    }
}

/// What was read of a plugin's file, and what came of it.
pub(crate) struct Looked {
    /// The bytes, where they are at hand.
    pub(crate) component: Option<Component>,
    pub(crate) examined: Result<Arc<Examined>, Unfit>,
}

impl Looked {
    /// Reads the plugin's component and makes of it what could be approved.
    pub(crate) async fn at(runtime: &Runtime, spec: &PluginSpec) -> Self {
        match read(&spec.source) {
            Ok(component) => {
                let examined = Examined::of(runtime, spec, &component).await.map(Arc::new);
                Self { component: Some(component), examined }
            }
            Err(unfit) => Self { component: None, examined: Err(unfit) },
        }
    }
}

/// The bytes of a plugin's file.
pub(crate) fn read(source: &Path) -> Result<Component, Unfit> {
    tokio::task::block_in_place(|| Component::read(source)).map_err(|error| {
        let reason = error.to_string();
        let missing = error.kind() == io::ErrorKind::NotFound;
        let state = if missing { State::Missing { reason } } else { State::Broken { reason, mend: None } };
        Unfit { state, read: None, unknown: None }
    })
}

/// Decodes `component`; its tools' names begin with `prefix`.
async fn inspect(
    runtime: &Runtime,
    component: &Component,
    prefix: &str,
    tools: Option<&[String]>,
) -> Result<Inspection, Unfit> {
    let description = match runtime.describe(component).await {
        Ok(description) => Arc::new(description),
        Err(error) => return Err(Unfit::broken(error.to_string(), component)),
    };
    match wit::definitions(&description, prefix, tools) {
        Ok(definitions) => {
            let (digest, size) = (component.digest(), component.size());
            Ok(Inspection { digest, size, description, definitions })
        }
        Err(error) => {
            let broken = Unfit::broken(error.to_string(), component);
            Err(Unfit { unknown: Some(error.choice), ..broken })
        }
    }
}

impl Examined {
    /// Reads the plugin's component and makes of it what could be approved.
    ///
    /// # Errors
    /// When it is missing or cannot be decoded, or has no function that was chosen.
    pub async fn read(runtime: &Runtime, spec: &PluginSpec) -> Result<Self, Unfit> {
        Self::of(runtime, spec, &read(&spec.source)?).await
    }

    async fn of(runtime: &Runtime, spec: &PluginSpec, component: &Component) -> Result<Self, Unfit> {
        let mut inspection = inspect(runtime, component, &spec.prefix, spec.tools.as_deref()).await?;
        let (mut tools, mut digests, mut refused) = (BTreeMap::new(), BTreeMap::new(), None);
        for tool in &mut inspection.definitions.tools {
            let Some(function) = inspection.description.functions.get(tool.function) else { continue };
            complete(spec, function, &mut tool.definition);
            let name = tool.definition.name.clone();
            let json = serde_json::to_value(&tool.definition).unwrap_or_default();
            let findings = examine(&spec.name, &name, &json, &ToolNames::default());
            let against = findings.into_iter().find(|finding| finding.severity == Severity::Reject);
            let against = against.map(|Finding { rule, place, detail, .. }| format!("{place}: {detail} ({rule})"));
            match (against, definition_digest(&json)) {
                (None, Ok(digest)) => _ = digests.insert(name.clone(), digest),
                (Some(why), _) => {
                    refused = refused.or(Some(format!("the definition of `{name}` is refused: {why}").into()));
                }
                (None, Err(why)) => {
                    refused = refused.or(Some(format!("the definition of `{name}` is refused: {why}").into()));
                }
            }
            tools.insert(name, Definition { function: function.full_name(), json });
        }
        let description = &inspection.description;
        if let Err(error) = Plugin::check(description, &spec.grants) {
            refused = Some(Refusal { reason: error.to_string(), mend: error.hint(&spec.name) });
        }
        let candidate = Candidate {
            plugin: spec.name.clone(),
            source: spec.written_source.clone(),
            sha256: component.digest(),
            size: component.size(),
            mapping: description.mapping,
            tools,
            imports: description.imports.iter().map(|import| import.name.clone()).collect::<BTreeSet<_>>(),
            grants: spec.grants.as_ref().clone(),
            limits: spec.limits.clone(),
            tool_limits: limits_that_differ(spec),
            confirm: spec.settings.iter().filter_map(|(name, own)| Some((name.clone(), own.confirm?))).collect(),
        };
        Ok(Self { inspection, candidate: Arc::new(candidate), refused, digests })
    }

    /// What the rules say, tool by tool, what is refused first; `names` are the tools of all plugins.
    pub fn findings(&self, names: &ToolNames) -> Vec<(ToolName, Finding)> {
        let candidate = &self.candidate;
        let of_tool = |(name, definition): (&ToolName, &Definition)| {
            let findings = examine(&candidate.plugin, name, &definition.json, names);
            findings.into_iter().map(|finding| (name.clone(), finding)).collect::<Vec<_>>()
        };
        candidate.tools.iter().flat_map(of_tool).collect()
    }
}

fn limits_that_differ(spec: &PluginSpec) -> BTreeMap<String, portcullis_policy::Limits> {
    let differing = spec.settings.iter().filter(|(_, own)| own.limits != spec.limits);
    differing.map(|(function, own)| (function.clone(), own.limits.clone())).collect()
}

/// Adds what the operator's settings and the grants say to what the component says.
fn complete(spec: &PluginSpec, function: &Function, definition: &mut ToolDefinition) {
    let own = spec.settings.get(&function.name);
    if definition.description.is_none() {
        let configured = own.and_then(|own| own.description.clone());
        // Many clients ask for a description of each tool; the name in WIT is all that is known.
        definition.description = configured.or_else(|| Some(format!("`{}`", function.full_name())));
    }
    definition.annotations = Some(own.map_or_else(|| Annotations::of(&spec.grants), |own| own.annotations));
}
