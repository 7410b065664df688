//! What an operator does to what may run: approve, compare, remove, disable, accept a lock. Each is recorded, done or
//! refused. No door reaches this.

use std::{collections::BTreeSet, error::Error, sync::Arc};

use portcullis_audit::Event;
use portcullis_policy::{Digest, Effective, PluginName, ToolName};
use portcullis_runtime::{LoadError, Plugin, Terms};
use portcullis_trust::{
    Approval, ApproveRequest, Approved, Difference, DigestPrefix, Finding, LockReview, Standing, ToolNames, Trust,
    TrustError, collisions,
};

use crate::{
    Catalogue, State,
    admission::Admission,
    draft::{Entry, NameCollision},
    prepare::{Examined, Refusal},
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
    /// It does not compile, or imports or needs what it cannot get.
    #[error("the plugin `{plugin}` cannot be approved: {source}")]
    Load {
        /// The plugin.
        plugin: PluginName,
        /// Why.
        source: LoadError,
    },
    /// The customs house refused.
    #[error(transparent)]
    Trust(#[from] TrustError),
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
            Self::Load { plugin, source } => {
                source.hint(plugin).or_else(|| Some(format!("portcullis inspect {plugin}")))
            }
            Self::Collision(collision) => Some(collision.hint()),
            Self::Trust(error) => error.hint(),
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
        expected: DigestPrefix,
        allow_downgrade: bool,
        operator: &Operator,
    ) -> Result<Approved, ApprovalError> {
        let approved = self.try_approve(plugin, expected, allow_downgrade, operator).await;
        let by = operator.name.as_str();
        match &approved {
            Ok(Approved { before, approval }) => {
                let before = before.as_ref().map(|before| before.sha256);
                self.record(&Event::Approved { plugin, digest: approval.sha256, before, by });
            }
            Err(error) => self.refused(Some(plugin), error, operator),
        }
        approved
    }

    async fn try_approve(
        &self,
        plugin: &PluginName,
        expected: DigestPrefix,
        allow_downgrade: bool,
        operator: &Operator,
    ) -> Result<Approved, ApprovalError> {
        let trust = self.trust()?;
        let plugins = self.plugins.lock().await;
        let (entry, examined) = fit(&plugins.entries, plugin)?;
        if let Some(Refusal { reason, mend }) = examined.refused.clone() {
            return Err(ApprovalError::Unfit { plugin: plugin.clone(), reason, mend });
        }
        // Before anything of it is compiled: the operator may have read other bytes.
        if !expected.matches(examined.candidate.sha256) {
            let found = examined.candidate.sha256;
            return Err(TrustError::Prefix { plugin: plugin.clone(), expected, found }.into());
        }
        let others = plugins.entries.values().filter(|other| other.spec.name != *plugin && other.served.is_some());
        let theirs = others.flat_map(|other| other.names().into_iter().map(|tool| (&other.spec.name, tool)));
        let all: Vec<_> = examined.candidate.tools.keys().map(|tool| (plugin, tool)).chain(theirs).collect();
        let ours = |collision: &portcullis_trust::Collision| {
            collision.refused() && (collision.one.plugin == *plugin || collision.other.plugin == *plugin)
        };
        if let Some(collision) = collisions(all).into_iter().find(ours) {
            return Err(NameCollision::renaming(collision, |owned| owned.plugin == *plugin).into());
        }
        let inspection = &examined.inspection;
        let terms = Terms {
            plugin: plugin.clone(),
            concurrency: entry.spec.limits.concurrency,
            grants: Effective::new(Arc::clone(&entry.spec.grants), Arc::clone(&entry.spec.grants)),
            secrets: Arc::clone(&entry.spec.secrets),
        };
        let (component, description) = (&inspection.component, Arc::clone(&inspection.description));
        let load = Plugin::load(&self.runtime, component, description, &terms).await;
        load.map_err(|source| ApprovalError::Load { plugin: plugin.clone(), source })?;
        let request = ApproveRequest {
            expected,
            allow_downgrade,
            by: operator.name.clone(),
            at: operator.at.clone(),
            known: plugins.entries.keys().cloned().collect(),
        };
        let approve = || trust.approve(&examined.candidate, component.bytes(), request);
        Ok(tokio::task::block_in_place(approve)?)
    }

    /// Takes the approval of `plugin` back: it is quarantined. Returns what had been approved.
    ///
    /// # Errors
    /// When the lock or the record cannot be used or written. The refusal is recorded.
    pub async fn remove(&self, plugin: &PluginName, operator: &Operator) -> Result<Option<Approval>, ApprovalError> {
        let known: BTreeSet<_> = self.plugins.lock().await.entries.keys().cloned().collect();
        let removed = self.trust().and_then(|trust| Ok(tokio::task::block_in_place(|| trust.remove(plugin, &known))?));
        match &removed {
            Ok(before) => {
                let digest = before.as_ref().map(|before| before.sha256);
                self.record(&Event::ApprovalRemoved { plugin, digest, by: &operator.name });
            }
            Err(error) => self.refused(Some(plugin), error, operator),
        }
        removed
    }

    /// Switches `plugin` off until it is approved again. Returns whether it was on.
    ///
    /// # Errors
    /// When the record cannot be used or written. The refusal is recorded.
    pub fn disable(&self, plugin: &PluginName, operator: &Operator) -> Result<bool, ApprovalError> {
        let disabled = self.trust().and_then(|trust| Ok(tokio::task::block_in_place(|| trust.disable(plugin))?));
        match &disabled {
            Ok(_) => self.record(&Event::Disabled { plugin, by: &operator.name }),
            Err(error) => self.refused(Some(plugin), error, operator),
        }
        disabled
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
        let accepted = self.trust().and_then(|trust| Ok(tokio::task::block_in_place(|| accept(trust))?));
        match &accepted {
            Ok(review) => self.record(&Event::LockAccepted {
                digest: review.digest,
                added: review.added.len(),
                changed: review.changed.len(),
                removed: review.removed.len(),
                started_over: review.starts_over.is_some(),
                by: &operator.name,
            }),
            Err(error) => self.refused(None, error, operator),
        }
        accepted
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

    /// Records that a command approved nothing before it came here: no digest was given that could be one, or the
    /// operator did not say yes.
    pub fn turned_away(&self, plugin: Option<&PluginName>, error: &dyn Error, operator: &Operator) {
        self.refused(plugin, error, operator);
    }

    fn refused(&self, plugin: Option<&PluginName>, error: &dyn Error, operator: &Operator) {
        self.record(&Event::Refused { plugin, reason: &error.to_string(), by: &operator.name });
    }
}

/// The plugin, where there is something of it that could be approved.
fn fit<'a>(
    entries: &'a std::collections::BTreeMap<PluginName, Entry>,
    plugin: &PluginName,
) -> Result<(&'a Entry, &'a Arc<Examined>), ApprovalError> {
    let entry = entries.get(plugin).ok_or_else(|| ApprovalError::Unknown { plugin: plugin.to_string() })?;
    match &entry.examined {
        Some(Ok(examined)) => Ok((entry, examined)),
        Some(Err(unfit)) => {
            let reason = unfit.state.reason().unwrap_or("nothing is known of it").to_owned();
            Err(ApprovalError::Unfit { plugin: plugin.clone(), reason, mend: None })
        }
        None => Err(ApprovalError::Disabled { plugin: plugin.clone() }),
    }
}
