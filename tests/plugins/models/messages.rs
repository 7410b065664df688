//! Mailboxes.

use std::collections::{BTreeMap, BTreeSet};

use messages::{Asked, Priority, acknowledge, receive, send};
use portcullis_plugins::MemoryShelf;
use proptest::prelude::*;

use crate::{NAMES, histories};

const TOPICS: [&str; 2] = ["news", "b.c"];

#[derive(Clone, Debug)]
enum Deed {
    Send {
        to: To,
        priority: Priority,
        ttl: u32,
    },
    Receive {
        limit: u32,
        lease: u32,
        topics: Option<Vec<usize>>,
    },
    /// Of those that were ever received, and of whoever's.
    Acknowledge {
        which: Vec<usize>,
    },
    Pass {
        seconds: u64,
    },
}

#[derive(Clone, Debug)]
enum To {
    Agent(usize),
    Topic(usize),
    All,
}

fn deed() -> impl Strategy<Value = Deed> {
    let to = prop_oneof![
        3 => (0..NAMES.len()).prop_map(To::Agent),
        1 => (0..TOPICS.len()).prop_map(To::Topic),
        1 => Just(To::All),
    ];
    let priority = prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)];
    let topics = prop::option::weighted(0.3, prop::collection::vec(0..TOPICS.len(), 0..3));
    prop_oneof![
        4 => (to, priority, 1..=30_u32).prop_map(|(to, priority, ttl)| Deed::Send { to, priority, ttl }),
        4 => (1..=4_u32, 1..=10_u32, topics).prop_map(|(limit, lease, topics)| Deed::Receive { limit, lease, topics }),
        2 => prop::collection::vec(0..20_usize, 1..5).prop_map(|which| Deed::Acknowledge { which }),
        2 => (1..=8_u64).prop_map(|seconds| Deed::Pass { seconds }),
    ]
}

#[derive(Clone, Debug)]
struct Letter {
    sender: &'static str,
    body: String,
    until: u64,
    leased: u64,
    seen: bool,
}

#[derive(Default)]
struct Model {
    now: u64,
    sent: u64,
    /// By recipient, then in the order in which they are given out.
    boxes: BTreeMap<&'static str, BTreeMap<(Priority, u64), Letter>>,
    members: BTreeMap<&'static str, BTreeSet<&'static str>>,
    given: Vec<String>,
    ids: BTreeMap<String, (Priority, u64)>,
}

impl Model {
    fn act(&mut self, shelf: &MemoryShelf, who: &'static str, deed: &Deed) {
        for letters in self.boxes.values_mut() {
            letters.retain(|_, letter| letter.until > self.now);
        }
        match deed {
            Deed::Pass { seconds } => {
                shelf.pass(seconds * 1_000);
                self.now += seconds * 1_000;
            }
            Deed::Send { to, priority, ttl } => self.send(shelf, who, to, *priority, *ttl),
            Deed::Receive { limit, lease, topics } => self.receive(shelf, who, *limit, *lease, topics.as_deref()),
            Deed::Acknowledge { which } => {
                let ids: BTreeSet<String> = which
                    .iter()
                    .map(|at| self.given.get(*at).cloned().unwrap_or_else(|| format!("none {at}")))
                    .collect();
                let own = self.boxes.entry(who).or_default();
                let there =
                    ids.iter().filter(|id| self.ids.get(*id).is_some_and(|key| own.remove(key).is_some())).count();
                let ids: Vec<String> = ids.into_iter().collect();
                let done = acknowledge(shelf, &ids).unwrap();
                assert_eq!((done.acknowledged, done.gone.len()), (there, ids.len() - there));
            }
        }
    }

