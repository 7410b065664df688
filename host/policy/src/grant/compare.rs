//! Grants against grants: what one allows beyond the other. What is not reported is covered; the reverse may not hold.

use std::collections::BTreeMap;

use super::{Grants, HttpGrant, HttpPattern, kv::KvGrant, path::Reading, pattern::Methods};
use crate::{Change, ChangeKind, FileGrant, SecretGrant, change::Direction, size::size};

impl Grants {
    /// What these grants allow beyond `approved`, in the order of the kinds.
    ///
    /// Sound: if nothing is reported, then `approved` allows whatever these allow. An entry is compared with single
    /// entries, method by method, so that one that only several others cover together is reported.
    pub fn widened_over(&self, approved: &Self) -> Vec<Change> {
        gains(self, approved, Direction::Widened)
    }

    /// What `approved` allows beyond these grants, in the order of the kinds.
    pub fn narrowed_over(&self, approved: &Self) -> Vec<Change> {
        gains(approved, self, Direction::Narrowed)
    }
}

/// What `more` allows beyond `less`.
fn gains(more: &Grants, less: &Grants, direction: Direction) -> Vec<Change> {
    // Every field by name: a new kind does not compile until it is compared.
    let Grants { deny, http, secrets, files, kv, env } = more;
    let mut changes = http_gains(http, &less.http);
    changes.extend(deny_gains(deny, http, &less.deny, direction));
    changes.extend(secret_gains(secrets, &less.secrets));
    changes.extend(file_gains(files, &less.files, direction));
    changes.extend(env_gains(env, &less.env, direction));
    changes.extend(kv_gains(kv, &less.kv));
    changes
}

fn http_gains(more: &[HttpGrant], less: &[HttpGrant]) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in more {
        let covering: Vec<_> =
            less.iter().filter(|other| other.allow.covers_url(&entry.allow, Reading::Exact)).collect();
        let left = |others: Vec<&HttpGrant>| {
            let methods = others.iter().map(|other| &other.allow.methods).collect::<Vec<&Methods>>();
            entry.allow.methods.without(methods.into_iter()).map(|methods| entry.allow.with_methods(methods))
        };
        if let Some(allow) = left(covering.clone()) {
            let gained = HttpGrant { allow, private: entry.private.clone() };
            changes.push(Change::new(ChangeKind::Http, gained.to_string()));
        }
        for range in &entry.private {
            let opening = |other: &&HttpGrant| other.private.iter().any(|opened| opened.covers(range));
            let uncovered = left(covering.clone());
            let closed = left(covering.iter().copied().filter(opening).collect());
            // Methods that are new altogether stand above, with their ranges.
            let only_closed = closed.and_then(|closed| {
                let methods = closed.methods.without(uncovered.iter().map(|pattern| &pattern.methods))?;
                Some(closed.with_methods(methods))
            });
            changes.extend(
                only_closed.map(|pattern| Change::new(ChangeKind::Http, format!("{pattern}, private {range}"))),
            );
        }
    }
    changes
}

/// What `less` denies and `more` does not, as far as `more` allows it.
fn deny_gains(more: &[HttpPattern], allowed: &[HttpGrant], less: &[HttpPattern], direction: Direction) -> Vec<Change> {
    let word = match direction {
        Direction::Widened => "no longer denied",
        Direction::Narrowed => "now denied",
    };
    let lifted = less.iter().filter_map(|entry| {
        let covering = more.iter().filter(|other| other.covers_url(entry, Reading::Decoded));
        let methods = covering.map(|other| &other.methods).collect::<Vec<_>>();
        let lifted = entry.with_methods(entry.methods.without(methods.into_iter())?);
        let matters = allowed.iter().any(|entry| entry.allow.may_overlap(&lifted));
        matters.then(|| Change::new(ChangeKind::Deny, format!("{lifted} ({word})")))
    });
    lifted.collect()
}

fn secret_gains(more: &[SecretGrant], less: &[SecretGrant]) -> Vec<Change> {
    let gained = more.iter().filter(|entry| !less.contains(entry));
    gained.map(|entry| Change::new(ChangeKind::Secrets, entry.to_string())).collect()
}

fn file_gains(more: &[FileGrant], less: &[FileGrant], direction: Direction) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in more {
        let place = |other: &&FileGrant| other.guest == entry.guest && other.host == entry.host;
        let Some(before) = less.iter().find(place) else {
            changes.push(Change::new(ChangeKind::Files, entry.to_string()));
            continue;
        };
        let mut note = |less: String, more: String| {
            let text = format!("{} as {}, {}", entry.host, entry.guest, direction.arrow(less, more));
            changes.push(Change::new(ChangeKind::Files, text));
        };
        if entry.access > before.access {
            note(before.access.to_string(), entry.access.to_string());
        }
        if entry.quota > before.quota {
            note(size(before.quota), size(entry.quota));
        }
    }
    changes
}

fn env_gains(more: &BTreeMap<String, String>, less: &BTreeMap<String, String>, direction: Direction) -> Vec<Change> {
    let gained = more.iter().filter_map(|(name, value)| match less.get(name) {
        None => Some(format!("{name}={value}")),
        // Another value is neither more nor less. It is reported once, as what waits for approval.
        Some(before) if before != value && direction == Direction::Widened => {
            Some(format!("{name}={}", direction.arrow(before, value)))
        }
        Some(_) => None,
    });
    gained.map(|text| Change::new(ChangeKind::Env, text)).collect()
}

fn kv_gains(more: &[KvGrant], less: &[KvGrant]) -> Vec<Change> {
    let gained = more.iter().filter(|entry| !less.iter().any(|other| other.covers(entry)));
    gained.map(|entry| Change::new(ChangeKind::Kv, entry.to_string())).collect()
}
