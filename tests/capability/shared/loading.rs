//! S27: what imports shared context without a grant of it is refused before it is compiled, with the line to add.

use portcullis_artifacts as guests;
use portcullis_policy::PluginName;
use portcullis_runtime::LoadError;

use super::{Engine, shared};
use crate::house::{House, built, patient};

#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_a_grant_is_refused() {
    let guests = vec![
        shared("none", ""),
        built("new", guests::KEYVALUE, patient()).granted("env = { A = 'b' }"),
        built("old", guests::KEYVALUE_DRAFT, patient()),
        shared("some", "kv = [{ bucket = 'b' }]"),
    ];
    let house = House::sharing(1, 1, Engine::embedded().warehouse(), guests).await;
    for (plugin, import) in [
        ("none", "portcullis:host/kv@0.1.0"),
        ("new", "wasi:keyvalue/store@0.2.0-draft2"),
        ("old", "wasi:keyvalue/store@0.2.0-draft"),
    ] {
        let (state, reason, _) = house.status(plugin);
        assert_eq!(state, "broken", "{plugin}: {reason}");
        assert!(reason.starts_with("it imports `") && reason.ends_with("`, which nothing grants"), "{reason}");
        assert!(reason.contains(import.split('/').next().expect("a package")), "{reason}: {import}");
    }
    let snapshot = house.gateway.catalogue().snapshot();
    let none = snapshot.plugins().iter().find(|plugin| plugin.name.as_str() == "none").expect("it");
    let line =
        "in `[plugins.none.grants]`: kv = [{ bucket = \"BUCKET\", prefix = \"PREFIX\", access = \"read-write\" }]";
    assert_eq!(none.next.as_deref(), Some(line));
    assert_eq!(house.status("some").0, "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_it_says_so() {
    let house = House::open(1, vec![shared("s", "kv = [{ bucket = 'b' }]")]).await;
    let (state, reason, _) = house.status("s");
    assert_eq!(state, "broken");
    assert_eq!(reason, LoadError::NoStore.to_string());
    let hint = LoadError::NoStore.hint(&PluginName::new("s").expect("a name"));
    assert!(hint.is_some_and(|hint| hint.contains("start it again")));
    house.alive().await;
}
