//! Does what it is told with shared context, through the host's own interface.

use exports::test::shared::shared::{Guest, Page, Step};
use portcullis::host::kv::{self, Bucket, Condition, Entry, Error, Operation, SetOptions};

wit_bindgen::generate!({
    path: "../../wit",
    world: "test:shared/guest",
    generate_all,
    inline: r#"
        package test:shared;

        interface shared {
            /// An operation of a transaction: what to do, with the condition.
            record step { what: string, key: string, text: string, when: string }
            record page { keys: list<string>, next: option<string> }

            /// Each answers with text, and fails with the name of the error and what it carries.
            open: func(bucket: string) -> result<_, string>;
            /// Text, version and who wrote it: principal and plugin.
            get: func(bucket: string, key: string) -> result<option<tuple<string, u64, string, string>>, string>;
            get-many: func(bucket: string, keys: list<string>) -> result<list<option<string>>, string>;
            exists: func(bucket: string, key: string) -> result<bool, string>;
            /// `when` is `always`, `absent`, `present` or a version.
            set: func(bucket: string, key: string, text: string, when: string, ttl-ms: option<u64>) -> result<u64, string>;
            delete: func(bucket: string, key: string, when: string) -> result<option<u64>, string>;
            increment: func(bucket: string, key: string, delta: s64) -> result<tuple<s64, u64>, string>;
            keys: func(bucket: string, prefix: string, after: option<string>, limit: u32) -> result<page, string>;
            transact: func(bucket: string, steps: list<step>) -> result<list<option<u64>>, string>;
            /// Changes as `set KEY TEXT`, `delete KEY`, `expire KEY`; the version to go on after; and the milliseconds
            /// that were left of the call then.
            changes: func(bucket: string, prefix: string, after: u64, wait-ms: u32)
                -> result<tuple<list<string>, u64, u64>, string>;
            /// Entries and bytes.
            usage: func(bucket: string) -> result<tuple<u64, u64>, string>;
            /// Gets so often, and says at which time it failed, and with what.
            get-often: func(bucket: string, key: string, times: u32) -> option<tuple<u32, string>>;
            /// Writes so many bytes.
            set-bytes: func(bucket: string, key: string, bytes: u32) -> result<u64, string>;
            /// Reads all so often.
            list-often: func(bucket: string, times: u32) -> option<tuple<u32, string>>;
            /// Keeps so many handles of the bucket, and says how many it got.
            hold: func(bucket: string, times: u32) -> result<u32, string>;
            /// Writes, and computes for ever.
            set-and-spin: func(bucket: string, key: string);
            /// Claims: whether this call made the entry. Tries again while the outcome is not known.
            claim: func(bucket: string, key: string, who: string) -> result<bool, string>;
        }

        world guest {
            import portcullis:host/kv@0.1.0;
            import portcullis:host/call@0.1.0;
            export shared;
        }
    "#,
});

struct Shared;

fn told(error: Error) -> String {
    match error {
        Error::NoSuchBucket => "no-such-bucket".into(),
        Error::AccessDenied => "access-denied".into(),
        Error::InvalidArgument(text) => format!("invalid-argument: {text}"),
        Error::Conflict(found) => match found {
            Some(entry) => format!("conflict: {} {}", entry.key, text(entry.value)),
            None => "conflict: nothing".into(),
        },
        Error::QuotaExceeded(usage) => match usage {
            Some(usage) => format!("quota-exceeded: {} of {}", usage.entries, usage.max_entries),
            None => "quota-exceeded".into(),
        },
        Error::Compacted(version) => format!("compacted: {version}"),
        Error::Limit(text) => format!("limit: {text}"),
        Error::Busy(text) => format!("busy: {text}"),
        Error::TimedOut => "timed-out".into(),
        Error::Unavailable => "unavailable".into(),
        Error::UnknownOutcome => "unknown-outcome".into(),
        Error::Other(text) => format!("other: {text}"),
    }
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8_lossy(&value).into_owned()
}

fn when(text: &str) -> Condition {
    match text {
        "always" => Condition::Always,
        "absent" => Condition::IfAbsent,
        "present" => Condition::IfPresent,
        version => Condition::IfVersion(version.parse().expect("a version")),
    }
}

fn options(when_text: &str, ttl_ms: Option<u64>) -> SetOptions {
    SetOptions { when: when(when_text), ttl_ms }
}

fn open(bucket: &str) -> Result<Bucket, String> {
    Bucket::open(bucket).map_err(told)
}

impl Guest for Shared {
    fn open(bucket: String) -> Result<(), String> {
        open(&bucket).map(drop)
    }

