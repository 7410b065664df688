//! One plugin of a configuration becomes an entry of the register: what lies there, how it stands, what runs of it.

use std::{sync::Arc, time::SystemTime};

use portcullis_audit::{Event, PluginState};
use portcullis_policy::Effective;
use portcullis_runtime::{Component, Terms};
use portcullis_trust::{Approval, ApprovedTool, Components, Difference, Judgement, LineKind};

use crate::{
    Catalogue, PluginSpec, State,
    admission::Admitted,
    draft::Entry,
    prepare::{Examined, Looked, Refusal, Unfit},
    served::{self, NotServed, Served},
    snapshot::Code,
    stamp::Stamp,
};

impl Catalogue {
    /// Reads what lies at the plugin's source, and brings in what of it, or of its approved generation, may run.
    pub(crate) async fn admit(self: Arc<Self>, spec: PluginSpec, admitted: &Admitted, before: Option<Entry>) -> Entry {
        let judgement = admitted.judgement(&spec.name);
        if !spec.enabled {
            let state = State::Disabled;
            let entry = Entry { spec, examined: None, served: None, state, hint: None, stamp: None };
            self.tell(&entry, before.as_ref(), None);
            return entry;
        }
        // Before it is read: what changes meanwhile has another.
        let stamp = Stamp::of(&spec.source, SystemTime::now());
        let Looked { component, examined } = self.look(&spec, stamp, before.as_ref()).await;
        let (approval, standing, hint) = match (judgement, &examined) {
            (Some(Judgement::Approved(approval)), _) => (Some(approval), State::Approved, None),
            (Some(Judgement::LockDiffers { reason, .. }), _) => {
                (None, State::Quarantined { reason: Some(reason.to_string()) }, reason.hint())
            }
            (Some(Judgement::Unapproved), _) => (None, State::Quarantined { reason: None }, None),
            // Looked at all the same: approving it is what switches it on.
            (Some(Judgement::Disabled(_)), _) => (None, State::Disabled, None),
            (None, Ok(examined)) if examined.refused.is_none() => {
                (Some(Arc::new(built_here(examined))), State::Approved, None)
            }
            (None, _) => (None, State::Approved, None),
        };
        let earlier = before.as_ref().and_then(|before| before.served.as_ref());
        let (served, unserved) = match &approval {
            Some(approval) => match self.serve(&spec, approval, examined.as_deref().ok(), component, earlier).await {
                Ok(served) => (Some(served), None),
                Err(error) => (None, Some(error)),
            },
            None => (None, None),
        };
        let refused = examined.as_ref().ok().and_then(|examined| examined.refused.clone());
        let state = match (&examined, unserved, &approval) {
            (_, None | Some(NotServed::Mapping { .. }), _) if refused.is_some() && standing.reason().is_none() => {
                let Refusal { reason, mend } = refused.unwrap_or_else(|| String::new().into());
                State::Broken { reason, mend }
            }
            (_, Some(NotServed::Mapping { .. }), _) | (Ok(_), None, Some(_)) => {
                self.compare(&spec, approval.as_deref(), examined.as_deref())
            }
            (Err(unfit), None, _) => match (&standing, &unfit.state) {
                // The lock comes first: what lies there may be in order.
                (State::Quarantined { reason: Some(_) } | State::Disabled, _) => standing,
                _ => unfit.state.clone(),
            },
            (_, Some(error), _) => State::Broken { reason: error.to_string(), mend: None },
            (Ok(_), None, None) => standing,
        };
        let entry = Entry { spec, examined: Some(examined), served, state, hint, stamp };
        self.tell(&entry, before.as_ref(), approval.as_deref());
        entry
    }

    /// What lies at the plugin's source: read, or known from before where neither the file nor the configuration changed.
    async fn look(&self, spec: &PluginSpec, stamp: Option<Stamp>, before: Option<&Entry>) -> Looked {
        let same = before.filter(|before| stamp.is_some() && before.stamp == stamp && before.spec == *spec);
        // What could not be decoded is tried again: it may have been the machine's fault.
        if let Some(Ok(examined)) = same.and_then(|before| before.examined.as_ref()) {
            return Looked { component: None, examined: Ok(Arc::clone(examined)) };
        }
        let _turn = self.reads.acquire().await;
        Looked::at(&self.runtime, spec).await
    }

    /// What runs of an approval: the generation before, where nothing about it changed, or another.
    async fn serve(
        self: &Arc<Self>,
        spec: &PluginSpec,
        approval: &Arc<Approval>,
        present: Option<&Examined>,
        read: Option<Component>,
        before: Option<&Served>,
    ) -> Result<Served, NotServed> {
        if approval.mapping != portcullis_runtime::component::MAPPING_VERSION {
            return Err(NotServed::Mapping { approved: approval.mapping });
        }
        let store = self.admission.store();
        let read = read.filter(|component| component.digest() == approval.sha256);
        let terms = Arc::new(Terms {
            plugin: spec.name.clone(),
            concurrency: approval.limits.concurrency.min(spec.limits.concurrency),
            grants: Effective::new(Arc::new(approval.grants.clone()), Arc::clone(&spec.grants)),
            secrets: Arc::clone(&spec.secrets),
        });
        // What failed is tried again: it may have been the machine's fault.
        let kept = before.filter(|before| {
            before.approval.sha256 == approval.sha256
                && before.terms == terms
                && !matches!(*before.code.borrow(), Code::Failed)
        });
        let (component, description, code) = match kept {
            Some(kept) => (read, Arc::clone(&kept.description), kept.code.clone()),
            None => {
                let component = served::approved_bytes(store, approval, read, &spec.source)?;
                let description = served::description(&self.runtime, &component, present).await?;
                let code = self.make_code(component.clone(), Arc::clone(&description), Arc::clone(&terms));
                (Some(component), description, code)
            }
        };
        let tools = served::tools(store, approval, &description, spec, present)?;
        if let (Some(store), Some(present)) = (store, present) {
            tokio::task::block_in_place(|| keep(store, approval, component.as_ref(), present));
        }
        Ok(Served { approval: Arc::clone(approval), description, tools, terms, code })
    }

