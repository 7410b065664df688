//! What a guest can reach beyond its own memory: a folder for each interface.
//!
//! A component is checked here before it is compiled: what it imports must be there, and what it states that it needs
//! must be granted. There are no grants yet, so any stated need is refused.

pub(crate) mod call;

use serde_json::Value;

use crate::{component::Description, plugin::LoadError};

/// Packages of WASI that link for everyone, inert without a grant: language runtimes import what programs never use.
const WASI: [&str; 7] =
    ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:http", "wasi:io", "wasi:random", "wasi:sockets"];
/// Interfaces of the host's own package that link for everyone.
const OWN: [&str; 1] = ["portcullis:host/call"];

/// Refuses a component that could not work, with what it lacks.
pub(crate) fn check(description: &Description) -> Result<(), LoadError> {
    let imports: Vec<_> =
        description.imports.iter().filter(|import| !is_known(&import.name)).map(|import| import.name.clone()).collect();
    if !imports.is_empty() {
        return Err(LoadError::UnknownImports { imports });
    }
    let needs = description.requests.as_ref().map(needs).unwrap_or_default();
    if needs.is_empty() { Ok(()) } else { Err(LoadError::Needs { needs }) }
}

/// Whether the host has an interface of this name, in a version that is compatible.
fn is_known(import: &str) -> bool {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let package = interface.split_once('/').map_or(interface, |(package, _)| package);
    (WASI.contains(&package) && version.starts_with("0.2."))
        || (OWN.contains(&interface) && version.starts_with("0.1."))
}

/// The stated needs, one text each: the section maps a kind of grant to a list of tables.
fn needs(requests: &Value) -> Vec<String> {
    let kinds = requests.as_object().into_iter().flatten();
    kinds
        .flat_map(|(kind, tables)| tables.as_array().into_iter().flatten().map(move |table| format!("{kind} {table}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_known_by_package_and_version() {
        for known in ["wasi:io/streams@0.2.0", "wasi:http/outgoing-handler@0.2.6", "portcullis:host/call@0.1.0"] {
            assert!(is_known(known), "{known}");
        }
        for unknown in [
            "wasi:io/streams@0.3.0",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:config/store@0.2.0-rc.1",
            "portcullis:host/kv@0.1.0",
            "acme:unknown/thing",
            "log",
            "",
        ] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
