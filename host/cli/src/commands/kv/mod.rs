//! `kv`: shared context for operators, on either engine: through the host that runs, where the engine is its file.

mod show;
mod transfer;

use std::{
    io::{IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_audit::{Event, Ledger};
use portcullis_gateway::{
    Bytes, Counter, Errand, KvAnswer, KvChange, KvEntry, KvFault, KvRefusal, KvRequest, KvStats, KvWhen, Owner,
};
use portcullis_runtime::StateDir;
use serde_json::json;

use crate::{
    args::Kv,
    beside::{Way, gone, identity, way},
    commands::{operator, shutdown},
    config::{Config, StoreAt},
    host::{records, state_fault, warehouse},
    render::{self, Fault},
};

/// How long one question for changes waits at the store; it is asked again and again.
const WAIT: Duration = Duration::from_secs(25);
/// Bytes of a value on standard input, one more than a value may have.
const MAX_INPUT: u64 = portcullis_store::MAX_VALUE as u64 + 1;

/// Who answers.
enum Desk {
    /// The host that runs.
    There(Errand),
    /// This process, which holds the state directory where it must.
    Here { counter: Counter, ledger: Arc<Ledger>, _owner: Option<Owner> },
}

impl Desk {
    async fn open(path: &Path, config: &Config) -> anyhow::Result<Self> {
        let _owner = match &config.store {
            StoreAt::Embedded(_) => match way(&config.state_dir, identity(path), true).await? {
                Way::To(errand) => return Ok(Self::There(errand)),
                Way::Alone(owner) => owner,
            },
            // Everybody goes to the server, and one who looks whether it is well must not need a host for it.
            StoreAt::Redis { .. } => None,
        };
        let state = StateDir::open(&config.state_dir).map_err(|error| state_fault(&error))?;
        let (ledger, _) = records(&state, "kv")?;
        let warehouse = warehouse(&state, &config.store, &config.buckets)?;
        let counter = Counter::new(warehouse, Arc::clone(&ledger), operator().name);
        Ok(Self::Here { counter, ledger, _owner })
    }

    async fn ask(&mut self, request: KvRequest) -> anyhow::Result<Result<KvAnswer, KvRefusal>> {
        match self {
            Self::There(errand) => errand.kv(request).await.map_err(|error| gone(&error)),
            Self::Here { counter, .. } => Ok(counter.ask(request).await),
        }
    }

    /// Asks, and takes a refusal for a failure of the command.
    async fn must(&mut self, bucket: &str, key: &str, request: KvRequest) -> anyhow::Result<KvAnswer> {
        self.ask(request).await?.map_err(|refusal| refused(bucket, key, refusal))
    }

    fn close(&self) {
        if let Self::Here { ledger, .. } = self
            && let Err(error) = ledger.append(&Event::HostStopped)
        {
            tracing::error!(%error, "the end is not in the audit log");
        }
    }
}

pub(crate) async fn run(path: &Path, config: Config, what: Kv, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut desk = Desk::open(path, &config).await?;
    let shutdown = shutdown()?;
    let watches = matches!(what, Kv::Watch { .. });
    let done = tokio::select! {
        done = work(&mut desk, what, as_json) => done,
        // The end of a watch is no failure.
        () = shutdown.cancelled() => {
            if watches { Ok(ExitCode::SUCCESS) } else { Err(Fault::error("It was interrupted", None)) }
        }
    };
    desk.close();
    done
}

async fn work(desk: &mut Desk, what: Kv, as_json: bool) -> anyhow::Result<ExitCode> {
    match what {
        Kv::Get { bucket, key, raw } => get(desk, bucket, key, raw, as_json).await,
        Kv::Set { bucket, key, value, base64, if_absent, if_version, ttl } => {
            let value = Bytes(read(value, base64)?);
            let when = match if_version {
                Some(version) => KvWhen::Version(version),
                None if if_absent => KvWhen::Absent,
                None => KvWhen::Always,
            };
            let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            let (b, k) = (bucket.clone(), key.clone());
            let written = desk.must(&b, &k, KvRequest::Set { bucket, key, value, when, ttl_ms }).await?;
            let KvAnswer::Written { version: Some(version) } = written else { return Err(garbled()) };
            if as_json {
                render::json(&json!({ "bucket": b, "key": k, "version": version }))?;
            } else {
                render::data(&format!("wrote {} in {}, version {version}\n", show::text(&k), show::text(&b)))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Kv::Delete { bucket, key, if_version } => {
            let when = if_version.map_or(KvWhen::Always, KvWhen::Version);
            let (b, k) = (bucket.clone(), key.clone());
            let written = desk.must(&b, &k, KvRequest::Delete { bucket, key, when }).await?;
            let KvAnswer::Written { version } = written else { return Err(garbled()) };
            if as_json {
                render::json(&json!({ "bucket": b, "key": k, "deleted": version.is_some(), "version": version }))?;
            } else {
                let (b, k) = (show::text(&b), show::text(&k));
                match version {
                    Some(version) => render::data(&format!("deleted {k} in {b}, version {version}\n"))?,
                    None => render::data(&format!("there was no {k} in {b}\n"))?,
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Kv::List { bucket, prefix, after, limit } => list(desk, bucket, prefix, after, limit, as_json).await,
        Kv::Watch { bucket, prefix, after } => watch(desk, &bucket, &prefix, after, as_json).await,
        Kv::Stats { bucket } => stats(desk, bucket, as_json).await,
        Kv::Export { buckets } => transfer::export(desk, buckets).await,
        Kv::Import { file } => transfer::import(desk, &file, as_json).await,
    }
}

async fn get(desk: &mut Desk, bucket: String, key: String, raw: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    if raw && std::io::stdout().is_terminal() {
        let hint = "portcullis kv get BUCKET KEY --raw > FILE".to_owned();
        return Err(Fault::error("`--raw` does not write to a terminal, which would obey what is in it", Some(hint)));
    }
    let (b, k) = (bucket.clone(), key.clone());
    let KvAnswer::Entry(found) = desk.must(&b, &k, KvRequest::Get { bucket, key }).await? else {
        return Err(garbled());
    };
    let Some(entry) = found else {
        let hint = Some(format!("portcullis kv list {b}"));
        return Err(Fault::error(format!("There is no entry `{k}` in the bucket `{b}`"), hint));
    };
    if raw {
        std::io::stdout().lock().write_all(&entry.value.0)?;
    } else if as_json {
        render::json(&show::entry(&b, &entry))?;
    } else {
        render::data(&show::value(&entry.value.0))?;
        render::note(&show::about(&entry));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    desk: &mut Desk,
    bucket: String,
    prefix: String,
    after: Option<String>,
    limit: usize,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let b = bucket.clone();
    let (mut entries, mut next): (Vec<KvEntry>, _) = (Vec::new(), after);
    // A page ends with its bytes too.
    loop {
        let (bucket, prefix, limit) = (bucket.clone(), prefix.clone(), limit.saturating_sub(entries.len()));
        let page = desk.must(&b, "", KvRequest::List { bucket, prefix, after: next, limit }).await?;
        let KvAnswer::Page { entries: page, next: more, .. } = page else { return Err(garbled()) };
        entries.extend(page);
        next = more;
        if next.is_none() || entries.len() >= limit {
            break;
        }
    }
    if as_json {
        render::json(&entries.iter().map(|entry| show::entry(&b, entry)).collect::<Vec<_>>())?;
    } else {
        render::data(&render::table(&show::rows(&entries)))?;
    }
    if let Some(next) = next {
        render::note(&format!("there are more: --after '{next}'"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Never ends by itself.
async fn watch(
    desk: &mut Desk,
    bucket: &str,
    prefix: &str,
    mut after: Option<u64>,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let wait_ms = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
    let mut told = false;
    loop {
        let (b, prefix) = (bucket.to_owned(), prefix.to_owned());
        match desk.ask(KvRequest::Changes { bucket: b, prefix, after, wait_ms }).await? {
            Ok(KvAnswer::Changes { changes, next_after }) => {
                for change in &changes {
                    printed(bucket, change, as_json)?;
                }
                after = Some(next_after);
                if !std::mem::replace(&mut told, true) {
                    render::note(&format!("watching {bucket} after version {next_after}"));
                }
            }
            Ok(_) => return Err(garbled()),
            Err(KvRefusal { fault: KvFault::Compacted(version), .. }) => {
                render::note(&format!(
                    "changes before version {version} are gone: `portcullis kv list {bucket}` shows what stands"
                ));
                after = Some(version);
            }
            // A server that is away comes back, and nothing is missed.
            Err(KvRefusal { fault: KvFault::Away, message }) => {
                render::note(&message);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(refusal) => return Err(refused(bucket, "", refusal)),
        }
    }
}

fn printed(bucket: &str, change: &KvChange, as_json: bool) -> anyhow::Result<()> {
    if as_json { render::json_line(&show::change(bucket, change)) } else { render::data(&show::change_line(change)) }
}

async fn stats(desk: &mut Desk, bucket: Option<String>, as_json: bool) -> anyhow::Result<ExitCode> {
    let shown = bucket.clone().unwrap_or_default();
    let KvAnswer::Stats(stats) = desk.must(&shown, "", KvRequest::Stats { bucket }).await? else {
        return Err(garbled());
    };
    if as_json {
        let of = |stats: &KvStats| {
            let KvStats { bucket, entries, bytes, max_entries, max_bytes } = stats;
            json!({ "bucket": bucket, "entries": entries, "bytes": bytes, "maxEntries": max_entries, "maxBytes": max_bytes })
        };
        render::json(&stats.iter().map(of).collect::<Vec<_>>())?;
    } else {
        render::data(&render::table(&show::usage(&stats)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The value that was meant.
fn read(value: String, base64: bool) -> anyhow::Result<Vec<u8>> {
    let bytes = if value == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(if base64 { 2 * MAX_INPUT } else { MAX_INPUT }).read_to_end(&mut bytes)?;
        bytes
    } else {
        value.into_bytes()
    };
    if !base64 {
        return Ok(bytes);
    }
    STANDARD.decode(bytes.trim_ascii()).map_err(|error| {
        Fault::error(format!("The value is no base64: {error}"), Some("leave `--base64` out for text".to_owned()))
    })
}

/// A refusal as a failure, with the mend.
fn refused(bucket: &str, key: &str, refusal: KvRefusal) -> anyhow::Error {
    let KvRefusal { fault, message } = refusal;
    match fault {
        KvFault::Conflict(Some(entry)) => {
            let version = entry.version;
            let what = format!("There is an entry `{key}` in the bucket `{bucket}`, of version {version}");
            Fault::error(what, Some(format!("look at it, and then: --if-version {version}")))
        }
        KvFault::Conflict(None) => {
            let what = format!("There is no entry `{key}` in the bucket `{bucket}` any more");
            Fault::error(what, Some("--if-absent".to_owned()))
        }
        KvFault::Full(stats) => Fault::error(
            format!("The bucket `{bucket}` would hold more than it may: {}", show::held(&stats)),
            Some(show::more_room(&stats)),
        ),
        KvFault::Invalid if message.contains("nothing but imports") => {
            let hint = "an import goes into a store that is new, or has only ever been imported into";
            Fault::error(
                format!("The bucket `{bucket}` was written already: versions would mean two things"),
                Some(hint.into()),
            )
        }
        KvFault::Invalid => Fault::error(message, Some("portcullis kv --help".to_owned())),
        KvFault::Compacted(version) => Fault::error(message, Some(format!("--after {version}"))),
        KvFault::Away => anyhow::anyhow!("{message}; `portcullis doctor` looks into it"),
        KvFault::Unknown | KvFault::NotRecorded | KvFault::Other => anyhow::anyhow!(message),
    }
}

fn garbled() -> anyhow::Error {
    anyhow::anyhow!("the store answered something else")
}
