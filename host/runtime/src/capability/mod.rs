//! What a guest can reach beyond its own memory: a folder for each interface.
//!
//! Three moments. Before a component is compiled, [`check`] sees whether what it imports is there and what it states
//! that it needs is granted. When it is loaded, [`Granted::open`] opens what its grants name, once. For each call, the
//! folders make a context of that, which a sandbox holds. A folder's methods read: check, record, act.

pub(crate) mod call;
pub(crate) mod clocks;
pub(crate) mod config;
pub(crate) mod env;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod keyvalue;
pub(crate) mod kv;
pub(crate) mod logging;
mod surroundings;

use std::sync::Arc;

use portcullis_policy::{Grants, Needs};
use wasmtime_wasi_config::WasiConfigVariables;

pub use self::surroundings::{Resolve, Surroundings, Terms};
use crate::{component::Description, plugin::LoadError};

/// Packages of WASI that link for everyone, inert without a grant: language runtimes import what programs never use.
const WASI: [&str; 7] =
    ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:http", "wasi:io", "wasi:random", "wasi:sockets"];
/// Interfaces beyond those that link for everyone, with the version that their names have, or begin with where it ends in
/// a dot.
const MORE: [(&str, &str); 2] = [("portcullis:host/call", "0.1."), ("wasi:logging/logging", "0.1.0-draft")];
/// Settings and shared context, which no runtime imports by itself: refused without a grant.
const SETTINGS: [(&str, &str); 1] = [("wasi:config/store", "0.2.0-rc.1")];
const SHARED: [(&str, &str); 7] = [
    ("portcullis:host/kv", "0.1."),
    ("wasi:keyvalue/store", "0.2.0-draft2"),
    ("wasi:keyvalue/atomics", "0.2.0-draft2"),
    ("wasi:keyvalue/batch", "0.2.0-draft2"),
    ("wasi:keyvalue/store", "0.2.0-draft"),
    ("wasi:keyvalue/atomics", "0.2.0-draft"),
    ("wasi:keyvalue/batch", "0.2.0-draft"),
];

/// Refuses a component that could not work under `grants`, with what it lacks.
pub(crate) fn check(description: &Description, grants: &Grants) -> Result<(), LoadError> {
    let unknown = description.imports.iter().filter(|import| !is_known(&import.name));
    let imports: Vec<_> = unknown.map(|import| import.name.clone()).collect();
    if !imports.is_empty() {
        return Err(LoadError::UnknownImports { imports });
    }
    // First what the author states, since that has the lines to write, all of them.
    if let Some(stated) = &description.requests {
        let needs: Needs = match serde_json::from_value(stated.clone()) {
            Ok(needs) => needs,
            Err(error) => return Err(LoadError::Requests(error.to_string())),
        };
        let needs = needs.without_grant(grants);
        if !needs.is_empty() {
            return Err(LoadError::Needs { needs });
        }
    }
    let line = "kv = [{ bucket = \"BUCKET\", prefix = \"PREFIX\", access = \"read-write\" }]";
    let granted: [(&[_], _, _); 2] =
        [(&SETTINGS, grants.env().is_empty(), "env = { NAME = \"VALUE\" }"), (&SHARED, grants.kv().is_empty(), line)];
    for (interfaces, is_empty, line) in granted {
        let import = description.imports.iter().find(|import| is_among(interfaces, &import.name));
        if let Some(import) = import.filter(|_| is_empty) {
            return Err(LoadError::Ungranted { import: import.name.clone(), line: line.into() });
        }
    }
    Ok(())
}

/// Whether the host has an interface of this name, in a version that is compatible.
fn is_known(import: &str) -> bool {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let package = interface.split_once('/').map_or(interface, |(package, _)| package);
    let among = |interfaces| is_among(interfaces, import);
    (WASI.contains(&package) && version.starts_with("0.2.")) || among(&MORE) || among(&SETTINGS) || among(&SHARED)
}

fn is_among(interfaces: &[(&str, &str)], import: &str) -> bool {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let fits = |ours: &str| if ours.ends_with('.') { version.starts_with(ours) } else { version == ours };
    interfaces.iter().any(|(name, ours)| *name == interface && fits(ours))
}

/// What the grants of one plugin opened, once, when it was loaded. Calls share it.
pub(crate) struct Granted {
    pub(crate) variables: Arc<env::Variables>,
    pub(crate) settings: Arc<WasiConfigVariables>,
    pub(crate) directories: Arc<files::Directories>,
    pub(crate) egress: Arc<http::Egress>,
    /// None without a grant of `kv`, and where nothing is called.
    pub(crate) shared: Option<Arc<kv::Shared>>,
}

impl Granted {
    /// Opens what `terms` grant, beside the part of the store that they do.
    ///
    /// # Errors
    /// When a directory cannot be opened or must not be granted, or a secret cannot be had.
    pub(crate) fn open(
        terms: &Terms,
        shared: Option<Arc<kv::Shared>>,
        surroundings: &Surroundings,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            variables: Arc::new(env::Variables::of(&terms.grants)),
            settings: Arc::new(config::variables(&terms.grants)),
            directories: Arc::new(files::Directories::open(terms, surroundings)?),
            egress: Arc::new(http::Egress::open(terms, surroundings)?),
            shared,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_known_by_package_and_version() {
        for known in [
            "wasi:io/streams@0.2.0",
            "wasi:http/outgoing-handler@0.2.6",
            "portcullis:host/call@0.1.0",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:logging/logging@0.1.0-draft",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "portcullis:host/kv@0.1.0",
        ] {
            assert!(is_known(known), "{known}");
        }
        for unknown in [
            "wasi:io/streams@0.3.0",
            "wasi:keyvalue/store@0.2.0-draft3",
            "wasi:keyvalue/watcher@0.2.0-draft2",
            "wasi:config/store@0.2.0-rc.10",
            "wasi:config/runtime@0.2.0-draft",
            "portcullis:host/kv@0.2.0",
            "acme:unknown/thing",
            "log",
            "",
        ] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
