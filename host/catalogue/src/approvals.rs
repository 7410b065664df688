//! What an operator does to what may run: approve, compare, remove, disable, accept a lock. Each is recorded, done or
//! refused. No door reaches this.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
};

use portcullis_audit::{ApprovalAction, AuditError, Event};
use portcullis_policy::{Digest, Effective, PluginName, ToolName};
use portcullis_runtime::{LoadError, Plugin, Terms};
use portcullis_trust::{
    Approval, ApproveRequest, Approved, Candidate, Collision, Difference, Expected, Finding, LockReview, Removed,
    Standing, ToolNames, Trust, TrustError, collisions,
};

use crate::{
    Catalogue, State,
    admission::Admission,
    draft::{Entry, NameCollision},
    prepare::{self, Examined, Refusal, Unfit},
};

/// Who acts, and when.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The operating system's name of the user.
    pub name: String,
    /// Now, as RFC 3339 in UTC.
    pub at: String,
}

/// What an operator asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The configuration has no such plugin.
    #[error("the configuration has no plugin `{plugin}`")]
    Unknown {
        /// The plugin.
        plugin: String,
    },
    /// The configuration switches it off.
    #[error("the plugin `{plugin}` is disabled in the configuration")]
    Disabled {
        /// The plugin.
        plugin: PluginName,
    },
    /// It cannot be served as it lies there.
    #[error("the plugin `{plugin}` cannot be approved: {reason}")]
    Unfit {
        /// The plugin.
        plugin: PluginName,
        /// Why.
        reason: String,
        /// What to write or to do.
        mend: Option<String>,
    },
    /// Its tools would be taken for another's.
    #[error(transparent)]
    Collision(#[from] NameCollision),
    /// Its tools would be taken for those of a plugin that is approved and not configured.
    #[error(
        "the tool `{tool}` of `{plugin}` would be taken for `{taken}` of `{by}`, which is approved and not configured"
    )]
    Reserved {
        /// The plugin.
        plugin: PluginName,
        /// Its tool.
        tool: ToolName,
        /// The approved tool.
        taken: ToolName,
        /// Whose that is.
        by: PluginName,
    },
    /// It does not compile, or imports or needs what it cannot get.
    #[error("the plugin `{plugin}` cannot be approved: {error}")]
    Load {
        /// The plugin.
        plugin: PluginName,
        /// Why.
        error: LoadError,
    },
    /// The customs house refused.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It could not be recorded that it is about to be done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// `dev` approves nothing.
    #[error("what was built here needs no approval, and gets none")]
    NoLock,
}

impl ApprovalError {
    /// The line or command that mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("portcullis list".into()),
            Self::Disabled { plugin } => Some(format!("in `[plugins.{plugin}]`: enabled = true")),
            Self::Unfit { plugin, mend, .. } => mend.clone().or_else(|| Some(format!("portcullis inspect {plugin}"))),
            Self::Load { plugin, error } => error.hint(plugin).or_else(|| Some(format!("portcullis inspect {plugin}"))),
            Self::Collision(collision) => Some(collision.hint()),
            Self::Reserved { by, .. } => Some(format!("portcullis remove {by}")),
            Self::Trust(error) => error.hint(),
            Self::Audit(_) => Some("portcullis doctor".into()),
            Self::NoLock => None,
        }
    }
}

/// A plugin for an operator to look at: what lies there, and how it stands to what was approved.
#[derive(Clone, Debug)]
pub struct Review {
    /// What lies there.
    pub examined: Arc<Examined>,
    /// What this host has accepted of it, whatever the lock says.
    pub approved: Option<Arc<Approval>>,
    /// How the two differ.
    pub difference: Option<Difference>,
    /// What the rules say of its definitions.
    pub findings: Vec<(ToolName, Finding)>,
    /// How the plugin stands.
    pub state: State,
}

impl Catalogue {
    /// What lies at the source of `plugin`, beside what was approved of it.
    ///
    /// # Errors
    /// When there is no such plugin, or nothing that could be looked at.
    pub async fn review(&self, plugin: &PluginName) -> Result<Review, ApprovalError> {
        let plugins = self.plugins.lock().await;
        let (entry, examined) = fit(&plugins.entries, plugin)?;
        let approved = self.accepted(plugin);
        let names = plugins.entries.values().flat_map(|entry| {
            let of_one: Vec<_> = entry.names().into_iter().map(|tool| (&entry.spec.name, tool)).collect();
            of_one
        });
        Ok(Review {
            examined: Arc::clone(examined),
            difference: approved.as_ref().map(|approved| self.difference_from(approved, examined)),
            approved,
            findings: examined.findings(&ToolNames::from_iter(names)),
            state: entry.state.clone(),
        })
    }

