//! What the server says of its settings, for operators: whether what it acknowledges is safe.

use std::{collections::BTreeMap, time::Instant};

use redis::Value;

use super::nodes::Nodes;
use crate::contract::StoreError;

/// What a server says of itself. What it does not tell is none: many that are rented do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// `Redis` or `Valkey`.
    pub product: &'static str,
    /// Its version, as it writes it. Of Valkey its own, not that of the Redis that it is like.
    pub version: String,
    /// `appendonly`.
    pub append_only: Option<bool>,
    /// `appendfsync`: `always`, `everysec` or `no`.
    pub append_fsync: Option<String>,
    /// `maxmemory-policy`.
    pub eviction: Option<String>,
    /// `maxmemory`, in bytes; 0 is no bound.
    pub max_memory: Option<u64>,
    /// How many replicas are connected.
    pub replicas: Option<u64>,
    /// Whether it is a replica itself, which takes no writes.
    pub is_replica: bool,
}

/// Asks the server. What it refuses to tell stays none.
pub(super) async fn read(nodes: &Nodes, deadline: Instant) -> Result<ServerSettings, StoreError> {
    let info = nodes.send(None, &redis::cmd("INFO"), || None, false, deadline).await?;
    let mut settings = of_info(&text(&info).unwrap_or_default());
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("appendfsync");
    match nodes.send(None, &command, || None, false, deadline).await {
        Ok(value) => settings.append_fsync = pair(&value),
        // It answered before: it does not tell.
        Err(StoreError::Unavailable(_) | StoreError::Other(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(settings)
}

fn of_info(info: &str) -> ServerSettings {
    let fields: BTreeMap<_, _> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let field = |name: &str| fields.get(name).map(|value| (*value).to_owned());
    let number = |name: &str| fields.get(name).and_then(|value| value.parse().ok());
    let valkey = field("valkey_version");
    ServerSettings {
        product: if valkey.is_some() { "Valkey" } else { "Redis" },
        version: valkey.or_else(|| field("redis_version")).unwrap_or_default(),
        append_only: field("aof_enabled").map(|enabled| enabled == "1"),
        append_fsync: None,
        eviction: field("maxmemory_policy"),
        max_memory: number("maxmemory"),
        replicas: number("connected_slaves"),
        is_replica: field("role").is_some_and(|role| role == "slave"),
    }
}

/// The value of `CONFIG GET` of one name.
fn pair(value: &Value) -> Option<String> {
    match value {
        Value::Map(pairs) => pairs.first().and_then(|(_, value)| text(value)),
        Value::Array(both) => both.get(1).and_then(text),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_read() {
        let told = of_info(
            "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nconnected_slaves:2\r\naof_enabled:0\r\nmaxmemory:1024\r\nmaxmemory_policy:allkeys-lru\r\n",
        );
        let expected = ServerSettings {
            product: "Redis",
            version: "7.0.15".into(),
            append_only: Some(false),
            append_fsync: None,
            eviction: Some("allkeys-lru".into()),
            max_memory: Some(1024),
            replicas: Some(2),
            is_replica: false,
        };
        assert_eq!(told, expected);
        let valkey = of_info("redis_version:7.2.4\r\nvalkey_version:8.1.0\r\nrole:slave\r\n");
        assert_eq!((valkey.product, &*valkey.version, valkey.is_replica), ("Valkey", "8.1.0", true));
        assert_eq!(of_info("nonsense"), ServerSettings { product: "Redis", ..ServerSettings::default() });
    }
}
