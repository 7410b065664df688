//! The list of agents.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use agents::{Registration, deregister, find, heartbeat, register};
use portcullis_plugins::MemoryShelf;
use proptest::prelude::*;

use crate::{NAMES, histories};

const WORDS: [&str; 3] = ["research", "Write", "lang:FR"];

#[derive(Clone, Debug)]
enum Deed {
    Register { words: Vec<usize>, capacity: u32, load: u32, ttl: u32 },
    Beat { load: Option<u32>, available: Option<bool> },
    Leave,
    Find { words: Vec<usize>, limit: u32, all: bool },
    Pass { seconds: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    let words = |from: usize| prop::collection::vec(0..WORDS.len(), from..3);
    prop_oneof![
        4 => (words(1), 1..=4_u32, 0..=5_u32, 1..=20_u32)
            .prop_map(|(words, capacity, load, ttl)| Deed::Register { words, capacity, load, ttl }),
        2 => (prop::option::of(0..=5_u32), prop::option::of(any::<bool>()))
            .prop_map(|(load, available)| Deed::Beat { load, available }),
        1 => Just(Deed::Leave),
        4 => (words(0), 1..=4_u32, any::<bool>()).prop_map(|(words, limit, all)| Deed::Find { words, limit, all }),
        2 => (1..=10_u64).prop_map(|seconds| Deed::Pass { seconds }),
    ]
}

struct Listed {
    words: BTreeSet<String>,
    capacity: u32,
    load: u32,
    available: bool,
    ttl: u64,
    until: u64,
}

fn small(words: &[usize]) -> BTreeSet<String> {
    words.iter().map(|at| WORDS[*at].to_lowercase()).collect()
}

fn said(words: &[usize]) -> Vec<String> {
    words.iter().map(|at| WORDS[*at].to_owned()).collect()
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn the_list_is_as_the_model_says(history in prop::collection::vec((0..NAMES.len(), deed()), 1..50)) {
        let root = MemoryShelf::new("root");
        let (mut now, mut list) = (0_u64, BTreeMap::<&str, Listed>::new());
        for (who, deed) in &history {
            list.retain(|_, listed| listed.until > now);
            let who = NAMES[*who];
            let shelf = root.of(who);
            match deed {
                Deed::Pass { seconds } => {
                    root.pass(seconds * 1_000);
                    now += seconds * 1_000;
                }
                Deed::Register { words, capacity, load, ttl } => {
                    let (capabilities, ms) = (said(words), u64::from(*ttl) * 1_000);
                    let registration = Registration {
                        capabilities,
                        description: None,
                        capacity: Some(*capacity),
                        load: Some(*load),
                        ttl: Some(*ttl),
                    };
                    assert_eq!(register(&shelf, &registration).unwrap().name, who);
                    let (capacity, load, words) = (*capacity, *load, small(words));
                    list.insert(who, Listed { words, capacity, load, available: true, ttl: ms, until: now + ms });
                }
                Deed::Beat { load, available } => {
                    let beaten = heartbeat(&shelf, *load, *available);
                    assert_eq!(beaten.is_ok(), list.contains_key(who));
                    if let Some(listed) = list.get_mut(who) {
                        listed.load = load.unwrap_or(listed.load);
                        listed.available = available.unwrap_or(listed.available);
                        listed.until = now + listed.ttl;
                    }
                }
                Deed::Leave => assert_eq!(deregister(&shelf).unwrap(), list.remove(who).is_some()),
                Deed::Find { words, limit, all } => {
                    let found = find(&shelf, &said(words), Some(*limit), *all).unwrap();
                    let wanted = small(words);
                    let takes = |listed: &Listed| listed.available && listed.load < listed.capacity;
                    let mut expected: Vec<_> = list.iter()
                        .filter(|(_, listed)| wanted.is_subset(&listed.words) && (*all || takes(listed)))
                        .map(|(name, listed)| {
                            let free = listed.capacity.saturating_sub(listed.load);
                            // Sixtieths are exact for all capacities here.
                            let share = free * 60 / listed.capacity;
                            (Reverse(takes(listed)), Reverse(share), Reverse(free), listed.words.len(), *name)
                        })
                        .collect();
                    expected.sort();
                    assert_eq!(found.total, expected.len());
                    let names: Vec<_> = found.agents.iter().map(|agent| agent.name.as_str()).collect();
                    let expected: Vec<_> = expected.iter().map(|(.., name)| *name).take(*limit as usize).collect();
                    assert_eq!(names, expected);
                }
            }
        }
    }
}

/// A heartbeat does not bring back who has left meanwhile.
#[test]
fn who_leaves_between_stays_away() {
    let root = MemoryShelf::new("alice");
    register(&root, &Registration { capabilities: vec!["a".into()], ..Registration::default() }).unwrap();
    let other = root.of("alice");
    root.between(move || assert!(deregister(&other).unwrap()));
    assert!(heartbeat(&root, None, None).unwrap_err().contains("call `register_agent`"));
    assert_eq!(find(&root, &[], None, true).unwrap().total, 0);
}

/// Until when one is listed is what the store says, whose clock ends it.
#[test]
fn a_listing_ends_by_the_clock_of_the_store() {
    let root = MemoryShelf::new("alice");
    root.ahead(3_600_000);
    let said = Registration { capabilities: vec!["research".into()], ttl: Some(10), ..Registration::default() };
    let agent = register(&root, &said).unwrap();
    assert_eq!((agent.seen_at_ms, agent.expires_at_ms), (1_000_000, 1_010_000));
    root.pass(5_000);
    assert_eq!(heartbeat(&root, None, None).unwrap().expires_at_ms, 1_015_000);
    assert_eq!(find(&root, &[], None, false).unwrap().agents[0].expires_at_ms, 1_015_000);
}