    fn send(&mut self, shelf: &MemoryShelf, who: &'static str, to: &To, priority: Priority, ttl: u32) {
        let (text, names): (String, Vec<&'static str>) = match to {
            To::Agent(at) => (NAMES[*at].into(), vec![NAMES[*at]]),
            To::Topic(at) => {
                let follows = self.members.iter().filter(|(_, topics)| topics.contains(TOPICS[*at]));
                (format!("topic:{}", TOPICS[*at]), follows.map(|(name, _)| *name).filter(|name| *name != who).collect())
            }
            To::All => ("all".into(), self.members.keys().copied().filter(|name| *name != who).collect()),
        };
        self.sent += 1;
        let body = format!("body {}", self.sent);
        let sent = send(shelf, &text, &body, Some(priority), Some(ttl)).unwrap();
        let unknown = matches!(to, To::Agent(at) if !self.members.contains_key(NAMES[*at]));
        assert_eq!((sent.recipients, sent.unknown), (names.len(), unknown));
        self.ids.insert(sent.id, (priority, self.sent));
        for name in names {
            let until = self.now + u64::from(ttl) * 1_000;
            let letter = Letter { sender: who, body: body.clone(), until, leased: 0, seen: false };
            self.boxes.entry(name).or_default().insert((priority, self.sent), letter);
        }
    }

