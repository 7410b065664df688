//! Random histories of one client: each answer is the model's, to the byte.
//!
//! `PORTCULLIS_HISTORIES=20000` for the long run.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use portcullis_store::{Bucket, Condition, Limits, Operation, SetOptions, StoreError, Version, Writer};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};

use super::{
    engines::{Stage, bucket, key, on_each, soon},
    model::Model,
};

const KEYS: [&str; 6] = ["a", "a/b", "a/c", "b", "é", "a\u{10ffff}"];
const VALUES: [&str; 9] =
    ["", "x", "7", "-3", "007", "+1", "9223372036854775807", "a longer value than most", "\u{1}\0"];
const PREFIXES: [&str; 4] = ["", "a", "a/", "é"];

/// A condition, where the version is said relative to what stands.
#[derive(Clone, Debug)]
enum When {
    Always,
    Absent,
    Present,
    Current,
    Version(u64),
}

#[derive(Clone, Debug)]
enum Single {
    Set(usize, usize, When, Option<u64>),
    Delete(usize, When),
    Check(usize, When),
}

#[derive(Clone, Debug)]
enum Action {
    Get(usize),
    GetMany(Vec<usize>),
    Exists(usize),
    One(Single),
    Transact(Vec<Single>),
    Increment(usize, i64, Option<u64>),
    List(usize, Option<usize>, usize),
    /// After how many changes before the last one.
    Changes(usize, u64, usize),
    Usage,
    Forward(u64),
    Back(u64),
    /// Other limits from now on.
    Narrow(bool),
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        4 => Just(When::Always),
        1 => Just(When::Absent),
        1 => Just(When::Present),
        2 => Just(When::Current),
        1 => (0_u64..30).prop_map(When::Version),
    ]
}

fn ttl() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 1 => (1_u64..60).prop_map(Some)]
}