    fn get(bucket: String, key: String) -> Result<Option<(String, u64, String, String)>, String> {
        let found = open(&bucket)?.get(&key).map_err(told)?;
        Ok(found.map(|Entry { value, version, writer, .. }| (text(value), version, writer.principal, writer.plugin)))
    }

    fn get_many(bucket: String, keys: Vec<String>) -> Result<Vec<Option<String>>, String> {
        let found = open(&bucket)?.get_many(&keys).map_err(told)?;
        Ok(found.into_iter().map(|entry| entry.map(|entry| text(entry.value))).collect())
    }

    fn exists(bucket: String, key: String) -> Result<bool, String> {
        open(&bucket)?.exists(&key).map_err(told)
    }

    fn set(bucket: String, key: String, text: String, when: String, ttl_ms: Option<u64>) -> Result<u64, String> {
        open(&bucket)?.set(&key, text.as_bytes(), options(&when, ttl_ms)).map_err(told)
    }

    fn delete(bucket: String, key: String, condition: String) -> Result<Option<u64>, String> {
        open(&bucket)?.delete(&key, when(&condition)).map_err(told)
    }

    fn increment(bucket: String, key: String, delta: i64) -> Result<(i64, u64), String> {
        open(&bucket)?.increment(&key, delta, None).map_err(told)
    }

    fn keys(bucket: String, prefix: String, after: Option<String>, limit: u32) -> Result<Page, String> {
        let page = open(&bucket)?.list(&prefix, after.as_deref(), limit).map_err(told)?;
        Ok(Page { keys: page.entries.into_iter().map(|entry| entry.key).collect(), next: page.next })
    }

    fn transact(bucket: String, steps: Vec<Step>) -> Result<Vec<Option<u64>>, String> {
        let operation = |step: Step| match step.what.as_str() {
            "set" => Operation::Set((step.key, step.text.into_bytes(), options(&step.when, None))),
            "delete" => Operation::Delete((step.key, when(&step.when))),
            _ => Operation::Check((step.key, when(&step.when))),
        };
        let operations: Vec<_> = steps.into_iter().map(operation).collect();
        open(&bucket)?.transact(&operations).map_err(told)
    }

    fn changes(bucket: String, prefix: String, after: u64, wait_ms: u32) -> Result<(Vec<String>, u64, u64), String> {
        let page = open(&bucket)?.changes(&prefix, after, 100, wait_ms).map_err(told)?;
        let shown = |change: kv::Change| match change.kind {
            kv::ChangeKind::Set => format!("set {} {}", change.key, text(change.value.unwrap_or_default())),
            kv::ChangeKind::Delete => format!("delete {}", change.key),
            kv::ChangeKind::Expire => format!("expire {}", change.key),
        };
        let left = portcullis::host::call::time_left();
        Ok((page.changes.into_iter().map(shown).collect(), page.next_after, left))
    }

    fn usage(bucket: String) -> Result<(u64, u64), String> {
        let usage = open(&bucket)?.usage().map_err(told)?;
        Ok((usage.entries, usage.bytes))
    }

    fn get_often(bucket: String, key: String, times: u32) -> Option<(u32, String)> {
        let bucket = open(&bucket).ok()?;
        (0..times).find_map(|time| bucket.get(&key).err().map(|error| (time, told(error))))
    }

    fn set_bytes(bucket: String, key: String, bytes: u32) -> Result<u64, String> {
        open(&bucket)?.set(&key, &vec![b'x'; bytes as usize], options("always", None)).map_err(told)
    }

    fn list_often(bucket: String, times: u32) -> Option<(u32, String)> {
        let bucket = open(&bucket).ok()?;
        (0..times).find_map(|time| bucket.list("", None, 1000).err().map(|error| (time, told(error))))
    }

    fn hold(bucket: String, times: u32) -> Result<u32, String> {
        let held: Vec<_> = (0..times).map(|_| open(&bucket)).collect::<Result<_, _>>()?;
        Ok(held.len() as u32)
    }

    fn set_and_spin(bucket: String, key: String) {
        _ = open(&bucket).map(|bucket| bucket.set(&key, b"spinning", options("always", None)));
        loop {
            std::hint::spin_loop();
        }
    }

    fn claim(bucket: String, key: String, who: String) -> Result<bool, String> {
        let bucket = open(&bucket)?;
        loop {
            match bucket.set(&key, who.as_bytes(), options("absent", None)) {
                Ok(_) => return Ok(true),
                Err(Error::Conflict(found)) => return Ok(found.is_some_and(|entry| entry.value == who.as_bytes())),
                Err(Error::UnknownOutcome) => {}
                Err(error) => return Err(told(error)),
            }
        }
    }
}

export!(Shared);
