//! Shared values.

use std::collections::BTreeMap;

use context::{Address, MAX_KEY, MAX_VALUE, delete, list, read, write};
use portcullis_plugins::MemoryShelf;
use proptest::prelude::*;

use crate::{NAMES, histories};

const KEYS: [&str; 4] = ["main", "a", "a/b", "é %2F"];

#[derive(Clone, Debug)]
enum Deed {
    Read,
    /// With which version: none, absent, the one that stands, another.
    Write {
        version: u8,
        ttl: Option<u32>,
    },
    Delete {
        version: u8,
    },
    List {
        limit: u32,
    },
    Pass {
        seconds: u64,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => Just(Deed::Read),
        5 => (0..4_u8, prop::option::of(1..=20_u32)).prop_map(|(version, ttl)| Deed::Write { version, ttl }),
        2 => (0..4_u8).prop_map(|version| Deed::Delete { version }),
        1 => (1..=3_u32).prop_map(|limit| Deed::List { limit }),
        2 => (1..=15_u64).prop_map(|seconds| Deed::Pass { seconds }),
    ]
}

#[derive(Clone, Debug)]
struct Value {
    text: String,
    version: u64,
    writer: &'static str,
    until: Option<u64>,
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn values_are_as_the_model_says(
        history in prop::collection::vec(
            (0..NAMES.len(), prop::option::of(0..NAMES.len()), prop::option::of(0..KEYS.len()), deed()), 1..50),
    ) {
        let root = MemoryShelf::new("root");
        let (mut now, mut values) = (0_u64, BTreeMap::<(Option<&str>, &str), Value>::new());
        for (count, (who, area, key, deed)) in history.iter().enumerate() {
            values.retain(|_, value| value.until.is_none_or(|until| until > now));
            let (who, area) = (NAMES[*who], area.map(|area| NAMES[area]));
            let shelf = root.of(who);
            let address = Address { agent: area.map(str::to_owned), key: key.map(|key| KEYS[key].to_owned()) };
            let place = (area, key.map_or("main", |key| KEYS[key]));
            let stands = values.get(&place).map(|value| value.version);
            let said = |version: u8| match version {
                0 => None,
                1 => Some(0),
                2 => Some(stands.unwrap_or(7)),
                _ => Some(stands.unwrap_or(7) + 1_000),
            };
            let may = area.is_none_or(|area| area == who);
            let holds = |said: Option<u64>| said.is_none_or(|said| said == stands.unwrap_or(0));
            match deed {
                Deed::Pass { seconds } => {
                    root.pass(seconds * 1_000);
                    now += seconds * 1_000;
                }
                Deed::Read => {
                    let found = read(&shelf, &address).unwrap();
                    let found = found.map(|item| (item.value, item.version, item.writer));
                    let expected = values.get(&place).map(|v| (v.text.clone(), v.version, v.writer.to_owned()));
                    assert_eq!(found, expected);
                }
                Deed::Write { version, ttl } => {
                    let (text, said) = (format!("[{count}]"), said(*version));
                    let written = write(&shelf, &address, &text, said, *ttl);
                    assert_eq!(written.is_ok(), may && holds(said), "{written:?}");
                    if let Ok(written) = written {
                        assert!(written.version > stands.unwrap_or(0) && written.writer == who);
                        let until = ttl.map(|ttl| now + u64::from(ttl) * 1_000);
                        values.insert(place, Value { text, version: written.version, writer: who, until });
                    }
                }
                Deed::Delete { version } => {
                    let said = said(*version);
                    let deleted = delete(&shelf, &address, said);
                    assert_eq!(deleted.is_ok(), may && said != Some(0) && holds(said), "{deleted:?}");
                    if let Ok(deleted) = deleted {
                        assert_eq!(deleted.version.is_some(), values.remove(&place).is_some());
                    }
                }
                Deed::List { limit } => {
                    let (mut found, mut after) = (Vec::new(), None);
                    loop {
                        let page = list(&shelf, area, None, after.as_deref(), Some(*limit)).unwrap();
                        assert!(page.items.len() <= *limit as usize);
                        found.extend(page.items.into_iter().map(|item| (item.key, item.version)));
                        let Some(next) = page.next else { break };
                        after = Some(next);
                    }
                    let expected: Vec<_> = values.iter().filter(|((of, _), _)| *of == area)
                        .map(|((_, key), value)| ((*key).to_owned(), value.version)).collect();
                    assert_eq!(found, expected);
                }
            }
        }
    }

    /// Two that read, put both together and write under the version: no update is lost, whoever comes between.
    #[test]
    fn no_update_is_lost(disturbed in prop::collection::vec(any::<bool>(), 1..20)) {
        fn add(shelf: &MemoryShelf) -> bool {
            let address = Address::default();
            let found = read(shelf, &address).unwrap();
            let (count, version) = found.map_or((0, 0), |item| (item.value.parse::<u64>().unwrap(), item.version));
            write(shelf, &address, &(count + 1).to_string(), Some(version), None).is_ok()
        }
        let root = MemoryShelf::new("alice");
        let mut done = 0;
        for disturbed in disturbed {
            let other = root.of("bob");
            if disturbed {
                root.between(move || assert!(add(&other)));
                done += 1;
            }
            done += u64::from(add(&root));
        }
        let count = read(&root, &Address::default()).unwrap().unwrap().value;
        assert_eq!(count, done.to_string());
    }

