//! The official conformance suites. What is expected to fail, and what must not, stands in `tests/conformance`.

use serde_json::Value;

use crate::{
    host::{Folder, plugins, usual_plugins},
    resources::Shelf,
    tools::{script, succeeded},
};

#[test]
fn the_official_suites_find_nothing_unexpected() {
    let folder = Folder::new(&format!("{}[buckets.shared]\nresources = true\n", plugins(&usual_plugins())));
    Shelf::of_folder(&folder).set("shared", "a", "{}", None);
    let host = folder.serve();
    let Some(output) = script("conformance/run", &[&host.url(), "--json"]) else {
        return;
    };
    let found: Value = serde_json::from_str(&succeeded(&output)).expect("JSON");
    assert_eq!(found["ok"], true, "{found:#}");
}