    /// Whether what lies there is what was approved, or what of it differs.
    fn compare(&self, spec: &PluginSpec, approval: Option<&Approval>, examined: Result<&Examined, &Unfit>) -> State {
        let (Some(approval), Ok(examined)) = (approval, examined) else { return State::Quarantined { reason: None } };
        let difference = self.difference_from(approval, examined);
        if !difference.widens() {
            return State::Approved;
        }
        if let Some(bytes) = &difference.bytes {
            let (expected, found) = (bytes.old.sha256, bytes.new.sha256);
            tracing::warn!(plugin = %spec.name, %expected, %found, "what lies there is not what was approved");
        }
        State::PendingReview { changes: in_short(&difference) }
    }

    /// What lies there, against what was approved.
    pub(crate) fn difference_from(&self, approval: &Approval, examined: &Examined) -> Difference {
        let changed = approval.tools.iter().filter(|(name, tool)| examined.digests.get(*name) != Some(&tool.sha256));
        // Of what is the same nothing has to be read.
        let stored = changed.filter_map(|(name, tool)| {
            let store = self.admission.store()?;
            let json = tokio::task::block_in_place(|| store.definition(tool.sha256)).ok()?;
            Some((name.clone(), json))
        });
        Difference::between(approval, &stored.collect(), &examined.candidate)
    }

    /// Records a state that is another than before, or of other bytes, and tells the operator what to do.
    fn tell(&self, entry: &Entry, before: Option<&Entry>, approval: Option<&Approval>) {
        let Entry { spec, state, hint, .. } = entry;
        let digest = |entry: &Entry| entry.read().map(|(digest, _)| digest);
        let found = digest(entry);
        if before.is_some_and(|before| before.state == *state && digest(before) == found) {
            return;
        }
        let (plugin, reason) = (&spec.name, state.reason());
        let recorded = match state {
            // Its code says when it is there.
            State::Approved => return,
            State::Quarantined { .. } => PluginState::Quarantined,
            State::PendingReview { .. } => PluginState::PendingReview,
            State::Disabled => PluginState::Disabled,
            State::Missing { .. } => PluginState::Missing,
            State::Broken { .. } => PluginState::Broken,
        };
        self.record(&Event::Plugin { plugin, digest: found, state: recorded, reason });
        let expected = approval.map(|approval| approval.sha256);
        if let Some(expected) = expected.filter(|expected| Some(*expected) != found) {
            self.record(&Event::PinMismatch { plugin, expected, found });
        }
        let next = state.next(plugin, hint.clone()).unwrap_or_default();
        match state {
            State::Approved | State::Disabled => {}
            State::Quarantined { .. } | State::PendingReview { .. } | State::Missing { .. } | State::Broken { .. } => {
                let reason = reason.unwrap_or("nobody has approved it");
                tracing::warn!(%plugin, reason, next, "plugin {}", state.as_str());
            }
        }
    }
}

/// Keeps what was approved where it is at hand and not in the store: a lock that was accepted brings digests alone.
fn keep(store: &Components, approval: &Approval, component: Option<&Component>, present: &Examined) {
    let missing = component.filter(|_| !store.has(approval.sha256));
    let kept = missing.map_or(Ok(()), |component| store.put(component.bytes()).map(drop));
    let missing = approval
        .tools
        .iter()
        .filter(|(name, tool)| present.digests.get(*name) == Some(&tool.sha256) && !store.has_definition(tool.sha256));
    let kept = missing
        .filter_map(|(name, _)| present.candidate.tools.get(name))
        .fold(kept, |kept, tool| kept.and_then(|()| store.put_definition(&tool.json).map(drop)));
    if let Err(error) = kept {
        let plugin = &present.candidate.plugin;
        tracing::warn!(%plugin, %error, "what was approved is not in the store, and will be missing once its source changes");
    }
}

/// The first of what widens, and how much more there is.
fn in_short(difference: &Difference) -> String {
    let lines = difference.lines();
    let of_note = || lines.iter().filter(|line| matches!(line.kind, LineKind::Widening | LineKind::Change));
    let first = of_note().next().map_or_else(String::new, |line| line.text.trim().to_owned());
    match of_note().filter(|line| !line.text.starts_with(' ')).count().saturating_sub(1) {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}

/// The approval of what this process has built itself.
fn built_here(examined: &Examined) -> Approval {
    let candidate = examined.candidate.as_ref().clone();
    let tools = candidate.tools.into_iter().filter_map(|(name, definition)| {
        let sha256 = *examined.digests.get(&name)?;
        Some((name, ApprovedTool { function: definition.function, sha256 }))
    });
    Approval {
        tools: tools.collect(),
        source: candidate.source,
        sha256: candidate.sha256,
        size: candidate.size,
        mapping: candidate.mapping,
        approved_by: "built here".to_owned(),
        approved_at: String::new(),
        imports: candidate.imports,
        grants: candidate.grants,
        limits: candidate.limits,
        tool_limits: candidate.tool_limits,
        confirm: candidate.confirm,
    }
}
