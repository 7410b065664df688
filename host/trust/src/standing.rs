//! How every plugin stands: its block of the lock beside what this host has accepted. Values only, nothing is read here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use portcullis_policy::PluginName;
use serde_json::Value;

use crate::{
    Approval,
    accepted::{Accepted, AcceptedError},
    lock::{Lock, LockError},
};

/// Plugins that a message names before it only counts.
const NAMED: usize = 8;

/// How the plugins stood when lock and record were read. Does not change.
#[derive(Debug)]
pub struct Standing {
    judgements: BTreeMap<PluginName, Judgement>,
    accepted: BTreeMap<PluginName, Arc<Approval>>,
    /// What holds of a plugin that neither file names.
    otherwise: Judgement,
    /// Why the whole lock or the whole record cannot be used.
    whole: Option<LockReason>,
    loose: Vec<PathBuf>,
}

/// What may be done with a plugin.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// The lock says what this host has accepted: exactly this may run.
    Approved(Arc<Approval>),
    /// An operator has switched it off. What is accepted of it, if anything.
    Disabled(Option<Arc<Approval>>),
    /// Nobody has approved it.
    Unapproved,
    /// The lock does not say what this host has accepted. Nothing of it may run.
    LockDiffers {
        /// Why.
        reason: LockReason,
        /// The parts of the block that differ, such as `sha256` or `tools.forecast`; empty where a whole block does.
        differs: Vec<String>,
    },
}

/// Why a lock is not the one that this host has accepted.
#[derive(Clone, Debug)]
pub enum LockReason {
    /// The lock is gone.
    Deleted,
    /// The lock cannot be used.
    Damaged(Arc<LockError>),
    /// The lock lost this plugin's block.
    Removed,
    /// The block was changed.
    Edited,
    /// The block names bytes that were approved before the latest.
    Older,
    /// The block came from elsewhere: this host never accepted one for this plugin.
    NeverAccepted,
    /// What this host has accepted is not known: its key or the record was lost or changed.
    Record(Arc<AcceptedError>),
}

impl LockReason {
    /// A stable word for it, for the ledger and `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Damaged(_) => "damaged",
            Self::Removed => "removed",
            Self::Edited => "edited",
            Self::Older => "older",
            Self::NeverAccepted => "never_accepted",
            Self::Record(_) => "record",
        }
    }

    /// The command that mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Deleted => Some("git checkout -- portcullis.lock, or portcullis approve --lock".to_owned()),
            Self::Removed | Self::Edited | Self::Older | Self::NeverAccepted => {
                Some("portcullis approve --lock".to_owned())
            }
        }
    }
}

impl fmt::Display for LockReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("the lock is gone"),
            Self::Damaged(error) => error.fmt(f),
            Self::Removed => f.write_str("the lock has lost its block"),
            Self::Edited => f.write_str("its block of the lock was changed"),
            Self::Older => f.write_str("its block of the lock is an older one"),
            Self::NeverAccepted => f.write_str("its block of the lock was never accepted on this host"),
            Self::Record(error) => error.fmt(f),
        }
    }
}

/// The lock as a whole is not the one that this host has accepted.
#[derive(Clone, Debug)]
pub struct LockTrouble {
    /// Why the whole lock counts for nothing, where that is so.
    pub whole: Option<LockReason>,
    /// The plugins that it keeps from running, each with its reason.
    pub plugins: BTreeMap<PluginName, LockReason>,
}

impl LockTrouble {
    /// The command that mends it.
    pub fn hint(&self) -> Option<String> {
        self.whole.as_ref().or(self.plugins.values().next()).and_then(LockReason::hint)
    }
}

