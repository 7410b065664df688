//! What of the machine around the sandboxes capabilities are made of, and on which terms a plugin gets them.

use std::{collections::BTreeMap, fmt, io, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc};

use portcullis_policy::{Access, Effective, PluginName, SecretSource};
use portcullis_store::Warehouse;

/// Looks the addresses of a host up, once for each request.
pub type Resolve = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// The machine, as far as capabilities open it.
#[derive(Clone)]
pub struct Surroundings {
    /// Where relative directories of grants begin: the folder of the configuration.
    pub base: PathBuf,
    /// Directories that are never granted, nor anything below or above them: the state directory.
    pub never: Vec<PathBuf>,
    /// How names become addresses.
    pub resolve: Resolve,
    /// The directories that this process can still open, with what it may do there, where it confined itself.
    pub reachable: Option<Vec<(PathBuf, Access)>>,
    /// Shared context. None where this process needs none.
    pub shared: Option<Arc<Warehouse>>,
}

impl Surroundings {
    /// This machine: its own resolver, and relative directories from `base`.
    pub fn of_this_machine(base: impl Into<PathBuf>, never: Vec<PathBuf>) -> Self {
        let resolve: Resolve = Arc::new(|host| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        });
        Self { base: base.into(), never, resolve, reachable: None, shared: None }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("base", &self.base).field("never", &self.never).finish_non_exhaustive()
    }
}

/// On which terms a plugin is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Which plugin.
    pub plugin: PluginName,
    /// Calls of it that compute at one time.
    pub concurrency: u32,
    /// What its calls may reach.
    pub grants: Effective,
    /// Where the secrets are that its grants name.
    pub secrets: Arc<BTreeMap<String, SecretSource>>,
}
