//! The life of the plugins: what is configured becomes a snapshot, and code comes beside.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use portcullis_audit::{Event, Ledger, PluginState};
use portcullis_policy::{Digest, PluginName, ToolName, ToolRules};
use portcullis_runtime::{LoadError, Plugin, Runtime};
use tokio::sync::watch;

use crate::{
    Inspection, PluginSpec, PluginStatus, Snapshot, State, Tool,
    prepare::{complete, inspect},
    snapshot::Code,
};

/// The register.
#[derive(Debug)]
pub struct Catalogue {
    runtime: Arc<Runtime>,
    ledger: Arc<Ledger>,
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
    changes: watch::Sender<u64>,
    /// The plugins of the current configuration; held while it changes.
    plugins: tokio::sync::Mutex<BTreeMap<PluginName, Entry>>,
    /// Code that did not come to be, by digest; it breaks the plugin in each snapshot after.
    failed: Mutex<HashMap<Digest, LoadError>>,
}

#[derive(Clone, Debug)]
struct Entry {
    spec: PluginSpec,
    prepared: Result<Prepared, (State, Option<Digest>, Option<u64>)>,
}

#[derive(Clone, Debug)]
struct Prepared {
    inspection: Inspection,
    code: watch::Receiver<Code>,
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

impl Catalogue {
    /// An empty register.
    pub fn new(runtime: Arc<Runtime>, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            ledger,
            current: ArcSwap::default(),
            generation: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            plugins: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// What is served now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Tells of each new generation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The workshop that the plugins run in.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Replaces the configuration: reads, hashes and decodes what it names, publishes the definitions, and has code
    /// made beside. What did not change goes on as it is; calls in flight end where they began.
    ///
    /// # Errors
    /// Faults of the configuration as a whole. What is in order was published all the same, so that a change that goes
    /// wrong takes nothing away; a host that starts should not go on.
    pub async fn apply(self: &Arc<Self>, specs: Vec<PluginSpec>) -> Result<(), Vec<StartError>> {
        let mut plugins = self.plugins.lock().await;
        let entries = futures::future::join_all(specs.into_iter().map(|spec| {
            let before = plugins.get(&spec.name).cloned();
            let catalogue = Arc::clone(self);
            // Tasks of their own: hashing is work for every processor.
            let task = tokio::spawn(async move { catalogue.entry(spec, before).await });
            async move { task.await.ok() }
        }))
        .await;
        let before = std::mem::take(&mut *plugins);
        *plugins = entries.into_iter().flatten().map(|entry| (entry.spec.name.clone(), entry)).collect();
        for name in before.keys().filter(|name| !plugins.contains_key(*name)) {
            self.record(name, None, PluginState::Removed, None);
        }
        let errors = self.publish(&plugins);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Waits until no plugin's code is being made any more.
    pub async fn settled(&self) {
        let waiting: Vec<_> = {
            let plugins = self.plugins.lock().await;
            plugins.values().filter_map(|entry| Some(entry.prepared.as_ref().ok()?.code.clone())).collect()
        };
        for mut code in waiting {
            // An error means that the plugin is gone, and its code with it.
            _ = code.wait_for(|code| !matches!(code, Code::Preparing)).await;
        }
    }

    async fn entry(self: Arc<Self>, spec: PluginSpec, before: Option<Entry>) -> Entry {
        if !spec.enabled {
            return Entry { spec, prepared: Err((State::Disabled, None, None)) };
        }
        let inspection = match inspect(&self.runtime, &spec.source, &spec.prefix, spec.tools.as_deref()).await {
            Ok(inspection) => inspection,
            Err((state, component)) => {
                let (digest, size) = (component.as_ref().map(|c| c.digest()), component.as_ref().map(|c| c.size()));
                tracing::warn!(plugin = %spec.name, source = %spec.source.display(), reason = state.reason(), "plugin {}", state.as_str());
                self.record(&spec.name, digest, PluginState::Broken, state.reason());
                return Entry { spec, prepared: Err((state, digest, size)) };
            }
        };
        let kept = before.and_then(|before| {
            let same = before.spec.limits.concurrency == spec.limits.concurrency;
            let prepared = before.prepared.ok()?;
            let same = same && prepared.inspection.component.digest() == inspection.component.digest();
            same.then_some(prepared.code)
        });
        let code = kept.unwrap_or_else(|| self.make_code(&spec, &inspection));
        Entry { spec, prepared: Ok(Prepared { inspection, code }) }
    }

    /// Has the plugin's code made or mapped in a task of its own.
    fn make_code(self: &Arc<Self>, spec: &PluginSpec, inspection: &Inspection) -> watch::Receiver<Code> {
        let (made, code) = watch::channel(Code::Preparing);
        let (name, concurrency) = (spec.name.clone(), spec.limits.concurrency);
        let Inspection { component, description, .. } = inspection.clone();
        let runtime = Arc::clone(&self.runtime);
        let catalogue = Arc::downgrade(self);
        tokio::spawn(async move {
            let digest = component.digest();
            match Plugin::load(&runtime, &component, description, concurrency).await {
                Ok(plugin) => {
                    made.send_replace(Code::Ready(plugin));
                    if let Some(catalogue) = Weak::upgrade(&catalogue) {
                        catalogue.record(&name, Some(digest), PluginState::Loaded, None);
                    }
                }
                Err(error) => {
                    tracing::warn!(plugin = %name, %digest, %error, "plugin broken");
                    made.send_replace(Code::Failed);
                    if let Some(catalogue) = Weak::upgrade(&catalogue) {
                        catalogue.record(&name, Some(digest), PluginState::Broken, Some(&error.to_string()));
                        catalogue.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, error);
                        let plugins = catalogue.plugins.lock().await;
                        _ = catalogue.publish(&plugins);
                    }
                }
            }
        });
        code
    }

    /// Makes a snapshot of `plugins` and tells of it.
    fn publish(&self, plugins: &BTreeMap<PluginName, Entry>) -> Vec<StartError> {
        let mut errors = Vec::new();
        let mut tools: Vec<Tool> = Vec::new();
        let mut owners: HashMap<ToolName, PluginName> = HashMap::new();
        let mut statuses = Vec::new();
        for (name, entry) in plugins {
            let spec = &entry.spec;
            let mut status = PluginStatus {
                name: name.clone(),
                source: spec.source.clone(),
                state: State::Loaded,
                digest: None,
                size: None,
                tools: Vec::new(),
                left_out: Vec::new(),
                warnings: Vec::new(),
            };
            match &entry.prepared {
                Err((state, digest, size)) => {
                    if matches!(state, State::Missing { .. }) {
                        errors.push(StartError::Missing { plugin: name.clone(), source_path: spec.source.clone() });
                    }
                    (status.state, status.digest, status.size) = (state.clone(), *digest, *size);
                }
                Ok(prepared) => {
                    let Inspection { component, description, definitions } = &prepared.inspection;
                    let digest = component.digest();
                    (status.digest, status.size) = (Some(digest), Some(component.size()));
                    status.warnings.clone_from(&description.warnings);
                    status.left_out =
                        definitions.left_out.iter().map(|f| (f.function.clone(), f.reason.clone())).collect();
                    for function in spec.settings.keys() {
                        if !description.functions.iter().any(|f| f.name == *function) {
                            errors.push(StartError::UnknownFunction {
                                plugin: name.clone(),
                                function: function.clone(),
                            });
                        }
                    }
                    let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
                    if let Some(error) = failed {
                        status.state = State::Broken { reason: error.to_string() };
                    } else {
                        for tool in &definitions.tools {
                            let Some(function) = description.functions.get(tool.function) else { continue };
                            let definition = complete(spec, function, tool.definition.clone());
                            if let Some(first) = owners.get(&definition.name) {
                                errors.push(StartError::Collision {
                                    tool: definition.name.clone(),
                                    first: first.clone(),
                                    second: name.clone(),
                                });
                                continue;
                            }
                            owners.insert(definition.name.clone(), name.clone());
                            status.tools.push(definition.name.clone());
                            let limits = spec.settings.get(&function.name).map_or(&spec.limits, |own| &own.limits);
                            let rules = ToolRules {
                                plugin: name.clone(),
                                tool: definition.name.clone(),
                                limits: limits.clone(),
                            };
                            tools.push(Tool {
                                definition: Arc::new(definition),
                                rules: Arc::new(rules),
                                function: tool.function,
                                digest,
                                code: prepared.code.clone(),
                            });
                        }
                    }
                }
            }
            statuses.push(status);
        }
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.store(Arc::new(Snapshot::new(generation, tools, statuses)));
        self.changes.send_replace(generation);
        errors
    }

    fn record(&self, plugin: &PluginName, digest: Option<Digest>, state: PluginState, reason: Option<&str>) {
        if let Err(error) = self.ledger.append(&Event::Plugin { plugin, digest, state, reason }) {
            tracing::error!(%plugin, %error, "a change of a plugin's state is not in the audit log");
        }
    }
}