    /// What is JSON is kept as it is written, and nothing else is.
    #[test]
    fn values_are_json(text in "\\PC{0,20}|[\\[\\]{}0-9\",:a ]{0,20}") {
        let shelf = MemoryShelf::new("alice");
        let written = write(&shelf, &Address::default(), &text, None, None);
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
        assert_eq!(written.is_ok(), parsed.is_ok());
        if written.is_ok() {
            assert_eq!(read(&shelf, &Address::default()).unwrap().unwrap().value, text);
        }
    }
}

#[test]
fn bounds_are_said() {
    let shelf = MemoryShelf::new("alice");
    let at = |key: &str| Address { agent: None, key: Some(key.into()) };
    let long = format!("\"{}\"", "x".repeat(MAX_VALUE - 2));
    assert!(write(&shelf, &at("k"), &long, None, None).is_ok());
    assert!(write(&shelf, &at("k"), &format!("{long} "), None, None).unwrap_err().contains("at most 262144"));
    assert!(write(&shelf, &at(&"k".repeat(MAX_KEY)), "1", None, None).is_ok());
    assert!(write(&shelf, &at(&"k".repeat(MAX_KEY + 1)), "1", None, None).unwrap_err().contains("1 to 200 bytes"));
    let deep = "[".repeat(100_000);
    assert!(write(&shelf, &at("k"), &deep, None, None).unwrap_err().contains("must be JSON"));
    let slashes = Address { agent: Some("/".repeat(200)), key: None };
    assert!(read(&shelf, &slashes).unwrap_err().contains("count three times"));
}

/// One that writes all it may leaves the bucket to the others, and goes on reading, deleting and replacing.
#[test]
fn no_writer_fills_the_bucket() {
    let root = MemoryShelf::new("root");
    root.bound(8_000, 64 << 20);
    let at = |key: usize| Address { agent: None, key: Some(format!("k{key}")) };
    let large = format!("\"{}\"", "x".repeat(MAX_VALUE - 2));
    let fill = |who: &str, value: &str| {
        let shelf = root.of(who);
        (0..30_000).find_map(|key| {
            let address = Address { agent: Some(who.into()), ..at(key) };
            write(&shelf, &address, value, None, None).err().map(|said| (key, said))
        })
    };
    let (count, said) = fill("greedy", &large).unwrap();
    assert!(count > 10 && said.contains("delete values of yours"), "{count}: {said}");
    // As many as `plugins/portcullis.toml` has, each with all it may, by size and by number.
    for who in ["al", "alice", "bob", "carol", "dave", "local-operator"] {
        assert!(fill(who, &large).unwrap().0 > 10);
    }
    let many = fill("many", "1").unwrap();
    assert!((200..=250).contains(&many.0) && many.1.contains("that you may keep here"), "{many:?}");
    assert!(write(&root.of("other"), &at(0), &large, None, None).is_ok());
    // Room that is given back is room again, also where another writes in one's place.
    let greedy = root.of("greedy");
    let own = Address { agent: Some("greedy".into()), ..at(0) };
    assert!(write(&greedy, &at(1), "1", None, None).is_ok(), "a small one had room");
    assert!(write(&greedy, &own, &large, None, None).is_ok(), "in the place of the same");
    assert!(write(&greedy, &at(2), &large, None, None).is_err());
    delete(&greedy, &own, None).unwrap();
    assert!(write(&greedy, &at(2), &large, None, None).is_ok());
    assert!(write(&greedy, &at(3), &large, None, None).is_err());
    assert!(write(&root.of("other"), &at(2), "1", None, None).is_ok());
    assert!(write(&greedy, &at(3), &large, None, Some(5)).is_ok());
    assert!(write(&greedy, &at(4), &large, None, None).is_err());
    root.pass(5_000);
    assert!(write(&greedy, &at(4), &large, None, None).is_ok());
}

/// Two calls of one writer at once do not both take the last room.
#[test]
fn the_last_room_is_taken_once() {
    let (root, large) = (MemoryShelf::new("greedy"), format!("\"{}\"", "x".repeat(MAX_VALUE - 2)));
    let at = |key: usize| Address { agent: None, key: Some(format!("k{key}")) };
    let most = (0..100).find(|key| write(&root, &at(*key), &large, None, None).is_err()).unwrap();
    delete(&root, &at(0), None).unwrap();
    let (other, value) = (root.clone(), large.clone());
    root.between(move || drop(write(&other, &at(1_000), &value, None, None).unwrap()));
    assert!(write(&root, &at(1_001), &large, None, None).is_err(), "{most}");
}

/// What is counted is what there is, whoever wrote over whom: shares have an entry for each value, and of its writer.
#[test]
fn shares_have_what_there_is() {
    let root = MemoryShelf::new("root");
    let at = |agent: Option<&str>, key: &str| Address { agent: agent.map(str::to_owned), key: Some(key.into()) };
    write(&root.of("al"), &at(None, "a"), "1", None, None).unwrap();
    write(&root.of("bob"), &at(None, "a"), "2", None, None).unwrap();
    write(&root.of("al"), &at(Some("al"), "a"), "3", None, None).unwrap();
    write(&root.of("al"), &at(None, "b"), "4", None, None).unwrap();
    delete(&root.of("bob"), &at(None, "b"), None).unwrap();
    let kept: Vec<_> = root.keys().into_iter().filter(|key| key.starts_with("kept/")).collect();
    assert_eq!(kept, ["kept/al/agent/a", "kept/bob/shared/a"]);
}