fn single() -> impl Strategy<Value = Single> {
    let keys = 0..KEYS.len();
    prop_oneof![
        4 => (keys.clone(), 0..VALUES.len(), when(), ttl()).prop_map(|(k, v, w, t)| Single::Set(k, v, w, t)),
        1 => (keys.clone(), when()).prop_map(|(k, w)| Single::Delete(k, w)),
        1 => (keys, when()).prop_map(|(k, w)| Single::Check(k, w)),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let keys = 0..KEYS.len();
    let delta = prop_oneof![Just(1), Just(-5), Just(i64::MAX), Just(i64::MIN), Just(0)];
    prop_oneof![
        2 => keys.clone().prop_map(Action::Get),
        1 => vec(keys.clone(), 0..5).prop_map(Action::GetMany),
        1 => keys.clone().prop_map(Action::Exists),
        8 => single().prop_map(Action::One),
        4 => vec(single(), 0..5).prop_map(Action::Transact),
        3 => (keys.clone(), delta, ttl()).prop_map(|(k, d, t)| Action::Increment(k, d, t)),
        2 => (0..PREFIXES.len(), proptest::option::of(keys), 1_usize..4).prop_map(|(p, a, l)| Action::List(p, a, l)),
        3 => (0..PREFIXES.len(), 0_u64..12, 1_usize..5).prop_map(|(p, b, l)| Action::Changes(p, b, l)),
        1 => Just(Action::Usage),
        4 => (0_u64..40).prop_map(Action::Forward),
        1 => (0_u64..40).prop_map(Action::Back),
        1 => any::<bool>().prop_map(Action::Narrow),
    ]
}

/// The bounds of the kept changes stay: a sweep of its own may come with the old ones or the new ones.
fn limits(narrow: bool) -> Limits {
    let (max_entries, max_bytes) = if narrow { (3, 30) } else { (5, 80) };
    Limits { max_entries, max_bytes, changes: 7, change_bytes: 70 }
}

impl When {
    fn condition(&self, model: &Model, at: usize) -> Condition {
        match self {
            Self::Always => Condition::Always,
            Self::Absent => Condition::IfAbsent,
            Self::Present => Condition::IfPresent,
            Self::Current => {
                let held = model.entries.get(&key(KEYS[at]));
                Condition::IfVersion(held.map_or(Version(model.version), |entry| entry.version))
            }
            Self::Version(version) => Condition::IfVersion(Version(*version)),
        }
    }
}

impl Single {
    fn operation(&self, model: &Model) -> Operation {
        match self {
            Self::Set(at, value, when, ttl) => Operation::Set {
                key: key(KEYS[*at]),
                value: VALUES[*value].into(),
                options: SetOptions { when: when.condition(model, *at), ttl: ttl.map(Duration::from_millis) },
            },
            Self::Delete(at, when) => Operation::Delete { key: key(KEYS[*at]), when: when.condition(model, *at) },
            Self::Check(at, when) => Operation::Check { key: key(KEYS[*at]), when: when.condition(model, *at) },
        }
    }
}

fn operations(singles: &[Single], model: &Model) -> Vec<Operation> {
    singles.iter().map(|single| single.operation(model)).collect()
}

/// Whether a key is written twice, which no engine is asked.
fn twice(operations: &[Operation]) -> bool {
    let written = operations.iter().filter(|operation| !matches!(operation, Operation::Check { .. }));
    let mut keys: Vec<_> = written.map(Operation::key).collect();
    keys.sort();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

async fn run(stage: &Stage, actions: &[Action]) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut bucket = bucket(&format!("history-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    bucket.limits = limits(false);
    let mut model = Model::new(bucket.limits);
    // What the history before this one set back, the store has seen.
    stage.hand.set(stage.hand.now() + 100 * 40);
    for (step, action) in actions.iter().enumerate() {
        // A writer of its own for each step, so that a mix-up shows.
        let writer = Writer { principal: format!("p{step}"), plugin: "q".into(), digest: "d".into() };
        act(stage, &mut bucket, &mut model, action, &writer).await;
    }
    // In the end all is as the model has it, by pages of two.
    model.at(stage.hand.now());
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = stage.store.list(&bucket, "", after.as_ref(), 2, soon()).await.expect("listed");
        found.extend(page.entries);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, model.list("", None, usize::MAX), "at the end");
}

async fn act(stage: &Stage, bucket: &mut Bucket, model: &mut Model, action: &Action, writer: &Writer) {
    let Stage { store, hand, .. } = stage;
    // Limits come with an operation, and reads bring none along.
    let reads = matches!(action, Action::Get(_) | Action::GetMany(_) | Action::Exists(_) | Action::List(..));
    if !reads {
        model.limits = bucket.limits;
    }
    match action {
        Action::Forward(ms) => return hand.forward(*ms),
        Action::Back(ms) => return hand.set(hand.now().saturating_sub(*ms)),
        Action::Narrow(narrow) => return bucket.limits = limits(*narrow),
        // What is refused for its arguments does not look at the clock.
        Action::Transact(singles) if twice(&operations(singles, model)) => {}
        _ => model.at(hand.now()),
    }
    match action {
        Action::Get(at) => {
            let found = store.get(bucket, &key(KEYS[*at]), soon()).await;
            assert_eq!(found, Ok(model.entries.get(&key(KEYS[*at])).cloned()), "{action:?}");
        }
        Action::GetMany(many) => {
            let keys: Vec<_> = many.iter().map(|at| key(KEYS[*at])).collect();
            let expected = keys.iter().map(|key| model.entries.get(key).cloned()).collect();
            assert_eq!(store.get_many(bucket, &keys, soon()).await, Ok(expected), "{action:?}");
        }
        Action::Exists(at) => {
            let expected = model.entries.contains_key(&key(KEYS[*at]));
            assert_eq!(store.exists(bucket, &key(KEYS[*at]), soon()).await, Ok(expected), "{action:?}");
        }
        Action::One(single) => match single.operation(model) {
            Operation::Set { key, value, options } => {
                let expected =
                    model.write(&[Operation::Set { key: key.clone(), value: value.clone(), options }], writer);
                let found = store.set(bucket, key, value, options, writer, soon()).await;
                assert_eq!(found.map(|version| vec![Some(version)]), expected, "{action:?}");
            }
            Operation::Delete { key, when } => {
                let expected = model.write(&[Operation::Delete { key: key.clone(), when }], writer);
                let found = store.delete(bucket, key, when, writer, soon()).await;
                assert_eq!(found.map(|version| vec![version]), expected, "{action:?}");
            }
            check @ Operation::Check { .. } => {
                let expected = model.write(std::slice::from_ref(&check), writer);
                assert_eq!(store.transact(bucket, vec![check], writer, soon()).await, expected, "{action:?}");
            }
        },
        Action::Transact(singles) => {
            let operations = operations(singles, model);
            let found = store.transact(bucket, operations.clone(), writer, soon()).await;
            if twice(&operations) {
                assert!(matches!(found, Err(StoreError::InvalidArgument(_))), "{action:?}: {found:?}");
            } else {
                assert_eq!(found, model.write(&operations, writer), "{action:?}");
            }
        }
        Action::Increment(at, delta, ttl) => {
            let ttl = ttl.map(Duration::from_millis);
            let name = key(KEYS[*at]);
            let found = store.increment(bucket, name.clone(), *delta, ttl, writer, soon()).await;
            let Some(sum) = model.sum(&name, *delta) else {
                assert!(matches!(found, Err(StoreError::InvalidArgument(_))), "{action:?}: {found:?}");
                return;
            };
            let left = model.expires(&name).map(|at| Duration::from_millis(at - model.now()));
            let options = SetOptions { when: Condition::Always, ttl: ttl.or(left) };
            let set = Operation::Set { key: name, value: sum.to_string().into(), options };
            let expected = model.write(&[set], writer).map(|versions| (sum, versions[0].expect("a version")));
            assert_eq!(found, expected, "{action:?}");
        }
        Action::List(prefix, after, limit) => {
            let (prefix, after) = (PREFIXES[*prefix], after.map(|at| key(KEYS[at])));
            let page = store.list(bucket, prefix, after.as_ref(), *limit, soon()).await.expect("listed");
            assert_eq!(page.entries, model.list(prefix, after.as_ref(), *limit), "{action:?}");
            let more = model.list(prefix, after.as_ref(), usize::MAX).len() > *limit;
            assert_eq!(page.next, page.entries.last().filter(|_| more).map(|entry| entry.key.clone()), "{action:?}");
        }
        Action::Changes(prefix, back, limit) => {
            // Ahead of the bucket too.
            let after = Version((model.version + 1).saturating_sub(*back));
            let found = store.changes(bucket, PREFIXES[*prefix], after, *limit, Duration::ZERO, soon()).await;
            assert_eq!(found, model.changes(PREFIXES[*prefix], after, *limit), "{action:?} after {after}");
        }
        Action::Usage => assert_eq!(store.usage(bucket, soon()).await, Ok(model.usage()), "{action:?}"),
        Action::Forward(_) | Action::Back(_) | Action::Narrow(_) => {}
    }
}

#[test]
fn every_answer_is_the_models() {
    let cases = std::env::var("PORTCULLIS_HISTORIES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3000);
    on_each(async |stage| {
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            let done = TestRunner::new(config).run(&vec(action(), 1..40), |actions| {
                handle.block_on(run(&stage, &actions));
                Ok(())
            });
            done.unwrap_or_else(|failure| panic!("{}: {failure}", stage.name));
        });
    });
}
