//! S5 to S9: guests that take memory, tables and instances without end.

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use portcullis_policy::Limits;
use serde_json::json;

use crate::house::{House, built, patient, wat};

/// Grows memories and tables, with and without looking at what it is told.
pub(crate) const GROW: &str = include_str!("wat/grow.wat");

const MEMORY: &str = "wanted more than its 67108864 bytes of memory (limit `memory`)";

/// A component that declares `pages` of memory in each of `memories` modules.
pub(crate) fn declared(pages: u32, memories: u32) -> String {
    let instances: String = (0..memories).map(|i| format!("(core instance $i{i} (instantiate $m))")).collect();
    format!(
        r#"(component (core module $m (memory {pages}) (func (export "f"))) {instances}
             (func (export "run") (canon lift (core func $i0 "f"))))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_tables_end_at_their_limit() {
    let house = House::open(
        2,
        vec![
            built("bomb", guests::OUTCOMES, patient()),
            wat("grow", GROW, patient()),
            wat("fuel", GROW, Limits { fuel: Some(10_000_000), ..patient() }),
            wat("whole", declared(65536, 1), patient()),
            wat("declared", declared(1025, 1), patient()),
            wat("several", declared(400, 3), patient()),
        ],
    )
    .await;
    for tool in ["bomb_grow_memory", "grow_memory", "grow_and_touch", "whole_run", "declared_run", "several_run"] {
        house.check(tool, json!({}), Outcome::OutOfMemory, MEMORY).await;
    }
    // One table alone ends at its own bound, which a guest may ask for as often as it has fuel.
    house.check("fuel_table", json!({}), Outcome::OutOfFuel, "limit `fuel`").await;
    for tool in ["grow_tables", "grow_table_at_once"] {
        house.check(tool, json!({}), Outcome::OutOfMemory, "wanted more than 40000 table elements").await;
    }
    // A guest that hears a no and goes on has done nothing wrong.
    assert_eq!(house.answer("grow_politely", json!({})).await, -1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_the_configured_one() {
    let limits = Limits { memory: 3 << 20, ..patient() };
    let house = House::open(
        2,
        vec![
            built("bomb", guests::OUTCOMES, limits.clone()),
            wat("fits", declared(16, 3), limits.clone()),
            wat("over", declared(17, 3), limits),
        ],
    )
    .await;
    house.check("bomb_grow_memory", json!({}), Outcome::OutOfMemory, "more than its 3145728 bytes").await;
    house.check("over_run", json!({}), Outcome::OutOfMemory, "more than its 3145728 bytes").await;
    house.answer("fits_run", json!({})).await;
    assert_eq!(house.outcomes("fits_run"), ["ok"]);
}

/// What no sandbox could hold is refused when it is loaded, not when it is called.
#[tokio::test(flavor = "multi_thread")]
async fn what_fits_into_no_sandbox_is_refused_at_load() {
    let many = |item: &str, times: usize| {
        format!(
            r#"(component (core module $m (func (export "f"))) (component $c)
                 (core instance $i (instantiate $m)) {}
                 (func (export "run") (canon lift (core func $i "f"))))"#,
            item.repeat(times)
        )
    };
    let house = House::open(
        2,
        vec![
            wat("memories", declared(1, 5), patient()),
            wat("core-instances", many("(core instance (instantiate $m))", 100), patient()),
            wat("bomb", many("(core instance (instantiate $m))", 100_000), patient()),
            wat("instances", many("(instance (instantiate $c))", 100_000), patient()),
            wat(
                "tables",
                r#"(component (core module $m (table 20001 funcref) (func (export "f")))
                 (core instance $i (instantiate $m)) (func (export "run") (canon lift (core func $i "f"))))"#,
                patient(),
            ),
        ],
    )
    .await;
    for (plugin, text) in [
        ("memories", "memories"),
        ("core-instances", "core module instances"),
        ("bomb", "instances"),
        ("instances", "instances"),
        ("tables", "table"),
    ] {
        let (state, reason, _) = house.status(plugin);
        assert_eq!(state, "broken", "{plugin}");
        assert!(reason.contains(text), "{plugin}: no {text:?} in {reason:?}");
    }
    house.alive().await;
}
