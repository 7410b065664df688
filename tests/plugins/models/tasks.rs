//! The queue of tasks.

use portcullis_plugins::MemoryShelf;
use proptest::prelude::*;
use tasks::{Draft, MAX_HELD, State, Wanted, cancel, claim, complete, extend, fail, get, pending, post};

use crate::{NAMES, histories};

/// What an agent does. Numbers choose among the tasks that there are.
#[derive(Clone, Debug)]
enum Deed {
    Post { priority: u8, deps: Vec<usize>, attempts: u32 },
    Claim { task: Option<usize>, of: Option<usize>, lease: u32 },
    Extend { task: usize, lease: u32 },
    Complete { task: usize, stale: bool },
    Fail { task: usize, retry: bool },
    Cancel { task: usize },
    Pass { seconds: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    let task = 0..8_usize;
    prop_oneof![
        3 => (0..=9_u8, prop::collection::vec(0..8_usize, 0..3), 1..=3_u32)
            .prop_map(|(priority, deps, attempts)| Deed::Post { priority, deps, attempts }),
        4 => (prop::option::weighted(0.4, task.clone()), prop::option::weighted(0.2, 0..NAMES.len()), 1..=20_u32)
            .prop_map(|(task, of, lease)| Deed::Claim { task, of: of.filter(|_| task.is_none()), lease }),
        1 => (task.clone(), 1..=20_u32).prop_map(|(task, lease)| Deed::Extend { task, lease }),
        3 => (task.clone(), prop::bool::weighted(0.1)).prop_map(|(task, stale)| Deed::Complete { task, stale }),
        2 => (task.clone(), prop::bool::weighted(0.8)).prop_map(|(task, retry)| Deed::Fail { task, retry }),
        1 => task.prop_map(|task| Deed::Cancel { task }),
        2 => (1..=15_u64).prop_map(|seconds| Deed::Pass { seconds }),
    ]
}

/// A task as the model has it. Its place is the number of those posted before it.
#[derive(Clone, Debug)]
struct Modelled {
    id: String,
    priority: u8,
    deps: Vec<usize>,
    attempts: u32,
    max: u32,
    state: State,
    poster: &'static str,
    claimant: Option<&'static str>,
    until: u64,
}

#[derive(Clone, Default)]
struct Model {
    tasks: Vec<Modelled>,
    now: u64,
}

impl Model {
    /// What happens by itself happens at once.
    fn settle(&mut self) {
        for task in &mut self.tasks {
            if task.state == State::Claimed && task.until <= self.now {
                task.state = if task.attempts < task.max { State::Pending } else { State::DeadLetter };
            }
        }
        for at in 0..self.tasks.len() {
            if self.tasks[at].state == State::Blocked {
                // Dependencies come before, so that one pass reaches all.
                let states: Vec<State> = self.tasks[at].deps.iter().map(|of| self.tasks[*of].state).collect();
                if states.iter().any(|state| matches!(state, State::DeadLetter | State::Cancelled)) {
                    self.tasks[at].state = State::Cancelled;
                } else if states.iter().all(|state| *state == State::Completed) {
                    self.tasks[at].state = State::Pending;
                }
            }
        }
    }

    fn order(&self, of: Option<&str>) -> Vec<usize> {
        let free = |at: &usize| self.tasks[*at].state == State::Pending;
        let fits = |at: &usize| of.is_none_or(|of| self.tasks[*at].poster == of);
        let mut order: Vec<usize> = (0..self.tasks.len()).filter(free).filter(fits).collect();
        // By number, which is not the order of posting where somebody came between.
        order.sort_by_key(|at| (9 - self.tasks[*at].priority, self.tasks[*at].id[1..].parse::<u64>().unwrap()));
        order
    }

    fn mine(&self, who: &str, at: usize) -> bool {
        self.tasks.get(at).is_some_and(|task| task.state == State::Claimed && task.claimant == Some(who))
    }