    fn receive(&mut self, shelf: &MemoryShelf, who: &'static str, limit: u32, lease: u32, topics: Option<&[usize]>) {
        let asked = Asked {
            limit: Some(limit),
            lease: Some(lease),
            topics: topics.map(|topics| topics.iter().map(|at| TOPICS[*at].to_owned()).collect()),
            wait: None,
        };
        let got = receive(shelf, &asked).unwrap();
        let followed = self.members.entry(who).or_default();
        if let Some(topics) = topics {
            *followed = topics.iter().map(|at| TOPICS[*at]).collect();
        }
        assert!(got.topics.iter().map(String::as_str).eq({
            let mut sorted: Vec<_> = followed.iter().copied().collect();
            sorted.sort_unstable();
            sorted
        }));
        let now = self.now;
        let free = self.boxes.entry(who).or_default().values_mut().filter(|letter| letter.leased <= now);
        let free: Vec<_> = free.collect();
        assert_eq!(got.more, free.len() > limit as usize);
        let mut expected = Vec::new();
        for letter in free.into_iter().take(limit as usize) {
            expected.push((letter.sender, letter.body.clone(), letter.seen));
            letter.leased = now + u64::from(lease) * 1_000;
            letter.seen = true;
        }
        let found: Vec<_> = got.messages.iter().map(|m| (m.sender.as_str(), m.body.clone(), m.redelivered)).collect();
        assert_eq!(found, expected, "what {who} gets");
        self.given.extend(got.messages.into_iter().map(|message| message.id));
    }
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn mailboxes_are_as_the_model_says(history in prop::collection::vec((0..NAMES.len(), deed()), 1..50)) {
        let (root, mut model) = (MemoryShelf::new("root"), Model::default());
        for (who, deed) in &history {
            model.act(&root.of(NAMES[*who]), NAMES[*who], deed);
        }
        // What is over leaves nothing behind but who is there.
        root.pass(40_000);
        let left: Vec<_> = root.keys().into_iter().filter(|key| key.starts_with("box/")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Two workers of one name never have a message at one time.
    #[test]
    fn two_workers_share_a_mailbox(count in 1..12_u32, limit in 1..6_u32, rounds in 1..6_usize) {
        let root = MemoryShelf::new("root");
        for at in 0..count {
            send(&root, "alice", &format!("{at}"), None, None).unwrap();
        }
        let got = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        for _ in 0..rounds {
            let (alice, other, theirs) = (root.of("alice"), root.of("alice"), std::rc::Rc::clone(&got));
            // Known already, so that the next transaction is that which takes messages.
            receive(&alice, &Asked { limit: Some(1), ..Asked::default() })
                .map(|received| got.borrow_mut().extend(received.messages)).unwrap();
            let asked = Asked { limit: Some(limit), ..Asked::default() };
            let again = asked.clone();
            alice.between(move || theirs.borrow_mut().extend(receive(&other, &again).unwrap().messages));
            let received = receive(&alice, &asked).unwrap();
            alice.has_happened();
            got.borrow_mut().extend(received.messages);
        }
        let bodies: Vec<_> = got.borrow().iter().map(|message| message.body.clone()).collect();
        let each: BTreeSet<_> = bodies.iter().collect();
        assert_eq!(each.len(), bodies.len(), "{bodies:?}");
    }
}

/// A wait ends with what comes for whoever waits, with a lease that ends, and with its time; nothing else ends it.
#[test]
fn a_wait_ends_with_a_message_and_with_its_time() {
    let root = MemoryShelf::new("root");
    let alice = root.of("alice");
    let asked = |wait: u32| Asked { wait: Some(wait), lease: Some(5), ..Asked::default() };
    let (began, empty) = (shelf::Shelf::now_ms(&alice), receive(&alice, &asked(7)).unwrap());
    assert!(empty.messages.is_empty());
    assert_eq!(shelf::Shelf::now_ms(&alice) - began, 7_000);
    // What comes for others wakes nobody: their keys are not among hers.
    for other in ["al", "alice/", "bob"] {
        let sender = root.of("bob");
        alice.while_waiting(move || drop(send(&sender, other, "x", None, None)));
        assert!(receive(&alice, &asked(7)).unwrap().messages.is_empty());
    }
    let sender = root.of("bob");
    alice.while_waiting(move || drop(send(&sender, "alice", "up", None, None)));
    assert_eq!(receive(&alice, &asked(300)).unwrap().messages[0].body, "up");
    // It is leased for five seconds, and comes again then.
    let began = shelf::Shelf::now_ms(&alice);
    let clock = root.clone();
    alice.while_waiting(move || clock.pass(5_000));
    let again = receive(&alice, &asked(300)).unwrap().messages;
    assert!(again[0].redelivered && shelf::Shelf::now_ms(&alice) - began == 5_000);
}

/// What happened in a mailbox before a wait does not end it, and is looked at once.
#[test]
fn a_wait_does_not_spin() {
    let root = MemoryShelf::new("root");
    let alice = root.of("alice");
    for _ in 0..30 {
        send(&root, "alice", "x", None, None).unwrap();
    }
    // Her leases end and are deleted after the last message, which is where a wait begins to look.
    let got = receive(&alice, &Asked { limit: Some(30), ..Asked::default() }).unwrap();
    let ids: Vec<_> = got.messages.into_iter().map(|message| message.id).collect();
    acknowledge(&alice, &ids).unwrap();
    let (began, looks) = (shelf::Shelf::now_ms(&alice), root.looks());
    assert!(receive(&alice, &Asked { wait: Some(20), ..Asked::default() }).unwrap().messages.is_empty());
    assert_eq!(shelf::Shelf::now_ms(&alice) - began, 20_000);
    assert!(root.looks() - looks < 10, "{} looks", root.looks() - looks);
}

/// A message for all is put into more mailboxes than one transaction holds, and into no more than it may.
#[test]
fn more_recipients_than_one_transaction_holds() {
    let root = MemoryShelf::new("root");
    for at in 0..300 {
        receive(&root.of(&format!("agent-{at}")), &Asked::default()).unwrap();
    }
    let sent = send(&root, "all", "to all", None, None).unwrap();
    assert_eq!(sent.recipients, 300);
    for at in [0, 127, 128, 299] {
        assert_eq!(receive(&root.of(&format!("agent-{at}")), &Asked::default()).unwrap().messages.len(), 1);
    }
    for at in 300..1_001 {
        receive(&root.of(&format!("agent-{at}")), &Asked::default()).unwrap();
    }
    assert!(send(&root, "all", "x", None, None).unwrap_err().contains("more than 1000: nothing was sent"));
}

/// A name in an argument leads to no other's keys.
#[test]
fn names_with_slashes_are_names() {
    let root = MemoryShelf::new("root");
    let long = "n".repeat(201);
    for (to, fits) in [("alice/m/0", true), ("%2F", true), ("../alice", true), (long.as_str(), false), ("a\nb", false)]
    {
        assert_eq!(send(&root, to, "x", None, None).is_ok(), fits, "{to:?}");
    }
    assert!(receive(&root.of("alice"), &Asked::default()).unwrap().messages.is_empty());
    for name in ["alice/m/0", "%2F", "../alice"] {
        assert_eq!(receive(&root.of(name), &Asked::default()).unwrap().messages.len(), 1, "{name}");
    }
}

/// An answer stays small however long the messages are.
#[test]
fn an_answer_holds_so_many_bytes() {
    let root = MemoryShelf::new("root");
    let body = "b".repeat(60 << 10);
    for _ in 0..5 {
        send(&root, "alice", &body, None, None).unwrap();
    }
    let asked = Asked { limit: Some(40), ..Asked::default() };
    let counts: Vec<_> =
        (0..3).map(|_| receive(&root.of("alice"), &asked).map(|got| (got.messages.len(), got.more)).unwrap()).collect();
    assert_eq!(counts, [(2, true), (2, true), (1, false)]);
    assert!(send(&root, "alice", &"b".repeat(65_537), None, None).unwrap_err().contains("at most 65536"));
}

/// One that sends all it may leaves the bucket to the others; what it sent is received, and acknowledging makes room.
#[test]
fn no_sender_fills_the_bucket() {
    let root = MemoryShelf::new("root");
    root.bound(8_000, 64 << 20);
    // A control character has six bytes as JSON, which is what the bucket counts.
    let body = "\u{1}".repeat(64 << 10);
    let fill = |who: &str, to: &str, body: &str| {
        (0..30_000).find_map(|count| send(&root.of(who), to, body, None, Some(604_800)).err().map(|said| (count, said)))
    };
    let (count, said) = fill("greedy", "nobody", &body).unwrap();
    assert!(count > 5 && said.contains("wait until others acknowledge"), "{count}: {said}");
    for who in ["al", "alice", "bob", "carol", "dave", "erin", "frank", "gwen", "hal", "local-operator"] {
        assert!(fill(who, "al", &body).unwrap().0 > 5);
    }
    let many = fill("many", "al", "x").unwrap();
    assert!((100..=125).contains(&many.0), "{many:?}");
    assert_eq!(send(&root.of("other"), "alice", "still", Some(Priority::High), None).unwrap().recipients, 1);
    let al = root.of("al");
    let got = receive(&al, &Asked { limit: Some(1), ..Asked::default() }).unwrap();
    let ids: Vec<_> = got.messages.iter().map(|message| message.id.clone()).collect();
    let sender = root.of(&got.messages[0].sender);
    assert!(send(&sender, "al", &body, None, None).is_err());
    acknowledge(&al, &ids).unwrap();
    assert!(send(&sender, "al", &body, None, None).is_ok());
    // What is over is no share's any more.
    root.pass(604_800_000);
    let left: Vec<_> = root.keys().into_iter().filter(|key| key.starts_with("sent/")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A bucket that is full, for whatever reason, takes no message; it is read and emptied as before.
#[test]
fn a_full_bucket_is_received_from() {
    let root = MemoryShelf::new("root");
    for at in 0..5 {
        send(&root, "alice", &format!("{at}"), None, None).unwrap();
    }
    root.bound(5, 100);
    assert!(send(&root, "alice", "x", None, None).is_err());
    let alice = root.of("alice");
    let got = receive(&alice, &Asked::default()).unwrap().messages;
    assert_eq!(got.len(), 5);
    let ids: Vec<_> = got.into_iter().map(|message| message.id).collect();
    assert_eq!(acknowledge(&alice, &ids).unwrap().acknowledged, 5);
}

/// Sending ends before the bucket is full: the rest is for those who receive.
#[test]
fn a_reserve_is_left_to_receive() {
    let root = MemoryShelf::new("root");
    let body = "b".repeat(40 << 10);
    let full = (0..40).find_map(|who| {
        let sender = root.of(&format!("s{who}"));
        (0..500).find_map(|_| send(&sender, "alice", &body, None, None).err()).filter(|said| said.contains("is full"))
    });
    assert!(full.is_some());
    let usage = root.holds_now();
    assert!(usage.bytes < usage.max_bytes - usage.max_bytes / 10, "{usage:?}");
}

/// A message for more than a transaction holds, of which the second one fails: the answer counts all recipients.
#[test]
fn who_has_it_is_said() {
    let root = MemoryShelf::new("root");
    for at in 0..200 {
        receive(&root.of(&format!("agent-{at}")), &Asked::default()).unwrap();
    }
    let bucket = root.clone();
    // When it was admitted, and before it is written: the bucket gets room for the first transaction alone.
    root.between(move || bucket.bound(100_000, bucket.holds_now().bytes + 63 * 16_000));
    let said = send(&root, "all", &"b".repeat(15_000), None, None).unwrap_err();
    assert!(said.contains("63 of 200 recipients have it, the others not"), "{said}");
}
