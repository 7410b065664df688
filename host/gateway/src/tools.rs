//! The tool list as rmcp has it: built once for each change, not for each request.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwapOption;
use portcullis_catalogue::{Catalogue, Snapshot};
use portcullis_policy::ToolDefinition;
use rmcp::model::{Tool, ToolAnnotations};

/// The list of one generation.
#[derive(Debug)]
pub(crate) struct ToolList {
    generation: u64,
    pub(crate) tools: Vec<Tool>,
}

impl ToolList {
    fn new(snapshot: &Snapshot) -> Self {
        let tools: Vec<_> = snapshot.tools().iter().map(|tool| wire(tool.definition())).collect();
        Self { generation: snapshot.generation(), tools }
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

/// The list of the current generation.
#[derive(Debug, Default)]
pub(crate) struct ToolLists {
    current: ArcSwapOption<ToolList>,
    /// Held while a list is built, so that it is built once.
    building: Mutex<()>,
}

impl ToolLists {
    pub(crate) fn current(&self, catalogue: &Catalogue) -> Arc<ToolList> {
        let snapshot = catalogue.snapshot();
        let there = |lists: &Self| lists.current.load_full().filter(|list| list.generation == snapshot.generation());
        if let Some(list) = there(self) {
            return list;
        }
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        there(self).unwrap_or_else(|| {
            let list = Arc::new(ToolList::new(&snapshot));
            self.current.store(Some(Arc::clone(&list)));
            list
        })
    }
}
