//! A new task.

use shelf::{Answer, Entry, Shelf, Step, Stop, When, check_size, check_text, refused, settled};

use crate::{
    keys::{self, COUNTER, Seq},
    looking::Shown,
    settling::{self, Lease},
    task::{MAX_DEPENDENCIES, MAX_PRIORITY, State, Task},
};

/// Longest title, in bytes: a list has a hundred.
const MAX_TITLE: usize = 200;
/// Longest description, in bytes.
const MAX_DESCRIPTION: usize = 16 << 10;
/// What a poster may do whose share is used up.
const HINT: &str = "wait until tasks of yours are done, or cancel some";
/// Priority where none is said.
const PRIORITY: u8 = 5;
/// Attempts where nothing is said, and at most.
const ATTEMPTS: (u32, u32) = (3, 20);

/// What somebody wants done; each is its default where it is none.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// What it is, in a line.
    pub title: String,
    /// What is to be done.
    pub description: Option<String>,
    /// 9 comes first.
    pub priority: Option<u8>,
    /// What must be completed before.
    pub depends_on: Option<Vec<String>>,
    /// How often it may be claimed.
    pub max_attempts: Option<u32>,
}

/// Posts a task.
///
/// # Errors
/// Where an argument is beyond its bound, a dependency is none or has ended without success, or the store cannot.
pub fn post(shelf: &impl Shelf, draft: &Draft) -> Answer<Shown> {
    check_text("title", &draft.title, MAX_TITLE)?;
    let description = draft.description.clone().unwrap_or_default();
    check_size("description", &description, MAX_DESCRIPTION)?;
    let priority = draft.priority.unwrap_or(PRIORITY);
    if priority > MAX_PRIORITY {
        return refused(format_args!("`priority` is {priority}: from 0 to {MAX_PRIORITY}, which comes first"));
    }
    let max_attempts = draft.max_attempts.unwrap_or(ATTEMPTS.0);
    if !(1..=ATTEMPTS.1).contains(&max_attempts) {
        return refused(format_args!("`max_attempts` is {max_attempts}: from 1 to {}", ATTEMPTS.1));
    }
    let depends_on = dependencies(draft.depends_on.as_deref().unwrap_or_default())?;
    // What it cannot settle, a bucket that is full say, the next call may.
    _ = settling::settle(shelf);
    let blank = Task {
        seq: 0,
        title: draft.title.clone(),
        description,
        priority,
        state: State::Blocked,
        orchestrator: shelf.caller(),
        claimant: None,
        held_ms: None,
        attempt: 0,
        max_attempts,
        depends_on,
        waiting_for: Vec::new(),
        outcome: None,
        history: Vec::new(),
        earlier_events: 0,
    };
    // Before its dependencies are looked at: a task that fails to be posted leaves a gap, and nothing else.
    let seq = shelf.next(COUNTER)?;
    let blank = Task { seq, ..blank };
    settled(|| write(shelf, &blank)).map(Shown::free)
}

fn dependencies(texts: &[String]) -> Answer<Vec<Seq>> {
    if texts.len() > MAX_DEPENDENCIES {
        return refused(format_args!("`depends_on` names {} tasks: at most {MAX_DEPENDENCIES}", texts.len()));
    }
    let mut depends_on: Vec<_> = texts.iter().map(|text| keys::seq(text)).collect::<Answer<_>>()?;
    depends_on.sort_unstable();
    depends_on.dedup();
    Ok(depends_on)
}

fn write(shelf: &impl Shelf, blank: &Task) -> Result<Task, Stop> {
    let mut task = blank.clone();
    let mut steps = Vec::new();
    if !task.depends_on.is_empty() {
        let places: Vec<_> = task.depends_on.iter().map(|of| keys::task(*of)).collect();
        let found = shelf.get_many(&places)?;
        for (of, entry) in blank.depends_on.iter().zip(found) {
            let (id, Some(entry)) = (keys::id(*of), entry) else {
                let id = keys::id(*of);
                return Err(format!("there is no task {id} to depend on: post it first, or leave it out").into());
            };
            let state = Entry::read::<Task>(&entry)?.state;
            match state {
                State::Completed => {}
                State::DeadLetter | State::Cancelled => {
                    return Err(
                        format!("{id} is {}, so that what depends on it can never begin", state.as_str()).into()
                    );
                }
                State::Blocked | State::Pending | State::Claimed => {
                    // It has not ended when this is posted, or this is tried again.
                    steps.push(Step::Check(entry.key, When::Version(entry.version)));
                    steps.push(Step::Set(keys::after(*of, task.seq), Vec::new(), When::Always, None));
                    task.waiting_for.push(*of);
                }
            }
        }
    }
    task.begin(shelf.now_ms());
    steps.extend(settling::steps(&task, None, &Lease::Any)?);
    let bytes = steps.iter().map(Step::size).sum::<usize>() + keys::LATER;
    steps.push(keys::open(&task.orchestrator)?.admit(shelf, None, (1, bytes), HINT)?);
    shelf.transact(&steps)?;
    Ok(task)
}
