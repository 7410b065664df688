//! The plugins as `list` shows them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_catalogue::Snapshot;
use portcullis_store::Warehouse;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long the store may take to say that it is there, before it counts as away: `readyz` is asked every few seconds.
pub const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// What is wrong, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mend {
    /// What.
    pub what: String,
    /// What to write or run.
    pub hint: Option<String>,
}

/// The plugins, and what is wrong with the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// For people.
    pub rows: Vec<Row>,
    /// The same for programs.
    pub plugins: Vec<Value>,
    /// Faults of the configuration, the lock and the store.
    pub wrong: Vec<Mend>,
}

/// One plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The word for its state.
    pub state: String,
    /// How many tools of it are served.
    pub tools: usize,
    /// The beginning of its digest.
    pub digest: Option<String>,
    /// What to do next.
    pub next: Option<String>,
    /// Why it is in its state.
    pub reason: Option<String>,
    /// Whether something is wrong with it.
    pub fault: bool,
    /// Whether it waits for an operator's word.
    pub waits: bool,
}

impl Listed {
    /// Of a snapshot, with what is wrong with the configuration, and with the store.
    pub fn of(snapshot: &Snapshot, mut wrong: Vec<Mend>, store: Option<Mend>) -> Self {
        let rows = snapshot.plugins().iter().map(|plugin| Row {
            name: plugin.name.to_string(),
            state: plugin.state.as_str().to_owned(),
            tools: plugin.tools.len(),
            digest: plugin.digest.map(|digest| digest.short()),
            next: plugin.next.clone(),
            reason: plugin.state.reason().map(str::to_owned),
            fault: plugin.state.is_fault(),
            waits: plugin.state.waits(),
        });
        wrong.extend(snapshot.trouble().map(|trouble| Mend { what: trouble.what.clone(), hint: trouble.hint.clone() }));
        wrong.extend(store);
        let plugins = snapshot.plugins().iter().map(|plugin| serde_json::to_value(plugin).unwrap_or_default());
        Self { rows: rows.collect(), plugins: plugins.collect(), wrong }
    }

    /// Whether anything is wrong: more than waiting for an operator's word.
    pub fn is_fault(&self) -> bool {
        !self.wrong.is_empty() || self.rows.iter().any(|row| row.fault)
    }
}

/// What is wrong with the store.
pub async fn store_trouble(store: Option<&Arc<Warehouse>>) -> Option<Mend> {
    let health = store?.store().health(Instant::now() + STORE_PATIENCE).await;
    health.err().map(|error| Mend {
        what: format!("the store of shared context is away: {error}"),
        hint: Some("portcullis doctor".to_owned()),
    })
}
