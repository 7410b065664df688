//! Shared context as MCP resources, through the real binary: what is listed and read, by whom, and who is told of changes.

mod hosts;
mod read;
mod subscribe;

use std::{
    os::unix::fs::DirBuilderExt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use portcullis_store::{
    Bucket, BucketName, Condition, Durability, EmbeddedOptions, Key, Limits, Operation, SetOptions, Store, Writer,
};
use serde_json::{Value, json};

use crate::{
    agents::{Client, key},
    host::{Folder, Served},
};

/// A store as a test writes it: another process than the host.
pub(crate) struct Shelf {
    store: Store,
    runtime: tokio::runtime::Runtime,
}

impl Shelf {
    /// The file of a folder in which no host runs.
    pub(crate) fn of_folder(folder: &Folder) -> Self {
        let runtime = runtime();
        let path = folder.path().join(".portcullis/store/shared.redb");
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(path.parent().expect("a folder")).expect("a folder");
        let options =
            EmbeddedOptions { path, durability: Durability::Relaxed, clock: Arc::new(SystemTime::now), check: false };
        Self { store: Store::embedded(options).expect("opened"), runtime }
    }

    /// A server's.
    pub(crate) fn of_server(server: &crate::redis::Server) -> Self {
        let runtime = runtime();
        let store = runtime.block_on(async { server.store(None) });
        Self { store, runtime }
    }

    /// Writes an entry.
    pub(crate) fn set(&self, bucket: &str, key: &str, value: impl AsRef<[u8]>, ttl: Option<Duration>) {
        let options = SetOptions { when: Condition::Always, ttl };
        let (key, value) = (Key::new(key).expect("a key"), value.as_ref().to_vec());
        let (bucket, writer) = (of(bucket), writer());
        let set = self.store.set(&bucket, key, value, options, &writer, soon());
        self.runtime.block_on(set).expect("written");
    }

    /// Writes many entries.
    pub(crate) fn fill(&self, bucket: &str, entries: impl Iterator<Item = (String, String)>) {
        let entries: Vec<_> = entries.collect();
        let (bucket, writer) = (of(bucket), writer());
        for some in entries.chunks(100) {
            let operations = some.iter().map(|(key, value)| Operation::Set {
                key: Key::new(key.as_str()).expect("a key"),
                value: value.clone().into_bytes(),
                options: SetOptions::default(),
            });
            let written = self.store.transact(&bucket, operations.collect(), &writer, soon());
            self.runtime.block_on(written).expect("written");
        }
    }

    /// Deletes an entry.
    pub(crate) fn delete(&self, bucket: &str, key: &str) {
        let (bucket, writer, key) = (of(bucket), writer(), Key::new(key).expect("a key"));
        let deleted = self.store.delete(&bucket, key, Condition::Always, &writer, soon());
        assert!(self.runtime.block_on(deleted).expect("deleted").is_some());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn of(bucket: &str) -> Bucket {
    Bucket { name: BucketName::new(bucket).expect("a name"), limits: Limits::default() }
}

fn writer() -> Writer {
    Writer { principal: "test".into(), plugin: "test".into(), digest: "test".into() }
}

fn soon() -> Instant {
    Instant::now() + crate::host::PATIENCE
}

/// Buckets, roles and agents that most tests use.
const TEAM: &str = "
[buckets.shared]
resources = true
[buckets.\"agent-{principal}\"]
resources = true
[buckets.agent-closed]
[buckets.internal]
[roles.researcher]
resources = [\"kv://shared/research/**\", \"kv://agent-{principal}/**\"]
[roles.clerk]
resources = [\"kv://shared/*\", \"kv://agent-{principal}/**\", \"kv://internal/**\", \"kv://agent-closed/**\"]
[agents.alice]
role = \"researcher\"
[agents.bob]
role = \"clerk\"
";

/// A folder of the team, with what the tests look for.
fn team() -> Folder {
    let folder = Folder::unapproved(TEAM);
    let shelf = Shelf::of_folder(&folder);
    for (bucket, key, value) in [
        ("shared", "research/a", "{\"found\": true}"),
        ("shared", "research/deep/b", "as text"),
        ("shared", "plan", "top secret"),
        ("shared", "zürich?", "percent"),
        ("agent-alice", "note", "mine"),
        ("agent-bob", "note", "his"),
        ("agent-closed", "note", "closed"),
        ("internal", "x", "closed"),
        ("other", "x", "not in the configuration"),
    ] {
        shelf.set(bucket, key, value, None);
    }
    folder
}

/// A host for the folder, and the keys of alice and bob.
fn serve(folder: &Folder) -> (Served, [String; 2]) {
    let keys = ["alice", "bob"].map(|agent| key(folder, agent).0);
    (folder.serve(), keys)
}

/// Their clients.
fn agents<'a>(host: &'a Served, keys: &[String; 2]) -> (Client<'a>, Client<'a>) {
    (Client::new(host, &keys[0]), Client::new(host, &keys[1]))
}

/// The addresses in a list.
fn uris(list: &Value) -> Vec<String> {
    let resources = list["result"]["resources"].as_array().unwrap_or_else(|| panic!("a list: {list:#}"));
    resources.iter().map(|resource| resource["uri"].as_str().expect("an address").to_owned()).collect()
}

fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}