    /// Approves `plugin` as it was read when the configuration was applied: those bytes are compiled, kept and pinned.
    ///
    /// # Errors
    /// When it is not what `expected` says, cannot be served, or would be taken for another. The refusal is recorded.
    pub async fn approve(
        &self,
        plugin: &PluginName,
        expected: Expected,
        allow_downgrade: bool,
        operator: &Operator,
    ) -> Result<Approved, ApprovalError> {
        let approved = self.try_approve(plugin, expected, allow_downgrade, operator).await;
        self.recorded(Some(plugin), approved, operator, |Approved { before, approval, review, .. }| {
            let before = before.as_ref().map(|before| before.sha256);
            let (digest, review, by) = (approval.sha256, *review, operator.name.as_str());
            self.record(&Event::Approved { plugin, digest, before, review, by });
        })
    }

    async fn try_approve(
        &self,
        plugin: &PluginName,
        expected: Expected,
        allow_downgrade: bool,
        operator: &Operator,
    ) -> Result<Approved, ApprovalError> {
        let trust = self.trust()?;
        let plugins = self.plugins.lock().await;
        let (entry, examined) = fit(&plugins.entries, plugin)?;
        if let Some(Refusal { reason, mend }) = examined.refused.clone() {
            return Err(ApprovalError::Unfit { plugin: plugin.clone(), reason, mend });
        }
        // Before anything of it is compiled: the operator may have read something else.
        expected.check(&examined.candidate)?;
        let standing = tokio::task::block_in_place(|| trust.reload());
        not_taken(&examined.candidate, &standing, &plugins.entries)?;
        let inspection = &examined.inspection;
        let terms = Terms {
            plugin: plugin.clone(),
            concurrency: entry.spec.limits.concurrency,
            grants: Effective::new(Arc::clone(&entry.spec.grants), Arc::clone(&entry.spec.grants)),
            secrets: Arc::clone(&entry.spec.secrets),
        };
        let component = prepare::read(&entry.spec.source).map_err(|unfit| unfit_to_approve(plugin, &unfit))?;
        if component.digest() != inspection.digest {
            let (plugin, expected, found) = (plugin.clone(), inspection.digest, component.digest());
            return Err(TrustError::Bytes { plugin, expected, found }.into());
        }
        let description = Arc::clone(&inspection.description);
        let rehearsed = Plugin::rehearse(&self.runtime, &component, description, &terms).await;
        rehearsed.map_err(|error| ApprovalError::Load { plugin: plugin.clone(), error })?;
        let request = ApproveRequest {
            expected,
            allow_downgrade,
            by: operator.name.clone(),
            at: operator.at.clone(),
            known: plugins.entries.keys().cloned().collect(),
        };
        self.intend(ApprovalAction::Approve, Some(plugin), Some(examined.candidate.sha256), operator)?;
        let approve = || trust.approve(&examined.candidate, component.bytes(), request);
        Ok(tokio::task::block_in_place(approve)?)
    }

    /// Takes the approval of `plugin` back: it is quarantined. Returns what had been approved.
    ///
    /// # Errors
    /// When the lock or the record cannot be used or written. The refusal is recorded.
    pub async fn remove(&self, plugin: &PluginName, operator: &Operator) -> Result<Removed, ApprovalError> {
        let known: BTreeSet<_> = self.plugins.lock().await.entries.keys().cloned().collect();
        let removed = self.trust().and_then(|trust| {
            self.intend(ApprovalAction::Remove, Some(plugin), None, operator)?;
            Ok(tokio::task::block_in_place(|| trust.remove(plugin, &known))?)
        });
        self.recorded(Some(plugin), removed, operator, |removed| {
            let digest = removed.before.as_ref().map(|before| before.sha256);
            self.record(&Event::ApprovalRemoved { plugin, digest, by: &operator.name });
        })
    }

    /// Switches `plugin` off until it is approved again. Returns whether it was on. It is done also where that cannot be
    /// recorded: it is for emergencies, and only takes away.
    ///
    /// # Errors
    /// When the record cannot be used or written. The refusal is recorded.
    pub fn disable(&self, plugin: &PluginName, operator: &Operator) -> Result<bool, ApprovalError> {
        let disabled = self.trust().and_then(|trust| Ok(tokio::task::block_in_place(|| trust.disable(plugin))?));
        self.recorded(Some(plugin), disabled, operator, |_| {
            self.record(&Event::Disabled { plugin, by: &operator.name });
        })
    }

    /// What accepting the lock as it lies there would change.
    ///
    /// # Errors
    /// When the lock cannot be used.
    pub fn lock_review(&self) -> Result<LockReview, ApprovalError> {
        Ok(tokio::task::block_in_place(|| self.trust().map(|trust| trust.lock_changes()))??)
    }

