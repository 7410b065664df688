//! Hints that grants alone have changed. Which hints there are is policy's.

use std::{borrow::Cow, collections::BTreeMap};

use portcullis_policy::{Annotations, ToolName};
use serde_json::Value;

use crate::{Approval, Candidate, Definition};

/// The candidate's definitions, with the approved hint in the place of each that is milder for narrower grants alone:
/// clients go on with the approved one, which is the stricter, and taking a grant away is no matter of approval.
pub(super) fn as_approved<'a>(
    approved: &Approval,
    definitions: &BTreeMap<ToolName, Value>,
    candidate: &'a Candidate,
) -> Cow<'a, BTreeMap<ToolName, Definition>> {
    let derived = [Annotations::of(&approved.grants), Annotations::of(&candidate.grants)];
    let [before, now] = derived;
    if before == now || !candidate.grants.widened_over(&approved.grants).is_empty() {
        return Cow::Borrowed(&candidate.tools);
    }
    let mut tools = candidate.tools.clone();
    for (name, definition) in &mut tools {
        let old = definitions.get(name).and_then(hints);
        let (Some(old), Some(new), Some(members)) = (old, hints(&definition.json), definition.json.as_object_mut())
        else {
            continue;
        };
        // Where an operator's own hint stands on either side, the change is the operator's.
        let hint = |of: fn(&Annotations) -> Option<bool>| {
            if of(&old) == of(&before) && of(&new) == of(&now) { of(&old) } else { of(&new) }
        };
        let kept = Annotations {
            read_only_hint: hint(|hints| hints.read_only_hint),
            destructive_hint: hint(|hints| hints.destructive_hint),
            idempotent_hint: hint(|hints| hints.idempotent_hint),
            open_world_hint: hint(|hints| hints.open_world_hint),
        };
        if let Ok(kept) = serde_json::to_value(kept) {
            members.insert("annotations".to_owned(), kept);
        }
    }
    Cow::Owned(tools)
}

fn hints(definition: &Value) -> Option<Annotations> {
    serde_json::from_value(definition.get("annotations")?.clone()).ok()
}
