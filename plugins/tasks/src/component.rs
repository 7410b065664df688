//! The tools: WIT to tasks and back.

use exports::portcullis::tasks::tasks as wit;
use shelf::HostShelf;

use crate::{
    claiming::{self, Wanted},
    ending,
    looking::{self, Pending, PendingTask, Shown},
    posting::{self, Draft},
    task::{Event, State},
};

wit_bindgen::generate!({ world: "plugin" });

const BUCKET: &str = "tasks";

struct Tasks;

impl wit::Guest for Tasks {
    fn post_task(
        title: String,
        description: Option<String>,
        priority: Option<u8>,
        depends_on: Option<Vec<String>>,
        max_attempts: Option<u32>,
    ) -> Result<wit::Task, String> {
        let draft = Draft { title, description, priority, depends_on, max_attempts };
        posting::post(&HostShelf::open(BUCKET)?, &draft).map(task)
    }

    fn get_pending_tasks(
        orchestrator: Option<String>,
        limit: Option<u32>,
        after: Option<String>,
    ) -> Result<wit::Pending, String> {
        let shelf = HostShelf::open(BUCKET)?;
        let Pending { tasks, next } = looking::pending(&shelf, orchestrator.as_deref(), limit, after.as_deref())?;
        let line = |PendingTask { id, title, priority, orchestrator, attempt }| wit::PendingTask {
            id,
            title,
            priority,
            orchestrator,
            attempt,
        };
        Ok(wit::Pending { tasks: tasks.into_iter().map(line).collect(), next })
    }

    fn claim_task(
        id: Option<String>,
        lease: Option<u32>,
        orchestrator: Option<String>,
    ) -> Result<Option<wit::Task>, String> {
        let wanted = Wanted { id, orchestrator, lease };
        Ok(claiming::claim(&HostShelf::open(BUCKET)?, &wanted)?.map(task))
    }

    fn extend_task(id: String, lease: Option<u32>, attempt: Option<u32>) -> Result<wit::Task, String> {
        claiming::extend(&HostShelf::open(BUCKET)?, &id, lease, attempt).map(task)
    }

    fn complete_task(id: String, outcome: Option<String>, attempt: Option<u32>) -> Result<wit::Task, String> {
        ending::complete(&HostShelf::open(BUCKET)?, &id, outcome.as_deref(), attempt).map(task)
    }

    fn fail_task(id: String, reason: String, retry: Option<bool>, attempt: Option<u32>) -> Result<wit::Task, String> {
        ending::fail(&HostShelf::open(BUCKET)?, &id, &reason, retry, attempt).map(task)
    }

    fn cancel_task(id: String, reason: Option<String>) -> Result<wit::Task, String> {
        ending::cancel(&HostShelf::open(BUCKET)?, &id, reason.as_deref()).map(task)
    }

    fn get_task(id: String) -> Result<wit::Task, String> {
        looking::get(&HostShelf::open(BUCKET)?, &id).map(task)
    }
}

fn state(state: State) -> wit::State {
    match state {
        State::Blocked => wit::State::Blocked,
        State::Pending => wit::State::Pending,
        State::Claimed => wit::State::Claimed,
        State::Completed => wit::State::Completed,
        State::DeadLetter => wit::State::DeadLetter,
        State::Cancelled => wit::State::Cancelled,
    }
}

fn task(shown: Shown) -> wit::Task {
    let Shown { task, lease_until_ms } = shown;
    let event = |Event { state: entered, by, at_ms, note }| wit::Event { state: state(entered), by, at_ms, note };
    wit::Task {
        id: task.id(),
        depends_on: task.depends_on(),
        waiting_for: task.waiting_for(),
        title: task.title,
        description: task.description,
        priority: task.priority,
        state: state(task.state),
        orchestrator: task.orchestrator,
        claimant: task.claimant,
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        lease_until_ms,
        result: task.outcome,
        history: task.history.into_iter().map(event).collect(),
        earlier_events: task.earlier_events,
    }
}

export!(Tasks);