impl fmt::Display for LockTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(whole) = &self.whole {
            return whole.fmt(f);
        }
        f.write_str("the lock is not the one that this host has accepted: ")?;
        for (at, (plugin, reason)) in self.plugins.iter().take(NAMED).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}`{plugin}` ({})", reason.code())?;
        }
        match self.plugins.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Standing {
    /// Judges all plugins. `lock` is `None` where there is no file.
    pub(crate) fn new(
        lock: Result<Option<Lock>, LockError>,
        accepted: Result<Accepted, AcceptedError>,
        loose: Vec<PathBuf>,
    ) -> Self {
        let (lock, accepted) = (lock.map_err(Arc::new), accepted.map_err(Arc::new));
        let damaged = lock.as_ref().err().map(|error| LockReason::Damaged(Arc::clone(error)));
        let otherwise = match &damaged {
            // Whether it has a block cannot be told.
            Some(reason) => Judgement::LockDiffers { reason: reason.clone(), differs: Vec::new() },
            None => Judgement::Unapproved,
        };
        let unknown = accepted.as_ref().err().map(|error| LockReason::Record(Arc::clone(error)));
        let record = accepted.unwrap_or_default();
        let gone = matches!(lock, Ok(None)) && !record.plugins.is_empty();
        let missing = gone.then_some(LockReason::Deleted);
        let whole = damaged.clone().or(unknown.clone()).or(missing.clone());
        let lock = lock.ok().flatten().unwrap_or_default();

        let names: BTreeSet<_> =
            lock.plugins.keys().chain(record.plugins.keys()).chain(&record.disabled).cloned().collect();
        let judge = |plugin: PluginName| {
            let in_lock = lock.plugins.get(&plugin);
            let judgement = match (&unknown, &damaged) {
                (Some(reason), _) => Judgement::LockDiffers { reason: reason.clone(), differs: Vec::new() },
                (None, Some(_)) if !record.disabled.contains(&plugin) => otherwise.clone(),
                (None, _) => judge(&plugin, in_lock, lock.stale.contains(&plugin), &record, missing.as_ref()),
            };
            (plugin, judgement)
        };
        Self {
            judgements: names.into_iter().map(judge).collect(),
            otherwise,
            whole,
            loose,
            accepted: record.plugins.into_iter().map(|(plugin, block)| (plugin, Arc::new(block))).collect(),
        }
    }

    /// How a plugin stands.
    pub fn of(&self, plugin: &PluginName) -> Judgement {
        self.judgements.get(plugin).unwrap_or(&self.otherwise).clone()
    }

    /// What this host has accepted of a plugin, whatever the lock says now: for comparing, not for running.
    pub fn accepted(&self, plugin: &PluginName) -> Option<Arc<Approval>> {
        self.accepted.get(plugin).cloned()
    }

    /// Everything that this host has accepted, also what does not run now.
    pub fn all_accepted(&self) -> impl Iterator<Item = (&PluginName, &Approval)> {
        self.accepted.iter().map(|(plugin, block)| (plugin, block.as_ref()))
    }

    /// What is wrong with the lock, for `readyz`, `doctor` and `serve --strict`.
    pub fn trouble(&self) -> Option<LockTrouble> {
        let differing = self.judgements.iter().filter_map(|(plugin, judgement)| match judgement {
            Judgement::LockDiffers { reason, .. } => Some((plugin.clone(), reason.clone())),
            Judgement::Approved(_) | Judgement::Disabled(_) | Judgement::Unapproved => None,
        });
        let trouble = LockTrouble { whole: self.whole.clone(), plugins: differing.collect() };
        (trouble.whole.is_some() || !trouble.plugins.is_empty()).then_some(trouble)
    }

    /// The lock and its folder, where others than their owner may write them. They can take plugins away and not bring
    /// any in, so this is a warning.
    pub fn writable_by_others(&self) -> &[PathBuf] {
        &self.loose
    }
}

fn judge(
    plugin: &PluginName,
    in_lock: Option<&Approval>,
    stale: bool,
    record: &Accepted,
    missing: Option<&LockReason>,
) -> Judgement {
    let accepted = record.plugins.get(plugin);
    // While a write is unfinished, the lock counts before it and after it.
    let next = || record.next.get(plugin).is_some_and(|next| in_lock == next.as_ref());
    let same = !stale && (in_lock == accepted || next());
    if record.disabled.contains(plugin) {
        let block = if same { in_lock } else { accepted };
        return Judgement::Disabled(block.cloned().map(Arc::new));
    }
    let reason = match (in_lock, accepted) {
        (Some(block), _) if same => return Judgement::Approved(Arc::new(block.clone())),
        (None, _) if same => return Judgement::Unapproved,
        (Some(block), _) if record.is_downgrade(plugin, block.sha256) => LockReason::Older,
        (Some(_), Some(_)) => LockReason::Edited,
        (Some(_), None) => LockReason::NeverAccepted,
        (None, _) => missing.cloned().unwrap_or(LockReason::Removed),
    };
    Judgement::LockDiffers { reason, differs: differing(accepted, in_lock) }
}

/// The names of the parts that differ between two blocks.
fn differing(one: Option<&Approval>, other: Option<&Approval>) -> Vec<String> {
    let (Some(one), Some(other)) = (one, other) else { return Vec::new() };
    let (Ok(Value::Object(one)), Ok(Value::Object(other))) = (serde_json::to_value(one), serde_json::to_value(other))
    else {
        return Vec::new();
    };
    let mut parts = BTreeSet::new();
    for key in one.keys().chain(other.keys()).filter(|key| one.get(*key) != other.get(*key)) {
        match (one.get(key), other.get(key)) {
            (Some(Value::Object(one)), Some(Value::Object(other))) => {
                let inner = one.keys().chain(other.keys()).filter(|inner| one.get(*inner) != other.get(*inner));
                parts.extend(inner.map(|inner| format!("{key}.{inner}")));
            }
            _ => _ = parts.insert(key.clone()),
        }
    }
    parts.into_iter().collect()
}
