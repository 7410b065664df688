//! The life of the plugins: what is configured becomes a snapshot, and code comes beside.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use portcullis_audit::{Event, Ledger, PluginState};
use portcullis_policy::{Digest, PluginName};
use portcullis_runtime::{LoadError, Plugin, Runtime};
use tokio::sync::watch;

use crate::{
    Inspection, PluginSpec, Snapshot, StartError, State,
    draft::{Draft, Entry, Prepared},
    prepare::inspect,
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
            // What failed is tried again: it may have been the machine's fault.
            same.then_some(prepared.code).filter(|code| !matches!(*code.borrow(), Code::Failed))
        });
        let code = kept.unwrap_or_else(|| self.make_code(&spec, &inspection));
        Entry { spec, prepared: Ok(Prepared { inspection, code }) }
    }

    /// Has the plugin's code made or mapped in a task of its own.
    fn make_code(self: &Arc<Self>, spec: &PluginSpec, inspection: &Inspection) -> watch::Receiver<Code> {
        let (made, code) = watch::channel(Code::Preparing);
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(&inspection.component.digest());
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
                    if let Some(catalogue) = Weak::upgrade(&catalogue) {
                        catalogue.record(&name, Some(digest), PluginState::Broken, Some(&error.to_string()));
                        catalogue.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, error);
                        let plugins = catalogue.plugins.lock().await;
                        _ = catalogue.publish(&plugins);
                    }
                    // Last: who waits for it finds the snapshot that says why.
                    made.send_replace(Code::Failed);
                }
            }
        });
        code
    }

    /// Makes a snapshot of `plugins` and tells of it.
    fn publish(&self, plugins: &BTreeMap<PluginName, Entry>) -> Vec<StartError> {
        let mut draft = Draft::default();
        for entry in plugins.values() {
            let failure = entry.digest().and_then(|digest| self.failure(digest));
            draft.add(entry, failure.as_ref());
        }
        let Draft { tools, statuses, errors, .. } = draft;
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.store(Arc::new(Snapshot::new(generation, tools, statuses)));
        self.changes.send_replace(generation);
        errors
    }

    /// Why code of these bytes did not come to be.
    fn failure(&self, digest: Digest) -> Option<LoadError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned()
    }

    fn record(&self, plugin: &PluginName, digest: Option<Digest>, state: PluginState, reason: Option<&str>) {
        if let Err(error) = self.ledger.append(&Event::Plugin { plugin, digest, state, reason }) {
            tracing::error!(%plugin, %error, "a change of a plugin's state is not in the audit log");
        }
    }
}
