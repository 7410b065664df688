//! Is shared context safe where it is kept? The file, the space around it, or what the server says of itself.

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use portcullis_runtime::StateDir;
use portcullis_store::{ServerSettings, Store};

use super::{Finding, bad, failed, good, warning};
use crate::{
    config::{Config, StoreAt},
    host::{embedded, state_fault, warehouse},
    render::fault,
};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Free space below which a busy host may soon have none: several times what a full bucket takes.
const LEAST_FREE: u64 = 256 << 20;
/// The version of Redis from which on the scripts work. Valkey began with one like 7.
const LEAST_REDIS: u32 = 7;

/// Looks at the store. The file is opened where this process `owns` the state directory.
pub(super) async fn look(config: &Config, owns: bool, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let state = StateDir::open(&config.state_dir).map_err(|error| state_fault(&error))?;
    match &config.store {
        StoreAt::Embedded(durability) => {
            let folder = state.join("store");
            findings.extend(space(state.path()));
            let options = embedded(&folder, *durability, true);
            if !owns {
                findings.push(good("the host has the store open; its file is read whole when none runs"));
            } else if options.path.exists() {
                let shown = options.path.display().to_string();
                findings.push(match tokio::task::block_in_place(|| Store::embedded(options)) {
                    Ok(_) => good(format!("the store `{shown}` is as it was written, all of it")),
                    Err(error) => match error.hint() {
                        Some(hint) => bad(error.to_string(), hint),
                        None => failed(&fault(&error, None)),
                    },
                });
            } else {
                findings.push(good("there is no shared context yet"));
            }
        }
        at @ StoreAt::Redis { .. } => {
            let server = warehouse(&state, at, &[])?;
            match server.store().server(Instant::now() + PATIENCE).await {
                Ok(settings) => findings.extend(settings.iter().flat_map(server_findings)),
                Err(error) => {
                    let hint = "look at the server, and at `[store]` in the configuration: url, user, password";
                    findings.push(bad(format!("the store is away: {error}"), hint.to_owned()));
                }
            }
        }
    }
    Ok(())
}

fn space(folder: &std::path::Path) -> Option<Finding> {
    let system = rustix::fs::statvfs(folder).ok()?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let what = format!("{} are free for the store", ByteSize(free).display().iec());
    Some(if free < LEAST_FREE {
        warning(what, "make room: on a full disk the store takes no writes")
    } else {
        good(what)
    })
}

/// What a server's settings mean for what it acknowledges (`host/store/README.md`).
fn server_findings(settings: &ServerSettings) -> Vec<Finding> {
    let ServerSettings { product, version, append_only, append_fsync, eviction, max_memory, replicas, is_replica } =
        settings;
    let mut findings = Vec::new();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    findings.push(match major {
        Some(major) if major >= LEAST_REDIS => good(format!("the store is {product} {version}")),
        _ => bad(format!("the store is {product} {version}"), "run Redis 7 or later, or Valkey".to_owned()),
    });
    if *is_replica {
        let hint = "in `[store]`, the address of the primary: url = \"redis://PRIMARY\"".to_owned();
        findings.push(bad("the server is a replica, and takes no writes", hint));
    }
    findings.push(match (append_only, append_fsync.as_deref()) {
        (Some(true), Some("always")) => good("what the server acknowledges is on its disk (`appendfsync always`)"),
        (Some(false), _) => warning(
            "a crash of the server loses all since its last snapshot (`appendonly no`)",
            "in redis.conf: appendonly yes, and appendfsync always",
        ),
        (Some(true), Some(other)) => warning(
            format!("a crash of the server loses the last seconds (`appendfsync {other}`)"),
            "in redis.conf: appendfsync always",
        ),
        (Some(true), None) => warning(
            "the server does not tell how often it writes to its disk",
            "let the user `CONFIG GET appendfsync`, or ask who runs it: it should be `always`",
        ),
        (None, _) => warning(
            "the server does not tell whether it writes to its disk",
            "ask who runs it: appendonly yes, and appendfsync always",
        ),
    });
    let bounded = *max_memory != Some(0);
    match eviction.as_deref() {
        Some("noeviction") => findings.push(good("the server evicts nothing (`maxmemory-policy noeviction`)")),
        // It holds as soon as somebody sets a bound.
        Some(other) if !bounded => findings.push(warning(
            format!("the server would evict entries if its memory were bounded (`maxmemory-policy {other}`)"),
            "in redis.conf: maxmemory-policy noeviction",
        )),
        Some(other) => findings.push(bad(
            format!("the server evicts entries when its memory is full (`maxmemory-policy {other}`)"),
            "in redis.conf: maxmemory-policy noeviction".to_owned(),
        )),
        None => findings.push(warning(
            "the server does not tell whether it evicts entries",
            "ask who runs it: maxmemory-policy noeviction",
        )),
    }
    if let Some(replicas) = replicas.filter(|replicas| *replicas > 0) {
        findings.push(good(format!(
            "the server has {replicas} replicas; a failover to one loses what it had not got, whatever the settings"
        )));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe() -> ServerSettings {
        ServerSettings {
            product: "Redis",
            version: "7.0.15".into(),
            append_only: Some(true),
            append_fsync: Some("always".into()),
            eviction: Some("noeviction".into()),
            max_memory: Some(0),
            replicas: Some(0),
            is_replica: false,
        }
    }

    #[test]
    fn settings_that_lose_data_are_told_with_the_mend() {
        for (settings, ok, expected) in [
            (safe(), true, None),
            (ServerSettings { version: "6.2.1".into(), ..safe() }, false, Some("run Redis 7")),
            (ServerSettings { product: "Valkey", version: "8.1.0".into(), ..safe() }, true, None),
            (ServerSettings { is_replica: true, ..safe() }, false, Some("redis://PRIMARY")),
            (ServerSettings { append_fsync: Some("everysec".into()), ..safe() }, true, Some("appendfsync always")),
            (ServerSettings { append_fsync: None, ..safe() }, true, Some("CONFIG GET")),
            (ServerSettings { append_only: Some(false), ..safe() }, true, Some("appendonly yes")),
            (ServerSettings { append_only: None, ..safe() }, true, Some("appendonly yes")),
            (ServerSettings { eviction: Some("allkeys-lru".into()), ..safe() }, true, Some("noeviction")),
            (
                ServerSettings { eviction: Some("allkeys-lru".into()), max_memory: Some(1), ..safe() },
                false,
                Some("noeviction"),
            ),
            (ServerSettings { eviction: None, ..safe() }, true, Some("noeviction")),
        ] {
            let findings = server_findings(&settings);
            assert_eq!(findings.iter().all(|finding| finding.ok), ok, "{settings:?}: {findings:?}");
            let hints: Vec<_> = findings.iter().filter_map(|finding| finding.hint.as_deref()).collect();
            match expected {
                Some(expected) => assert!(hints.len() == 1 && hints[0].contains(expected), "{settings:?}: {hints:?}"),
                None => assert!(hints.is_empty(), "{settings:?}: {hints:?}"),
            }
        }
    }
}
