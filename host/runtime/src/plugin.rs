//! A component held ready: compiled, checked and linked once, so that a call has nothing left to prepare.

use std::sync::Arc;

use portcullis_policy::Digest;
use tokio::sync::Semaphore;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::{
    capability,
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
    /// It states needs that nothing grants.
    #[error("it needs what is not granted: {}", needs.join(", "))]
    Needs {
        /// The needs, each as its author wrote it.
        needs: Vec<String>,
    },
    /// What was decoded is not what was compiled.
    #[error("its types are not what they were decoded as: {0}")]
    Mismatch(String),
    /// It does not link or fit into a sandbox.
    #[error("it does not fit into a sandbox: {0}")]
    Link(String),
}

impl Plugin {
    /// Whether what `description` imports and needs can be had at all. Nothing is compiled.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(description: &Description) -> Result<(), LoadError> {
        capability::check(description)
    }

    /// Makes `component` ready, as `description` describes it; at most `concurrency` calls of it compute at one time.
    ///
    /// # Errors
    /// When it imports or needs what it cannot get, does not compile, or is not what was decoded.
    pub async fn load(
        runtime: &Arc<Runtime>,
        component: &Component,
        description: Arc<Description>,
        concurrency: u32,
    ) -> Result<Self, LoadError> {
        capability::check(&description)?;
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
        let slots = Arc::new(Semaphore::new(concurrency as usize));
        let digest = component.digest();
        let loaded = Loaded { digest, exports, instance, slots, description };
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
