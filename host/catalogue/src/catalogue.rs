//! The life of the plugins: what is configured and approved becomes a snapshot, and code comes beside.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use portcullis_audit::{Event, Ledger, PluginState};
use portcullis_policy::PluginName;
use portcullis_runtime::{Component, LoadError, Plugin, Runtime, Terms};
use tokio::sync::watch;

use crate::{
    PluginSpec, Snapshot, StartError, State,
    admission::{Admission, Admitted},
    draft::{Draft, Entry},
    served::Served,
    snapshot::{Code, Trouble},
};

/// Files that are read at one time: each is held in memory whole.
const MAX_READS: usize = 4;

/// The register.
#[derive(Debug)]
pub struct Catalogue {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) admission: Admission,
    purpose: Purpose,
    /// Turns at reading files.
    pub(crate) reads: tokio::sync::Semaphore,
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
    changes: watch::Sender<u64>,
    /// The plugins of the current configuration; held while it changes.
    pub(crate) plugins: tokio::sync::Mutex<Plugins>,
    /// Why code did not come to be; it breaks the plugin in each snapshot after.
    failed: Mutex<HashMap<PluginName, LoadError>>,
}

/// What a register is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Calls: code is made as soon as it may run.
    Calls,
    /// Looking at what is there: nothing is compiled.
    Review,
}

/// The plugins of a configuration, as they stood when it was applied.
#[derive(Debug, Default)]
pub(crate) struct Plugins {
    pub(crate) entries: BTreeMap<PluginName, Entry>,
    trouble: Option<Trouble>,
}

impl Catalogue {
    /// An empty register.
    pub fn new(runtime: Arc<Runtime>, ledger: Arc<Ledger>, admission: Admission, purpose: Purpose) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            ledger,
            admission,
            purpose,
            reads: tokio::sync::Semaphore::new(MAX_READS),
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

    /// Replaces the configuration: reads lock and record, reads, hashes and decodes what the configuration names,
    /// publishes the definitions that were approved, and has code made beside. What did not change goes on as it is;
    /// calls in flight end where they began.
    ///
    /// # Errors
    /// Faults of the configuration as a whole. What is in order was published all the same, so that a change that goes
    /// wrong takes nothing away; a host that starts should not go on.
    pub async fn apply(self: &Arc<Self>, specs: Vec<PluginSpec>) -> Result<(), Vec<StartError>> {
        let mut plugins = self.plugins.lock().await;
        let admitted = self.admission.now();
        let entries = futures::future::join_all(specs.into_iter().map(|spec| {
            let before = plugins.entries.get(&spec.name).cloned();
            let catalogue = Arc::clone(self);
            let admitted: Admitted = admitted.clone();
            let plugin = spec.clone();
            // Tasks of their own: hashing is work for every processor.
            let task = tokio::spawn(async move { catalogue.admit(spec, &admitted, before).await });
            finished(plugin, task)
        }))
        .await;
        let before = std::mem::take(&mut plugins.entries);
        plugins.entries = entries.into_iter().map(|entry| (entry.spec.name.clone(), entry)).collect();
        let trouble = admitted.trouble();
        if let Some(trouble) = trouble.as_ref().filter(|trouble| plugins.trouble.as_ref() != Some(trouble)) {
            let Trouble { what, hint } = trouble;
            tracing::error!(reason = what, next = hint.as_deref().unwrap_or_default(), "the lock is not accepted");
            self.record(&Event::LockRefused { reason: what });
        }
        plugins.trouble = trouble;
        for name in before.keys().filter(|name| !plugins.entries.contains_key(*name)) {
            self.record(&Event::Plugin { plugin: name, digest: None, state: PluginState::Removed, reason: None });
        }
        let errors = self.publish(&plugins);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Waits until no plugin's code is being made any more.
    pub async fn settled(&self) {
        let waiting: Vec<_> = {
            let plugins = self.plugins.lock().await;
            plugins.entries.values().filter_map(|entry| Some(entry.served.as_ref()?.code.clone())).collect()
        };
        for mut code in waiting {
            // An error means that the plugin is gone, and its code with it.
            _ = code.wait_for(|code| !matches!(code, Code::Preparing)).await;
        }
    }

    /// Has the plugin's code made or mapped in a task of its own.
    pub(crate) fn make_code(
        self: &Arc<Self>,
        component: Component,
        description: Arc<portcullis_runtime::component::Description>,
        terms: Arc<Terms>,
    ) -> watch::Receiver<Code> {
        let (made, code) = watch::channel(Code::Preparing);
        if self.purpose == Purpose::Review {
            return code;
        }
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(&terms.plugin);
        let name = terms.plugin.clone();
        let runtime = Arc::clone(&self.runtime);
        let catalogue = Arc::downgrade(self);
        tokio::spawn(async move {
            let digest = component.digest();
            match Plugin::load(&runtime, &component, description, &terms).await {
                Ok(plugin) => {
                    made.send_replace(Code::Ready(plugin));
                    if let Some(catalogue) = Weak::upgrade(&catalogue) {
                        let state = PluginState::Loaded;
                        catalogue.record(&Event::Plugin { plugin: &name, digest: Some(digest), state, reason: None });
                    }
                }
                Err(error) => {
                    let next = error.hint(&name).unwrap_or_default();
                    tracing::warn!(plugin = %name, %digest, %error, next, "plugin broken");
                    if let Some(catalogue) = Weak::upgrade(&catalogue) {
                        let (state, reason) = (PluginState::Broken, error.to_string());
                        catalogue.record(&Event::Plugin {
                            plugin: &name,
                            digest: Some(digest),
                            state,
                            reason: Some(&reason),
                        });
                        catalogue.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), error);
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
    fn publish(&self, plugins: &Plugins) -> Vec<StartError> {
        let entries: Vec<_> = plugins.entries.values().collect();
        let Draft { tools, statuses, errors } = Draft::of(&entries, |served: &Served| self.failure(served));
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.store(Arc::new(Snapshot::new(generation, tools, statuses, plugins.trouble.clone())));
        self.changes.send_replace(generation);
        errors
    }

    /// Why the code of what is served did not come to be.
    fn failure(&self, served: &Served) -> Option<LoadError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get(&served.terms.plugin).cloned()
    }

    /// What happened to a plugin goes on whether or not it could be recorded: nothing of it runs by that.
    pub(crate) fn record(&self, event: &Event<'_>) {
        if let Err(error) = self.ledger.append(event) {
            tracing::error!(%error, "a change of a plugin's state is not in the audit log");
        }
    }
}

/// What came of looking at a plugin. One over which the host itself stumbled stays in the list, and nothing of it is
/// served.
async fn finished(spec: PluginSpec, task: tokio::task::JoinHandle<Entry>) -> Entry {
    task.await.unwrap_or_else(|error| {
        tracing::error!(plugin = %spec.name, %error, "the host failed while it looked at a plugin");
        let reason = "the host failed while it looked at it; the log says more".to_owned();
        let state = State::Broken { reason, mend: None };
        Entry { spec, examined: None, served: None, state, hint: None, stamp: None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L6: a plugin does not go from the list because the host stumbled.
    #[tokio::test]
    async fn a_plugin_that_the_host_failed_over_stays_in_the_list() {
        let failed = tokio::spawn(async { panic!("a fault of the host") });
        let entry = finished(PluginSpec::named("first"), failed).await;
        assert_eq!(entry.spec.name.as_str(), "first");
        assert!(matches!(entry.state, State::Broken { .. }) && entry.served.is_none());
    }
}
