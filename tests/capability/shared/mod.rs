//! Shared context as guests have it: what grants open, what they do not, and what waiting costs.

mod denied;
mod granted;
mod keyvalue;
mod limits;
mod loading;
mod principals;
mod waiting;

use std::{sync::Arc, time::SystemTime};

use portcullis_artifacts as guests;
use portcullis_policy::{AgentName, Principal, Statutes};
use portcullis_store::{BucketPattern, Durability, EmbeddedOptions, Limits, Store, Warehouse};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    house::{Guest, House, built, patient},
    server::Server,
};

/// Where the entries of a test are. Gone with it.
pub(crate) enum Engine {
    Embedded(TempDir),
    Redis(Box<Server>),
}

impl Engine {
    /// Both, where there is a server to start.
    fn all() -> Vec<Self> {
        let mut engines = vec![Self::embedded()];
        engines.extend(Server::start(false).map(|server| Self::Redis(Box::new(server))));
        engines
    }

    fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().expect("a folder"))
    }

    fn store(&self) -> Store {
        match self {
            Self::Embedded(folder) => {
                let path = folder.path().join("shared.redb");
                let clock = Arc::new(SystemTime::now);
                let options = EmbeddedOptions { path, durability: Durability::Relaxed, clock, check: false };
                Store::embedded(options).expect("a store")
            }
            Self::Redis(server) => server.store(None),
        }
    }

    /// The store, with a bucket `small` that holds two entries.
    fn warehouse(&self) -> Warehouse {
        let limits = Limits { max_entries: 2, ..Limits::default() };
        Warehouse::new(self.store(), [(BucketPattern::new("small").expect("a name"), limits)])
    }
}

/// The guest over the host's own interface, by this name and with these grants.
fn shared(name: &'static str, grants: &str) -> Guest {
    built(name, guests::SHARED, patient()).granted(grants)
}

fn agent(name: &str) -> Principal {
    let name = AgentName::new(name).expect("a name");
    let roles: portcullis_policy::RoleRules = toml::from_str("allow = ['*']").expect("a role");
    let role = portcullis_policy::RoleName::new("any").expect("a name");
    let statutes = Statutes::new([(role.clone(), roles)].into(), [(name.clone(), role)].into()).expect("statutes");
    Principal::Agent(Arc::new(statutes.agent(&name).expect("an agent")))
}

/// A call, what it answers, and what the ledger has of it: what was refused and why.
type Case<'a> = (&'a str, Value, Value, Option<(&'a str, &'a str)>);

/// The one check: each call answers so, and the ledger has this refusal or none.
async fn check(house: &House, cases: &[Case<'_>]) {
    for (tool, arguments, expected, denied) in cases {
        let before = refusals(house).len();
        let answer = house.answer(tool, arguments.clone()).await;
        assert_eq!(&answer, expected, "{tool} {arguments}");
        let noted = refusals(house).split_off(before);
        let told = noted.first().map(|(target, reason)| (target.as_str(), reason.as_str()));
        assert_eq!(told, *denied, "{tool} {arguments}");
    }
    house.alive().await;
}

/// All refusals that the ledger has: target and reason.
fn refusals(house: &House) -> Vec<(String, String)> {
    let lines = house.audit();
    let of = lines.iter().filter(|line| line["event"] == "capability.denied" && line["capability"] == "kv");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    of.map(|line| (text(&line["target"]), text(&line["reason"]))).collect()
}

/// Arguments for an operation on a key of bucket `b`.
fn at(key: &str) -> Value {
    json!({ "bucket": "b", "key": key })
}

/// Arguments for writing one.
fn put(bucket: &str, key: &str, text: &str, when: &str) -> Value {
    json!({ "bucket": bucket, "key": key, "text": text, "when": when })
}

fn err(text: &str) -> Value {
    json!({ "err": text })
}

const DENIED: &str = "access-denied";
const NO_BUCKET: &str = "no entry of `kv` opens the bucket";
const NO_READ: &str = "no entry of `kv` lets the key be read";
const NO_WRITE: &str = "no entry of `kv` lets the key be written";