    /// Accepts the lock whose bytes have the digest `expected`.
    ///
    /// # Errors
    /// When it is another, goes back behind what was approved, or cannot be used. The refusal is recorded.
    pub fn accept_lock(
        &self,
        expected: Digest,
        allow_downgrade: bool,
        operator: &Operator,
    ) -> Result<LockReview, ApprovalError> {
        let accept = |trust: &Trust| trust.accept_lock(expected, allow_downgrade);
        let accepted = self.trust().and_then(|trust| {
            self.intend(ApprovalAction::AcceptLock, None, Some(expected), operator)?;
            Ok(tokio::task::block_in_place(|| accept(trust))?)
        });
        self.recorded(None, accepted, operator, |review| {
            self.record(&Event::LockAccepted {
                digest: review.digest,
                added: review.added.len(),
                changed: review.changed.len(),
                removed: review.removed.len(),
                started_over: review.starts_over.is_some(),
                by: &operator.name,
            });
        })
    }

    /// How all plugins stand, for `doctor`; none where nothing has to be approved.
    pub fn standing(&self) -> Option<Arc<Standing>> {
        self.trust().ok().map(|trust| tokio::task::block_in_place(|| trust.reload()))
    }

    fn accepted(&self, plugin: &PluginName) -> Option<Arc<Approval>> {
        self.standing()?.accepted(plugin)
    }

    fn trust(&self) -> Result<&Arc<Trust>, ApprovalError> {
        match &self.admission {
            Admission::Lock(trust) => Ok(trust),
            Admission::Built => Err(ApprovalError::NoLock),
        }
    }

    /// Records what is about to be done. What cannot be recorded is not done.
    fn intend(
        &self,
        action: ApprovalAction,
        plugin: Option<&PluginName>,
        digest: Option<Digest>,
        operator: &Operator,
    ) -> Result<(), ApprovalError> {
        self.ledger.append(&Event::ApprovalIntent { action, plugin, digest, by: &operator.name })?;
        Ok(())
    }

    /// Records what came of it: `done`, or the refusal.
    fn recorded<T>(
        &self,
        plugin: Option<&PluginName>,
        result: Result<T, ApprovalError>,
        operator: &Operator,
        done: impl FnOnce(&T),
    ) -> Result<T, ApprovalError> {
        match &result {
            Ok(value) => done(value),
            Err(error) => self.refused(plugin, error, operator),
        }
        result
    }

    /// Records that a command approved nothing before it came here: no digest was given that could be one, or the
    /// operator did not say yes.
    pub fn turned_away(&self, plugin: Option<&PluginName>, error: &dyn Error, operator: &Operator) {
        self.refused(plugin, error, operator);
    }

    fn refused(&self, plugin: Option<&PluginName>, error: &dyn Error, operator: &Operator) {
        self.record(&Event::Refused { plugin, reason: &error.to_string(), by: &operator.name });
    }
}

/// Whether the names of a plugin's tools are its own: those of every other plugin that is approved are taken, whether it
/// runs now or not.
fn not_taken(candidate: &Candidate, standing: &Standing, configured: &Entries) -> Result<(), ApprovalError> {
    let plugin = &candidate.plugin;
    let others = standing.all_accepted().filter(|(other, _)| *other != plugin);
    let theirs = others.flat_map(|(other, block)| block.tools.keys().map(move |tool| (other, tool)));
    let all: Vec<_> = candidate.tools.keys().map(|tool| (plugin, tool)).chain(theirs).collect();
    let ours = |collision: &Collision| {
        collision.refused() && (collision.one.plugin == *plugin || collision.other.plugin == *plugin)
    };
    let Some(collision) = collisions(all).into_iter().find(ours) else { return Ok(()) };
    let collision = NameCollision::renaming(collision, |owned| owned.plugin == *plugin);
    let Collision { one: taken, other: new, .. } = &collision.0;
    if configured.contains_key(&taken.plugin) {
        return Err(collision.into());
    }
    let (plugin, tool) = (new.plugin.clone(), new.tool.clone());
    Err(ApprovalError::Reserved { plugin, tool, taken: taken.tool.clone(), by: taken.plugin.clone() })
}

/// The plugins of a configuration.
type Entries = BTreeMap<PluginName, Entry>;

/// The plugin, where there is something of it that could be approved.
fn fit<'a>(entries: &'a Entries, plugin: &PluginName) -> Result<(&'a Entry, &'a Arc<Examined>), ApprovalError> {
    let entry = entries.get(plugin).ok_or_else(|| ApprovalError::Unknown { plugin: plugin.to_string() })?;
    match &entry.examined {
        Some(Ok(examined)) => Ok((entry, examined)),
        Some(Err(unfit)) => Err(unfit_to_approve(plugin, unfit)),
        None => Err(ApprovalError::Disabled { plugin: plugin.clone() }),
    }
}

fn unfit_to_approve(plugin: &PluginName, unfit: &Unfit) -> ApprovalError {
    let reason = unfit.state.reason().unwrap_or("nothing is known of it").to_owned();
    ApprovalError::Unfit { plugin: plugin.clone(), reason, mend: None }
}

#[cfg(test)]
mod tests;
