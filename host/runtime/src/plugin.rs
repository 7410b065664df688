//! A component held ready: compiled, checked and linked once, so that a call has nothing left to prepare.

use std::sync::Arc;

use portcullis_policy::{Digest, Grants, Need, PluginName};
use tokio::sync::Semaphore;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::{
    capability::{self, Granted, Terms, kv},
    component::{Description, Function},
    native,
    quantum::Pace,
    runtime::{Component, PrepareError, Runtime},
    sandbox::Sandbox,
    wit,
};

/// A component, ready to be called.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) loaded: Arc<Loaded>,
}

/// What all calls of a plugin share.
pub(crate) struct Loaded {
    digest: Digest,
    pub(crate) description: Arc<Description>,
    /// By position in the description; none for a function that is no tool.
    exports: Vec<Option<Export>>,
    pub(crate) instance: InstancePre<Sandbox>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) granted: Arc<Granted>,
}

/// A function that can be called.
pub(crate) struct Export {
    pub(crate) index: ComponentExportIndex,
    pub(crate) pace: Arc<Pace>,
}

/// A component could not be made ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It could not be compiled.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It imports what the host does not have.
    #[error("it imports what this host does not have: {}", imports.join(", "))]
    UnknownImports {
        /// The imports.
        imports: Vec<String>,
    },
    /// It imports what only a grant gives.
    #[error("it imports `{import}`, which nothing grants")]
    Ungranted {
        /// The import.
        import: String,
        /// What to write below `[plugins.NAME.grants]`.
        line: String,
    },
    /// It states needs that nothing grants.
    #[error("it needs what is not granted: {}", shown(needs))]
    Needs {
        /// The needs.
        needs: Vec<Need>,
    },
    /// What it states that it needs cannot be read.
    #[error("what it states that it needs cannot be read: {0}")]
    Requests(String),
    /// A directory that is granted cannot be given to it.
    #[error("the directory `{host}` of its grants cannot be given to it: {reason}")]
    Directory {
        /// The directory, as the configuration names it.
        host: String,
        /// Why.
        reason: String,
        /// What to write or to do instead.
        hint: String,
    },
    /// Shared context is granted, and this process has no store open.
    #[error("its grants of `kv` cannot be given to it: this process has opened no store")]
    NoStore,
    /// A secret that is granted cannot be had.
    #[error("the secret `{name}` of its grants cannot be had: {reason}")]
    Secret {
        /// Its name.
        name: String,
        /// Why; nothing of its value.
        reason: String,
        /// What to write or to do instead.
        hint: String,
    },
    /// What was decoded is not what was compiled.
    #[error("its types are not what they were decoded as: {0}")]
    Mismatch(String),
    /// It does not link or fit into a sandbox.
    #[error("it does not fit into a sandbox: {0}")]
    Link(String),
}

/// The needs in one line, with nothing in it that a terminal would obey.
fn shown(needs: &[Need]) -> String {
    let one = |need: &Need| format!("{} {} ({})", need.kind, need.what.escape_debug(), need.reason.escape_debug());
    needs.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl LoadError {
    /// What to write into the configuration, or to do, so that `plugin` can be loaded.
    pub fn hint(&self, plugin: &PluginName) -> Option<String> {
        let below = |lines: &[&str]| format!("in `[plugins.{plugin}.grants]`: {}", lines.join("; "));
        match self {
            Self::Ungranted { line, .. } => Some(below(&[line])),
            Self::Needs { needs } => Some(below(&needs.iter().map(|need| need.line.as_str()).collect::<Vec<_>>())),
            Self::Directory { hint, .. } | Self::Secret { hint, .. } => Some(hint.clone()),
            Self::NoStore => Some("a host opens its store when it starts: start it again".to_owned()),
            Self::Prepare(_) | Self::UnknownImports { .. } | Self::Requests(_) | Self::Mismatch(_) | Self::Link(_) => {
                None
            }
        }
    }
}

impl Plugin {
    /// Whether what `description` imports and needs can be had under `grants`. Nothing is compiled.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(description: &Description, grants: &Grants) -> Result<(), LoadError> {
        capability::check(description, grants)
    }

    /// Makes `component` ready, as `description` describes it, on `terms`: opens what they grant, once.
    ///
    /// # Errors
    /// When it imports or needs what it cannot get, does not compile, or is not what was decoded; when something that
    /// is granted cannot be opened, or shared context is granted and no store is open.
    pub async fn load(
        runtime: &Arc<Runtime>,
        component: &Component,
        description: Arc<Description>,
        terms: &Terms,
    ) -> Result<Self, LoadError> {
        let shared = kv::Shared::open(terms, component.digest(), &runtime.surroundings)?;
        Self::loaded(runtime, component, description, terms, shared.map(Arc::new)).await
    }

    /// Whether loading would succeed, for a process that runs no call of it: all of it but the store, which a running host
    /// owns.
    ///
    /// # Errors
    /// As for [`Plugin::load`].
    pub async fn rehearse(
        runtime: &Arc<Runtime>,
        component: &Component,
        description: Arc<Description>,
        terms: &Terms,
    ) -> Result<(), LoadError> {
        Self::loaded(runtime, component, description, terms, None).await.map(drop)
    }

    async fn loaded(
        runtime: &Arc<Runtime>,
        component: &Component,
        description: Arc<Description>,
        terms: &Terms,
        shared: Option<Arc<kv::Shared>>,
    ) -> Result<Self, LoadError> {
        capability::check(&description, terms.grants.configured())?;
        let granted = tokio::task::block_in_place(|| Granted::open(terms, shared, &runtime.surroundings))?;
        let native = runtime.native(component).await?;
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let code = tokio::task::block_in_place(|| native::load(&runtime.engine, &native)).map_err(link)?;
        wit::check(&description, &code, &runtime.engine).map_err(|error| LoadError::Mismatch(error.to_string()))?;
        let instance = runtime.linker.instantiate_pre(&code).map_err(link)?;
        let export = |function| {
            let index = wit::export_index(&description, function, &code)?;
            Some(Export { index, pace: Arc::default() })
        };
        let exports = (0..description.functions.len()).map(export).collect();
        let slots = Arc::new(Semaphore::new(terms.concurrency as usize));
        let digest = component.digest();
        let granted = Arc::new(granted);
        let loaded = Loaded { digest, exports, instance, slots, description, granted };
        Ok(Self { runtime: Arc::clone(runtime), loaded: Arc::new(loaded) })
    }

    /// The digest of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.loaded.digest
    }
}

impl Loaded {
    /// The function at this position of the description, with its export.
    pub(crate) fn function(&self, position: usize) -> Option<(&Function, &Export)> {
        self.description.functions.get(position).zip(self.exports.get(position)?.as_ref())
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("digest", &self.loaded.digest).finish_non_exhaustive()
    }
}