    fn id(&self, at: usize) -> String {
        self.tasks.get(at).map_or("t999".into(), |task| task.id.clone())
    }
}

/// Does it, and checks that the answer is what the model says. `ids` is what the deed sees of the tasks, which is how they
/// stood when it began.
fn act(shelf: &MemoryShelf, model: &mut Model, who: &'static str, deed: &Deed, between: Option<Between<'_>>) {
    let begun = model.clone();
    let id = |at: usize| begun.id(at);
    let disturbed = between.is_some();
    let then = |model: &mut Model| {
        if let Some(between) = between {
            between(model);
        }
        model.settle();
    };
    match deed {
        Deed::Pass { seconds } => {
            shelf.pass(seconds * 1_000);
            then(model);
            model.now += seconds * 1_000;
        }
        Deed::Post { priority, deps, attempts } => {
            let depends_on: Vec<String> = deps.iter().map(|at| id(*at)).collect();
            let draft = Draft {
                title: "a task".into(),
                priority: Some(*priority),
                depends_on: Some(depends_on),
                max_attempts: Some(*attempts),
                ..Draft::default()
            };
            let posted = post(shelf, &draft);
            then(model);
            let fits = deps.iter().all(|at| {
                begun.tasks.get(*at).is_some()
                    && !matches!(model.tasks[*at].state, State::DeadLetter | State::Cancelled)
            });
            assert_eq!(posted.is_ok(), fits, "{posted:?}");
            if let Ok(posted) = posted {
                let (deps, priority, max, state) = (deps.clone(), *priority, *attempts, State::Blocked);
                let id = posted.task.id();
                let task =
                    Modelled { id, priority, deps, attempts: 0, max, state, poster: who, claimant: None, until: 0 };
                model.tasks.push(task);
                model.settle();
                assert_eq!(posted.task.state, model.tasks.last().unwrap().state);
            }
        }
        Deed::Claim { task, of, lease } => {
            let of = of.map(|of| NAMES[of]);
            let wanted = Wanted { id: task.map(id), orchestrator: of.map(str::to_owned), lease: Some(*lease) };
            let claimed = claim(shelf, &wanted);
            then(model);
            let order = model.order(of);
            let got = match (task, &claimed) {
                (Some(at), Ok(Some(shown))) => {
                    assert_eq!(shown.task.id(), id(*at));
                    assert!(order.contains(at), "{shown:?} was not free");
                    Some(*at)
                }
                (Some(at), Err(_)) => {
                    assert!(!order.contains(at), "{claimed:?}");
                    None
                }
                (None, Ok(Some(shown))) => {
                    let at = model.tasks.iter().position(|task| task.id == shown.task.id()).unwrap();
                    // Whoever loses one to another goes on to the next of those that it saw.
                    assert!(order.contains(&at) && (disturbed || order[0] == at), "{shown:?} of {order:?}");
                    Some(at)
                }
                (None, Ok(None)) => {
                    let saw = begun.clone();
                    assert!(
                        order.is_empty()
                            || (disturbed
                                && order
                                    .iter()
                                    .all(|at| { saw.tasks.get(*at).is_none_or(|task| task.state != State::Pending) })),
                        "nothing of {order:?}"
                    );
                    None
                }
                other => panic!("{other:?}"),
            };
            if let Some(at) = got {
                let until = model.now + u64::from(*lease) * 1_000;
                let task = &mut model.tasks[at];
                task.state = State::Claimed;
                task.attempts += 1;
                task.claimant = Some(who);
                task.until = until;
            }
        }
        Deed::Extend { task, lease } => {
            let extended = extend(shelf, &id(*task), Some(*lease), None);
            then(model);
            assert_eq!(extended.is_ok(), model.mine(who, *task), "{extended:?}");
            if extended.is_ok() {
                model.tasks[*task].until = model.now + u64::from(*lease) * 1_000;
            }
        }
        Deed::Complete { task, stale } => {
            let attempt = model.tasks.get(*task).map(|task| task.attempts + u32::from(*stale));
            let completed = complete(shelf, &id(*task), Some("done"), attempt);
            then(model);
            let current = model.tasks.get(*task).map(|task| task.attempts) == attempt;
            assert_eq!(completed.is_ok(), current && model.mine(who, *task), "{completed:?}");
            if completed.is_ok() {
                model.tasks[*task].state = State::Completed;
            }
        }
        Deed::Fail { task, retry } => {
            let failed = fail(shelf, &id(*task), "in vain", Some(*retry), None);
            then(model);
            assert_eq!(failed.is_ok(), model.mine(who, *task), "{failed:?}");
            if failed.is_ok() {
                let task = &mut model.tasks[*task];
                let again = *retry && task.attempts < task.max;
                task.state = if again { State::Pending } else { State::DeadLetter };
            }
        }
        Deed::Cancel { task } => {
            let cancelled = cancel(shelf, &id(*task), None);
            then(model);
            let may = model.tasks.get(*task).is_some_and(|task| task.poster == who && !task.state.is_end());
            assert_eq!(cancelled.is_ok(), may && begun.tasks.get(*task).is_some(), "{cancelled:?}");
            if cancelled.is_ok() {
                model.tasks[*task].state = State::Cancelled;
            }
        }
    }
    model.settle();
}

/// What the model does for whoever came between.
type Between<'a> = &'a mut dyn FnMut(&mut Model);

/// All that can be seen is as the model has it.
fn compare(shelf: &MemoryShelf, model: &Model) {
    let waits: Vec<String> =
        pending(shelf, None, Some(100), None).unwrap().tasks.into_iter().map(|task| task.id).collect();
    let order: Vec<String> = model.order(None).into_iter().map(|at| model.id(at)).collect();
    assert_eq!(waits, order);
    for task in &model.tasks {
        let shown = get(shelf, &task.id).unwrap();
        assert_eq!((shown.task.state, shown.task.attempt), (task.state, task.attempts), "{shown:#?}");
        assert_eq!(shown.lease_until_ms.is_some(), task.state == State::Claimed);
        assert_eq!(shown.task.history.last().unwrap().state, task.state);
        if task.state == State::Claimed {
            assert_eq!(shown.task.claimant.as_deref(), task.claimant);
        }
    }
    // Nothing lies about that nobody will ever look at: what is held is claimed, and nobody waits for what has ended.
    let keys = shelf.keys();
    let count = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count();
    let in_state = |state: State| model.tasks.iter().filter(|task| task.state == state).count();
    assert_eq!((count("held/"), count("ready/")), (in_state(State::Claimed), in_state(State::Pending)));
    assert_eq!(count("settle/"), 0);
    assert_eq!(count("after/") > 0, in_state(State::Blocked) > 0);
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn tasks_are_as_the_model_says(history in prop::collection::vec((0..NAMES.len(), deed()), 1..40)) {
        let (root, mut model) = (MemoryShelf::new("root"), Model::default());
        for (who, deed) in &history {
            act(&root.of(NAMES[*who]), &mut model, NAMES[*who], deed, None);
            compare(&root, &model);
        }
    }

    /// Somebody acts between what a call reads and what it writes: the call does as if it had come after.
    #[test]
    fn who_comes_between_comes_before(
        history in prop::collection::vec((0..NAMES.len(), deed(), 0..NAMES.len(), deed(), any::<bool>()), 1..25),
    ) {
        let (root, mut model) = (MemoryShelf::new("root"), Model::default());
        for (who, deed, other, between, disturbed) in &history {
            let (shelf, theirs) = (root.of(NAMES[*who]), root.of(NAMES[*other]));
            // Time does not pass between, for the model would have to know when the call looked at its clock.
            let calm = matches!(between, Deed::Pass { .. }) || matches!(deed, Deed::Pass { .. });
            if *disturbed && !calm {
                let (shared, between) = (std::rc::Rc::new(std::cell::RefCell::new(model.clone())), between.clone());
                let (inner, other) = (std::rc::Rc::clone(&shared), NAMES[*other]);
                shelf.between(move || act(&theirs, &mut inner.borrow_mut(), other, &between, None));
                let after = std::rc::Rc::clone(&shared);
                let gone = shelf.clone();
                let mut then = move |model: &mut Model| {
                    // Where the call wrote nothing, nobody came.
                    if gone.has_happened() {
                        *model = after.borrow().clone();
                    }
                };
                act(&shelf, &mut model, NAMES[*who], deed, Some(&mut then));
            } else {
                act(&shelf, &mut model, NAMES[*who], deed, None);
            }
            compare(&root, &model);
        }
    }
}

/// A lease that ends between what its claimant reads and what it writes: nothing of it is written.
#[test]
fn a_lease_ends_between() {
    let root = MemoryShelf::new("orchestrator");
    post(&root, &Draft { title: "a task".into(), ..Draft::default() }).unwrap();
    let (alice, clock) = (root.of("alice"), root.clone());
    let wanted = Wanted { id: Some("t1".into()), lease: Some(5), ..Wanted::default() };
    claim(&alice, &wanted).unwrap();
    alice.between(move || clock.pass(5_000));
    let refused = complete(&alice, "t1", Some("late"), None).unwrap_err();
    assert!(refused.contains("your lease of t1 has ended"), "{refused}");
    let shown = get(&root, "t1").unwrap().task;
    assert_eq!((shown.state, shown.attempt, shown.outcome), (State::Pending, 1, None));
    // Also where another has it by then.
    claim(&alice, &wanted).unwrap();
    let (bob, clock) = (root.of("bob"), root.clone());
    alice.between(move || {
        clock.pass(5_000);
        claim(&bob, &Wanted { id: Some("t1".into()), ..Wanted::default() }).unwrap();
    });
    assert!(extend(&alice, "t1", None, None).unwrap_err().contains("`bob` has t1, and not you"));
    assert_eq!(get(&root, "t1").unwrap().task.claimant.as_deref(), Some("bob"));
}

/// A history is bounded, and says what it left out.
#[test]
fn a_history_has_its_last_events() {
    let root = MemoryShelf::new("a");
    post(&root, &Draft { title: "a task".into(), max_attempts: Some(20), ..Draft::default() }).unwrap();
    for _ in 0..20 {
        claim(&root, &Wanted { id: Some("t1".into()), lease: Some(1), ..Wanted::default() }).unwrap();
        root.pass(1_000);
    }
    let shown = get(&root, "t1").unwrap().task;
    assert_eq!((shown.state, shown.attempt), (State::DeadLetter, 20));
    assert_eq!(shown.history.len() + shown.earlier_events as usize, 41);
    assert!(
        claim(&root, &Wanted { id: Some("t1".into()), ..Wanted::default() }).unwrap_err().contains("is dead-letter")
    );
}

/// A chain as long as a call settles for others, and longer: the rest is settled by the next calls.
#[test]
fn a_long_chain_is_told() {
    let root = MemoryShelf::new("a");
    let mut last = None;
    for _ in 0..700 {
        let depends_on = last.map(|id| vec![id]);
        let posted = post(&root, &Draft { title: "a link".into(), depends_on, ..Draft::default() }).unwrap();
        last = Some(posted.task.id());
    }
    cancel(&root, "t1", Some("no more")).unwrap();
    for _ in 0..5 {
        assert!(pending(&root, None, None, None).unwrap().tasks.is_empty());
    }
    assert_eq!(get(&root, "t700").unwrap().task.state, State::Cancelled);
    assert!(!root.keys().iter().any(|key| key.starts_with("after/") || key.starts_with("settle/")));
}

/// What a task depends on ends while it is posted: it does not wait for what is over.
#[test]
fn a_dependency_ends_between() {
    let root = MemoryShelf::new("a");
    let first = post(&root, &Draft { title: "first".into(), ..Draft::default() }).unwrap().task.id();
    claim(&root, &Wanted { id: Some(first.clone()), ..Wanted::default() }).unwrap();
    let (other, done) = (root.clone(), first.clone());
    root.between(move || drop(complete(&other, &done, None, None).unwrap()));
    let depends_on = Some(vec![first]);
    let second = post(&root, &Draft { title: "second".into(), depends_on, ..Draft::default() }).unwrap();
    assert_eq!(second.task.state, State::Pending);
}

fn draft(title: &str) -> Draft {
    Draft { title: title.into(), ..Draft::default() }
}

/// A bucket that is full, for whatever reason, is looked at as before, also when leases end that nobody can give back.
#[test]
fn a_full_bucket_is_looked_at() {
    let root = MemoryShelf::new("orchestrator");
    for title in ["first", "second"] {
        post(&root, &draft(title)).unwrap();
    }
    let wanted = Wanted { id: Some("t1".into()), lease: Some(5), ..Wanted::default() };
    claim(&root.of("alice"), &wanted).unwrap();
    root.bound(1, 1);
    root.pass(5_000);
    assert_eq!(get(&root, "t1").unwrap().lease_until_ms, None);
    assert_eq!(pending(&root, None, None, None).unwrap().tasks.len(), 1);
    assert!(post(&root, &draft("third")).is_err());
    root.bound(1_000, 1 << 20);
    assert_eq!(pending(&root, None, None, None).unwrap().tasks.len(), 2);
}

/// One that posts all it may leaves the bucket to the others; its tasks are claimed and done, and that makes room.
#[test]
fn no_poster_fills_the_bucket() {
    let root = MemoryShelf::new("root");
    root.bound(100_000, 8 << 20);
    // A control character has six bytes as JSON, which is what the bucket counts.
    let long = Draft { description: Some("\u{1}".repeat(16 << 10)), ..draft("long") };
    let fill = |who: &str, draft: &Draft| {
        (0..5_000).find_map(|count| post(&root.of(who), draft).err().map(|said| (count, said))).unwrap()
    };
    let (count, said) = fill("greedy", &long);
    assert!(count > 5 && said.contains("wait until tasks of yours are done"), "{count}: {said}");
    assert!(fill("alice", &long).0 > 5);
    assert!(post(&root.of("other"), &long).is_ok());
    let of = |poster: &str| Wanted { orchestrator: Some(poster.into()), ..Wanted::default() };
    let worker = root.of("worker");
    let first = claim(&worker, &of("greedy")).unwrap().unwrap().task.id();
    fail(&worker, &first, "not now", None, None).unwrap();
    assert!(post(&root.of("greedy"), &long).is_err());
    claim(&worker, &of("greedy")).unwrap().unwrap();
    let outcome = "o".repeat(64 << 10);
    assert_eq!(complete(&worker, &first, Some(&outcome), None).unwrap().task.state, State::Completed);
    assert!(post(&root.of("greedy"), &long).is_ok());
    // Many small ones are bounded too.
    root.bound(8_000, 64 << 20);
    let many = fill("many", &draft("small"));
    assert!((100..=200).contains(&many.0) && many.1.contains("that you may keep here"), "{many:?}");
}

/// What has ended is kept as far as its poster's share goes, the newest longest.
#[test]
fn what_has_ended_makes_room() {
    let root = MemoryShelf::new("orchestrator");
    root.bound(100_000, 8 << 20);
    let (worker, outcome) = (root.of("worker"), "o".repeat(64 << 10));
    for _ in 0..200 {
        let id = post(&root, &draft("a task")).unwrap().task.id();
        claim(&worker, &Wanted { id: Some(id.clone()), ..Wanted::default() }).unwrap();
        complete(&worker, &id, Some(&outcome), None).unwrap();
        assert_eq!(get(&root, &id).unwrap().task.outcome.as_deref(), Some(outcome.as_str()));
    }
    assert!(get(&root, "t1").unwrap_err().contains("there is no task t1"));
    assert!(get(&root, "t190").is_ok());
    let usage = root.holds_now();
    assert!(usage.bytes <= usage.max_bytes / 8 + 4_096, "{usage:?}");
}

/// Where only the reserve is left, tasks end with a short word, so that all can.
#[test]
fn a_reserve_is_left_to_finish() {
    let root = MemoryShelf::new("orchestrator");
    post(&root, &draft("a task")).unwrap();
    claim(&root, &Wanted::default()).unwrap();
    root.bound(100_000, root.holds_now().bytes + 1_000);
    let said = complete(&root, "t1", Some(&"o".repeat(1_025)), None).unwrap_err();
    assert!(said.contains("nearly full") && said.contains("1024 bytes"), "{said}");
    assert!(post(&root, &draft("another")).is_err());
    assert!(complete(&root, "t1", Some("see `report`"), None).is_ok());
}

/// Nobody has more than so many, and what a call does for others does not grow with what is held.
#[test]
fn one_has_so_many_tasks() {
    let root = MemoryShelf::new("orchestrator");
    let workers: Vec<_> = (0..6).map(|at| root.of(&format!("worker-{at}"))).collect();
    for at in 0..workers.len() * MAX_HELD as usize + 1 {
        post(&root, &draft(&format!("{at}"))).unwrap();
    }
    for (at, worker) in workers.iter().enumerate() {
        for _ in 0..MAX_HELD {
            let lease = Some(if at == 5 { 10 } else { 1_000 });
            claim(worker, &Wanted { lease, ..Wanted::default() }).unwrap().unwrap();
        }
        assert!(claim(worker, &Wanted::default()).unwrap_err().contains("you have 64 tasks"));
    }
    let looks = |shelf: &MemoryShelf| {
        let before = shelf.looks();
        get(shelf, "t1").unwrap();
        shelf.looks() - before
    };
    assert!(looks(&root) <= 2, "{} looks", looks(&root));
    // The last ones end first, and are found at once.
    root.pass(10_000);
    assert_eq!(get(&root, "t384").unwrap().task.state, State::Pending);
    assert_eq!(pending(&root, None, Some(100), None).unwrap().tasks.len(), MAX_HELD as usize + 1);
    assert!(claim(&workers[5], &Wanted::default()).unwrap().is_some());
    // What is extended ends later, and does not stand in the way of what ends before.
    let first = get(&root, "t1").unwrap().task;
    assert_eq!(first.claimant.as_deref(), Some("worker-0"));
    extend(&workers[0], "t1", Some(5_000), None).unwrap();
    root.pass(1_000_000);
    for _ in 0..3 {
        assert_eq!(get(&root, "t1").unwrap().task.state, State::Claimed);
    }
    assert_eq!(pending(&root, None, Some(100), None).unwrap().tasks.len(), 100);
    assert_eq!(root.keys().iter().filter(|key| key.starts_with("held/")).count(), 1);
    assert_eq!(root.keys().iter().filter(|key| key.starts_with("has/")).count(), 1);
}

/// What one posted is found at once, behind however much of another's that is more urgent.
#[test]
fn a_task_is_found_behind_others() {
    let root = MemoryShelf::new("a");
    for _ in 0..600 {
        post(&root, &Draft { priority: Some(9), ..draft("of a") }).unwrap();
    }
    let last = post(&root.of("b"), &draft("of b")).unwrap().task.id();
    let (of_b, before) = (Wanted { orchestrator: Some("b".into()), ..Wanted::default() }, root.looks());
    assert_eq!(pending(&root, Some("b"), None, None).unwrap().tasks[0].id, last);
    assert_eq!(claim(&root, &of_b).unwrap().unwrap().task.id(), last);
    assert!(root.looks() - before <= 8, "{} looks", root.looks() - before);
    assert_eq!(claim(&root, &of_b).unwrap(), None);
}

/// Until when one has a task is what the store says, whose clock ends it.
#[test]
fn a_lease_ends_by_the_clock_of_the_store() {
    let root = MemoryShelf::new("a");
    post(&root, &draft("a task")).unwrap();
    root.ahead(3_600_000);
    let wanted = Wanted { lease: Some(10), ..Wanted::default() };
    let claimed = claim(&root, &wanted).unwrap().unwrap();
    assert_eq!(claimed.lease_until_ms, Some(1_010_000));
    assert_eq!(get(&root, "t1").unwrap().lease_until_ms, claimed.lease_until_ms);
    assert_eq!(extend(&root, "t1", Some(20), None).unwrap().lease_until_ms, Some(1_020_000));
}
