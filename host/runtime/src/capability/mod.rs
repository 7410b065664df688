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
/// Interfaces beyond those that link for everyone, with the version that their names begin with.
const MORE: [(&str, &str); 2] = [("portcullis:host/call", "0.1."), ("wasi:logging/logging", "0.1.0-draft")];
/// Interfaces that no runtime imports by itself, with the version that their names begin with: refused without a grant.
const GRANTED: [(&str, &str); 1] = [("wasi:config/store", "0.2.0-rc.1")];

/// Refuses a component that could not work under `grants`, with what it lacks.
pub(crate) fn check(description: &Description, grants: &Grants) -> Result<(), LoadError> {
    let unknown = description.imports.iter().filter(|import| !is_known(&import.name));
    let imports: Vec<_> = unknown.map(|import| import.name.clone()).collect();
    if !imports.is_empty() {
        return Err(LoadError::UnknownImports { imports });
    }
    let config = description.imports.iter().find(|import| is_among(&GRANTED, &import.name));
    if let Some(import) = config.filter(|_| grants.env().is_empty()) {
        return Err(LoadError::Ungranted { import: import.name.clone(), line: "env = { NAME = \"VALUE\" }".into() });
    }
    let Some(stated) = &description.requests else { return Ok(()) };
    let needs: Needs = match serde_json::from_value(stated.clone()) {
        Ok(needs) => needs,
        Err(error) => return Err(LoadError::Requests(error.to_string())),
    };
    let needs = needs.without_grant(grants);
    if needs.is_empty() { Ok(()) } else { Err(LoadError::Needs { needs }) }
}

/// Whether the host has an interface of this name, in a version that is compatible.
fn is_known(import: &str) -> bool {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let package = interface.split_once('/').map_or(interface, |(package, _)| package);
    (WASI.contains(&package) && version.starts_with("0.2.")) || is_among(&MORE, import) || is_among(&GRANTED, import)
}

fn is_among(interfaces: &[(&str, &str)], import: &str) -> bool {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    interfaces.iter().any(|(name, begins)| *name == interface && version.starts_with(begins))
}

/// What the grants of one plugin opened, once, when it was loaded. Calls share it.
pub(crate) struct Granted {
    pub(crate) variables: Arc<env::Variables>,
    pub(crate) settings: Arc<WasiConfigVariables>,
    pub(crate) directories: Arc<files::Directories>,
    pub(crate) egress: Arc<http::Egress>,
}

impl Granted {
    /// Opens what `terms` grant.
    ///
    /// # Errors
    /// When a directory cannot be opened or must not be granted, or a secret cannot be had.
    pub(crate) fn open(terms: &Terms, surroundings: &Surroundings) -> Result<Self, LoadError> {
        Ok(Self {
            variables: Arc::new(env::Variables::of(&terms.grants)),
            settings: Arc::new(config::variables(&terms.grants)),
            directories: Arc::new(files::Directories::open(terms, surroundings)?),
            egress: Arc::new(http::Egress::open(terms, surroundings)?),
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
        ] {
            assert!(is_known(known), "{known}");
        }
        for unknown in [
            "wasi:io/streams@0.3.0",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:config/runtime@0.2.0-draft",
            "portcullis:host/kv@0.1.0",
            "acme:unknown/thing",
            "log",
            "",
        ] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
