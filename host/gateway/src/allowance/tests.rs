//! Against clocks that stand still until they are told to go.

use std::{cell::Cell, collections::BTreeMap, sync::LazyLock, time::UNIX_EPOCH};

use portcullis_policy::{Allowance, RoleName, RoleRules, Statutes};

use super::*;

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

const CLOCKS: Clocks =
    Clocks { instant: || *BEGAN + NOW.get(), time: || UNIX_EPOCH + Duration::from_secs(20_000 * 86_400) + NOW.get() };

fn forward(by: Duration) {
    NOW.set(NOW.get() + by);
}

fn allowance(concurrency: u32, calls_per_minute: u32, fuel_per_day: Option<u64>) -> Allowance {
    let count = |count| NonZero::new(count).expect("a count");
    Allowance { concurrency: count(concurrency), calls_per_minute: count(calls_per_minute), fuel_per_day }
}

fn agent(name: &str, allowance: Allowance) -> Principal {
    let (name, role) = (AgentName::new(name).expect("a name"), RoleName::new("r").expect("a name"));
    let statutes = Statutes::new([(role.clone(), RoleRules::default())].into(), [(name.clone(), role)].into());
    let statutes = statutes.expect("statutes").with_allowances(allowance, BTreeMap::new());
    Principal::Agent(Arc::new(statutes.agent(&name).expect("the agent")))
}

fn begin(allowances: &Arc<Allowances>, who: &Principal) -> Result<Option<Admitted>, (&'static str, u64)> {
    allowances.admit(who, Some(1_000_000)).map_err(|exceeded| (exceeded.limit, exceeded.again.as_secs()))
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("fuel.json");
    (dir, path)
}

#[test]
fn calls_at_one_time_are_counted_until_they_end() {
    let (_dir, path) = folder();
    let allowances = Allowances::open(path, CLOCKS).expect("a book");
    let (alice, bob) = (agent("alice", allowance(2, 600, None)), agent("bob", allowance(2, 600, None)));
    let first = begin(&allowances, &alice).expect("one");
    let second = begin(&allowances, &alice).expect("two");
    assert_eq!(begin(&allowances, &alice).expect_err("three"), ("concurrency", 1));
    let _his = begin(&allowances, &bob).expect("another agent's");
    drop(first);
    let third = begin(&allowances, &alice).expect("one ended");
    let wider = agent("alice", allowance(3, 600, None));
    drop(begin(&allowances, &wider).expect("the bound of now counts"));
    drop((second, third));
    assert!(begin(&allowances, &Principal::LocalOperator).expect("not bounded").is_none());
}

#[test]
fn a_minutes_worth_comes_back_evenly() {
    let (_dir, path) = folder();
    let allowances = Allowances::open(path, CLOCKS).expect("a book");
    let alice = agent("alice", allowance(9, 3, None));
    for _ in 0..3 {
        drop(begin(&allowances, &alice).expect("within the minute"));
    }
    assert_eq!(begin(&allowances, &alice).expect_err("a fourth"), ("calls-per-minute", 20));
    forward(Duration::from_millis(19_500));
    assert_eq!(begin(&allowances, &alice).expect_err("a fourth"), ("calls-per-minute", 1));
    forward(Duration::from_millis(500));
    drop(begin(&allowances, &alice).expect("a third of a minute later"));
    assert!(begin(&allowances, &alice).is_err(), "and no more than that");
    // What was refused for the rate holds no place, and another bound counts from now on.
    let wider = agent("alice", allowance(1, 6, None));
    forward(Duration::from_secs(10));
    drop(begin(&allowances, &wider).expect("a sixth of a minute later"));
    forward(Duration::from_secs(1000));
    for _ in 0..3 {
        drop(begin(&allowances, &alice).expect("no more than a minute's worth is kept"));
    }
    assert!(begin(&allowances, &alice).is_err());
}

#[test]
fn fuel_of_the_day_outlives_the_process() {
    let (_dir, path) = folder();
    let allowances = Allowances::open(path.clone(), CLOCKS).expect("a book");
    let alice = agent("alice", allowance(9, 600, Some(1000)));
    let spend = |allowances: &Arc<Allowances>, fuel| {
        begin(allowances, &alice).map(|call| call.expect("an agent's").settle(Some(fuel)))
    };
    spend(&allowances, 600).expect("within");
    // Killed: nothing is written at the end.
    let killed = Allowances::open(path.clone(), CLOCKS).expect("a book");
    spend(&killed, 390).expect("600 of 1000, and a hundredth at most");
    assert_eq!(spend(&killed, 1).expect_err("all of it"), ("fuel-per-day", 86_400));
    drop(killed);
    forward(Duration::from_secs(80_000));
    let again = Allowances::open(path.clone(), CLOCKS).expect("a book");
    assert_eq!(spend(&again, 1).expect_err("still this day"), ("fuel-per-day", 6400));
    forward(Duration::from_secs(6400));
    spend(&again, 1).expect("a new day");
    drop(again);
    std::fs::write(&path, "{").expect("a file");
    assert!(Allowances::open(path, CLOCKS).is_err(), "what is damaged is not taken for nothing");
}

#[test]
fn a_call_that_was_stopped_has_computed_all_the_time() {
    let (_dir, path) = folder();
    let allowances = Allowances::open(path, CLOCKS).expect("a book");
    let alice = agent("alice", allowance(9, 600, Some(1_500_000)));
    let begun = |allowances: &Arc<Allowances>| {
        let mut call = begin(allowances, &alice).expect("within").expect("an agent's");
        call.begins();
        call
    };
    let call = begun(&allowances);
    forward(Duration::from_micros(50));
    drop(call);
    let spent = |allowances: &Arc<Allowances>| {
        allowances.book.lock().expect("a book").spent(&AgentName::new("alice").expect("a name"), (CLOCKS.time)())
    };
    assert_eq!(spent(&allowances), 50 * FUEL_PER_MICRO);
    let call = begun(&allowances);
    forward(Duration::from_secs(50));
    drop(call);
    assert_eq!(spent(&allowances), 50 * FUEL_PER_MICRO + 1_000_000, "no more than the call may");
    assert!(begin(&allowances, &alice).is_err());
}

#[test]
fn a_model_reads_what_and_when() {
    let exceeded = Exceeded::new("calls-per-minute", "60 a minute".into(), Duration::from_millis(2100));
    let told = "too many calls: 60 a minute (limit `calls-per-minute` of the agent); try again in 3s";
    assert_eq!(exceeded.to_string(), told);
}

/// A person's yes is not spent because another call runs just then; nor is it waited for without end.
#[tokio::test]
async fn who_comes_back_waits_a_moment_for_a_place() {
    let (_dir, path) = folder();
    let allowances = Allowances::open(path, CLOCKS).expect("a book");
    let alice = agent("alice", allowance(1, 600, None));
    let mut asks = begin(&allowances, &alice).expect("one").expect("counted");
    asks.steps_back();
    let other = begin(&allowances, &alice).expect("its place").expect("counted");
    let mut back = Box::pin(asks.comes_back());
    assert!(futures::poll!(&mut back).is_pending(), "it waits");
    drop(other);
    assert_eq!(back.await, Ok(()));
    assert_eq!(begin(&allowances, &alice).expect_err("it counts again"), ("concurrency", 1));
    asks.steps_back();
    let _other = begin(&allowances, &alice).expect("its place").expect("counted");
    assert_eq!(asks.comes_back().await.map_err(|exceeded| exceeded.limit), Err("concurrency"));
}
