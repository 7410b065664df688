//! The tool list as rmcp has it: built once for each change, not for each request.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use portcullis_catalogue::{Catalogue, Snapshot};
use portcullis_policy::{Principal, Role, ToolDefinition, ToolRules, Verdict};
use rmcp::model::{Tool, ToolAnnotations};

/// The list of one generation.
#[derive(Debug)]
pub(crate) struct ToolList {
    generation: u64,
    pub(crate) tools: Vec<Tool>,
}

impl ToolList {
    fn new(snapshot: &Snapshot, visible: impl Fn(&ToolRules) -> bool) -> Self {
        let seen = snapshot.tools().iter().filter(|tool| visible(tool.rules()));
        Self { generation: snapshot.generation(), tools: seen.map(|tool| wire(tool.definition())).collect() }
    }
}

/// A definition in rmcp's type, with the same JSON.
fn wire(definition: &Arc<ToolDefinition>) -> Tool {
    let mut tool = Tool::new_with_raw(
        definition.name.as_str().to_owned(),
        definition.description.clone().map(Cow::Owned),
        Arc::new(definition.input_schema.clone()),
    )
    .with_raw_output_schema(Arc::new(definition.output_schema.clone()));
    tool.annotations = definition.annotations.map(|hints| {
        ToolAnnotations::from_raw(
            None,
            hints.read_only_hint,
            hints.destructive_hint,
            hints.idempotent_hint,
            hints.open_world_hint,
        )
    });
    tool
}

/// The lists of the current generation: everything, and what each role may call.
#[derive(Debug, Default)]
pub(crate) struct ToolLists {
    current: ArcSwapOption<ToolList>,
    of_roles: ArcSwap<Vec<(Arc<Role>, Arc<ToolList>)>>,
    /// Held while a list is built, so that it is built once.
    building: Mutex<()>,
}

impl ToolLists {
    /// What `principal` may call; what it may not call it does not see.
    pub(crate) fn of(&self, catalogue: &Catalogue, principal: &Principal) -> Arc<ToolList> {
        match principal {
            Principal::LocalOperator | Principal::Loopback => self.current(catalogue),
            Principal::Agent(agent) => match agent.role() {
                Some(role) => self.of_role(catalogue, role),
                None => Arc::new(ToolList { generation: 0, tools: Vec::new() }),
            },
        }
    }

    fn of_role(&self, catalogue: &Catalogue, role: &Arc<Role>) -> Arc<ToolList> {
        let snapshot = catalogue.snapshot();
        let there = |lists: &Self| {
            let lists = lists.of_roles.load();
            let found =
                lists.iter().find(|(of, list)| Arc::ptr_eq(of, role) && list.generation == snapshot.generation());
            found.map(|(_, list)| Arc::clone(list))
        };
        if let Some(list) = there(self) {
            return list;
        }
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        there(self).unwrap_or_else(|| {
            let visible = |rules: &ToolRules| matches!(role.tool(&rules.plugin, &rules.tool), Verdict::Allowed(_));
            let list = Arc::new(ToolList::new(&snapshot, visible));
            // Lists of generations and statutes that are past go: nobody else holds such a role.
            let kept = self.of_roles.load();
            let kept = kept.iter().filter(|(of, list)| {
                list.generation == snapshot.generation() && !Arc::ptr_eq(of, role) && Arc::strong_count(of) > 1
            });
            let mut lists: Vec<_> = kept.cloned().collect();
            lists.push((Arc::clone(role), Arc::clone(&list)));
            self.of_roles.store(Arc::new(lists));
            list
        })
    }

    /// All tools.
    pub(crate) fn current(&self, catalogue: &Catalogue) -> Arc<ToolList> {
        let snapshot = catalogue.snapshot();
        let there = |lists: &Self| lists.current.load_full().filter(|list| list.generation == snapshot.generation());
        if let Some(list) = there(self) {
            return list;
        }
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        there(self).unwrap_or_else(|| {
            let list = Arc::new(ToolList::new(&snapshot, |_| true));
            self.current.store(Some(Arc::clone(&list)));
            list
        })
    }
}
