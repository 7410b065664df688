//! A cluster of three nodes: each bucket lies on one of them, and whichever was named, the engine finds it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_store::{Bucket, Condition, Operation, SetOptions, Store, StoreError, Version};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    engines::{bucket, key, soon, writer},
    server::{Product, Server},
};

const NODES: u16 = 3;
const SLOTS: u16 = 16384;
/// So many that each node has some.
const BUCKETS: usize = 24;

struct Cluster(Vec<Server>);

impl Cluster {
    fn start(product: Product) -> Option<Self> {
        let nodes: Vec<_> = (0..NODES).map(|_| Server::node(product)).collect::<Option<_>>()?;
        let part = SLOTS / NODES;
        for (number, node) in (0..NODES).zip(&nodes) {
            let last = if number + 1 == NODES { SLOTS - 1 } else { (number + 1) * part - 1 };
            assert_eq!(node.say(&format!("CLUSTER ADDSLOTSRANGE {} {last}", number * part)), "+OK");
            let (port, bus) = nodes[0].ports();
            assert_eq!(node.say(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}")), "+OK");
        }
        let cluster = Self(nodes);
        cluster.settles();
        Some(cluster)
    }

    /// Waits until all nodes know of all slots.
    fn settles(&self) {
        let whole = |node: &Server| {
            let info = node.ask("CLUSTER INFO");
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_slots_ok:{SLOTS}"))
        };
        eventually(|| self.0.iter().all(whole));
    }

    /// The slot of a bucket, and the number of the node that has it.
    fn place(&self, bucket: &Bucket) -> (u16, usize) {
        // The second node is never away.
        let slot = self.0[1].say(&format!("CLUSTER KEYSLOT portcullis:{{{}}}:state", bucket.name));
        let slot = slot.trim_start_matches(':').parse().expect("a slot");
        (slot, usize::from(slot / (SLOTS / NODES)).min(usize::from(NODES) - 1))
    }

    /// A bucket that lies on this node, another for each name.
    fn bucket_on(&self, node: usize, name: &str) -> Bucket {
        let mut buckets = (0..).map(|number| bucket(&format!("{name}-{number}")));
        buckets.find(|bucket| self.place(bucket).1 == node).expect("one of many")
    }

    /// Has a slot on its way from one node to another.
    fn gives_away(&self, slot: u16, from: usize, to: usize) {
        let say = |node: usize, words: &str, other: usize| {
            let answer = self.0[node].say(&format!("CLUSTER SETSLOT {slot} {words} {}", self.id(other)));
            assert_eq!(answer, "+OK", "{words}");
        };
        say(to, "IMPORTING", from);
        say(from, "MIGRATING", to);
    }

    fn id(&self, node: usize) -> String {
        let answer = self.0[node].ask("CLUSTER MYID");
        answer.lines().nth(1).expect("an id").to_owned()
    }
}

fn on_each(test: impl AsyncFn(Product, Cluster)) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for product in Product::ALL {
            let Some(cluster) = Cluster::start(product) else { continue };
            eprintln!("on {}", product.name());
            test(product, cluster).await;
        }
    });
}

async fn put(store: &Store, bucket: &Bucket, value: &str) -> Result<Version, StoreError> {
    let options = SetOptions { ttl: Some(Duration::from_secs(600)), ..SetOptions::default() };
    store.set(bucket, key("k"), value.into(), options, &writer(), soon()).await
}

async fn get(store: &Store, bucket: &Bucket) -> Result<String, StoreError> {
    let entry = store.get(bucket, &key("k"), soon()).await?;
    Ok(entry.map_or_else(String::new, |entry| String::from_utf8(entry.value).expect("text")))
}

#[test]
fn every_bucket_is_found_wherever_it_lies() {
    on_each(async |_, cluster| {
        // One host knows the first node, the other the last.
        let hosts = [cluster.0[0].store(None), cluster.0[2].store(None)];
        let buckets: Vec<_> = (0..BUCKETS).map(|number| bucket(&format!("b{number:02}"))).collect();
        for at in &buckets {
            assert_eq!(put(&hosts[0], at, "one").await.expect("written"), Version(1));
            assert_eq!(get(&hosts[1], at).await.expect("read"), "one");
            let sum = hosts[1].increment(at, key("n"), 2, None, &writer(), soon()).await;
            assert_eq!(sum.expect("counted"), (2, Version(2)));
            let both = ["k", "n"].map(|name| Operation::Delete { key: key(name), when: Condition::Always });
            let versions = hosts[0].transact(at, both.into(), &writer(), soon()).await.expect("deleted");
            assert_eq!(versions, [Version(3), Version(4)].map(Some));
            let page = hosts[1].changes(at, "", Version(0), 10, Duration::ZERO, soon()).await.expect("changes");
            assert_eq!(page.changes.len(), 4);
        }
        let names: Vec<_> = buckets.iter().map(|bucket| bucket.name.clone()).collect();
        assert_eq!(hosts[1].buckets(soon()).await.expect("names"), names);
        for node in &cluster.0 {
            assert_ne!(node.say("DBSIZE"), ":0", "each node has some");
        }
    });
}

/// Announcements go to all nodes. Half of what a waiter sleeps before it looks for itself: one woke it.
#[test]
fn a_write_wakes_who_waits_at_another_node() {
    on_each(async |_, cluster| {
        let (one, other) = (cluster.0[0].store(None), Arc::new(cluster.0[2].store(None)));
        let at = cluster.bucket_on(1, "b");
        let mut took = Vec::new();
        for number in 0..5 {
            let (waiter, bucket) = (Arc::clone(&other), at.clone());
            let waits = tokio::spawn(async move {
                let page = waiter.changes(&bucket, "", Version(number), 10, Duration::from_secs(20), soon()).await;
                page.expect("changes").changes.len()
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
            let began = Instant::now();
            put(&one, &at, "x").await.expect("written");
            assert_eq!(waits.await.expect("ended"), 1);
            took.push(began.elapsed());
        }
        took.sort();
        assert!(took[2] < Duration::from_millis(500), "{took:?}");
    });
}

#[test]
fn a_slot_that_moves_is_followed() {
    on_each(async |_, cluster| {
        let store = cluster.0[0].store(None);
        let at = cluster.bucket_on(1, "b");
        let (slot, from) = cluster.place(&at);
        put(&store, &at, "before").await.expect("written");
        let (to, port) = (2, cluster.0[2].ports().0);
        let say = |node: usize, words: String| assert_eq!(cluster.0[node].say(&words), "+OK", "{words}");
        cluster.gives_away(slot, from, to);
        assert_eq!(get(&store, &at).await.expect("read"), "before");
        let keys = ["state", "entries", "order", "expiries", "changes"];
        let keys = keys.map(|part| format!("portcullis:{{{}}}:{part}", at.name)).join(" ");
        say(from, format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 KEYS {keys}"));
        // Who had it sends on, this once.
        assert_eq!(get(&store, &at).await.expect("asked"), "before");
        put(&store, &at, "between").await.expect("written");
        for node in [to, from, 0] {
            say(node, format!("CLUSTER SETSLOT {slot} NODE {}", cluster.id(to)));
        }
        assert_eq!(get(&store, &at).await.expect("moved"), "between");
        assert_eq!(put(&store, &at, "after").await.expect("written"), Version(3));
    });
}

/// While a node gives a slot away, a key of it that has gone ends a script that touches it again.
#[test]
fn a_write_is_whole_while_its_slot_is_given_away() {
    on_each(async |_, cluster| {
        let store = cluster.0[0].store(None);
        let at = cluster.bucket_on(1, "b");
        let (slot, from) = cluster.place(&at);
        put(&store, &at, "one").await.expect("written");
        cluster.gives_away(slot, from, 2);
        // The only entry with an end has another.
        assert_eq!(put(&store, &at, "two").await.expect("written"), Version(2));
        // The last entry goes, and another comes.
        let ttl = |ms| SetOptions { ttl: Some(Duration::from_millis(ms)), ..SetOptions::default() };
        let set = Operation::Set { key: key("j"), value: b"three".to_vec(), options: ttl(50) };
        let both = vec![Operation::Delete { key: key("k"), when: Condition::Always }, set];
        let versions = store.transact(&at, both, &writer(), soon()).await.expect("written");
        assert_eq!(versions, [Version(3), Version(4)].map(Some));
        // The only one that has an end comes to it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(put(&store, &at, "four").await.expect("written"), Version(6));
        let page = store.changes(&at, "", Version(0), 10, Duration::ZERO, soon()).await.expect("changes");
        let versions: Vec<_> = page.changes.iter().map(|change| change.version.0).collect();
        assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
        let (usage, version) =
            store.usage(&at, soon()).await.map(|usage| (usage.entries, page.next_after)).expect("usage");
        assert_eq!((usage, version), (1, Version(6)));
    });
}

#[test]
fn the_others_go_on_while_a_node_is_away() {
    on_each(async |_, mut cluster| {
        let store = cluster.0[0].store(None);
        let [first, second, third] = [0, 1, 2].map(|node| cluster.bucket_on(node, "b"));
        for at in [&first, &second, &third] {
            put(&store, at, "before").await.expect("written");
        }
        cluster.0[2].down();
        let began = Instant::now();
        let away = put(&store, &third, "x").await;
        assert!(matches!(away, Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_))), "{away:?}");
        let away = put(&store, &third, "x").await;
        assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "at once, and not at the deadline");
        for at in [&first, &second] {
            put(&store, at, "meanwhile").await.expect("on a node that is there");
        }
        cluster.0[2].up();
        cluster.settles();
        comes_back(&store, &third).await;
        // The node that was named is no other's: those that are known are asked for what is new.
        cluster.0[0].down();
        let new = cluster.bucket_on(1, "new");
        let read = store.get(&new, &key("k"), soon()).await;
        assert!(matches!(read, Ok(None)), "{read:?}");
        assert_eq!(get(&store, &second).await.expect("read"), "meanwhile");
    });
}

/// Packets to the node that was named come to nothing. What is asked of it has time left for the others, and what comes
/// after that does not wait for it again.
#[test]
fn a_node_that_cannot_be_reached_uses_up_no_deadline() {
    on_each(async |_, mut cluster| {
        let store = cluster.0[0].store(None);
        for node in 0..3 {
            put(&store, &cluster.bucket_on(node, "b"), "before").await.expect("written");
        }
        let (port, _) = cluster.0[0].ports();
        cluster.0[0].down();
        let _unreachable = Unreachable::at(port);
        let began = Instant::now();
        let new = ["new", "newer", "newest", "last"].map(|name| cluster.bucket_on(1, name));
        let read = async |at| {
            let read = store.get(at, &key("k"), Instant::now() + Duration::from_secs(2)).await;
            assert!(matches!(read, Ok(None)), "{read:?}");
        };
        for at in &new {
            read(at).await;
        }
        assert!(began.elapsed() < Duration::from_secs(4), "the first waited, and the others at most once more");
        // Whoever answered is asked first from now on, however often the other could be tried again.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            for at in &new {
                let began = Instant::now();
                read(at).await;
                assert!(began.elapsed() < Duration::from_millis(900), "it waited for the node that is away");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Of those who want what that node alone has, one at a time waits whether it is back.
        let gone = cluster.bucket_on(0, "b");
        for _ in 0..3 {
            let asked = (0..8).map(|_| async {
                let began = Instant::now();
                let read = store.get(&gone, &key("k"), soon()).await;
                assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
                began.elapsed() > Duration::from_millis(500)
            });
            let waited = futures::future::join_all(asked).await;
            assert!(waited.iter().filter(|waited| **waited).count() <= 1, "{waited:?}");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
}

/// A port that takes no more connections: whoever wants one waits for as long as it likes.
struct Unreachable {
    _port: Socket,
    _waiting: Vec<Socket>,
}

impl Unreachable {
    fn at(port: u16) -> Self {
        let address = SockAddr::from(SocketAddr::from(([127, 0, 0, 1], port)));
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = socket();
        listener.set_reuse_address(true).expect("a flag");
        listener.bind(&address).expect("the node's port");
        listener.listen(0).expect("a queue");
        // As many as its queue holds, and one that waits before it.
        let waiting = (0..4).map(|_| {
            let waiting = socket();
            waiting.set_nonblocking(true).expect("a flag");
            _ = waiting.connect(&address);
            waiting
        });
        Self { _waiting: waiting.collect(), _port: listener }
    }
}

/// Starts a replica of the third node, and waits until it has what that has.
fn replica(cluster: &Cluster, product: Product) -> Option<Server> {
    let replica = Server::node(product)?;
    let ((port, bus), primary) = (cluster.0[0].ports(), cluster.id(2));
    assert_eq!(replica.say(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}")), "+OK");
    eventually(|| replica.say(&format!("CLUSTER REPLICATE {primary}")) == "+OK");
    eventually(|| {
        let info = replica.ask("INFO replication");
        info.contains("role:slave") && info.contains("master_link_status:up") && replica.say("DBSIZE") != ":0"
    });
    Some(replica)
}

/// What the replica had got is there, and the hosts are not started again.
#[test]
fn a_replica_takes_over() {
    on_each(async |product, mut cluster| {
        let store = cluster.0[0].store(None);
        let at = cluster.bucket_on(2, "b");
        put(&store, &at, "before").await.expect("written");
        let Some(replica) = replica(&cluster, product) else { return };
        cluster.0[2].down();
        comes_back(&store, &at).await;
        assert!(replica.ask("INFO replication").contains("role:master"));
        let page = store.changes(&at, "", Version(0), 10, Duration::ZERO, soon()).await.expect("changes");
        assert_eq!(page.changes[0].version, Version(1), "what was written before");
    });
}

/// A node that hangs, as one whose disk does, ends no connection. Its replica has its place, and is found.
#[test]
fn a_node_that_hangs_is_left_for_its_replica() {
    on_each(async |product, cluster| {
        let store = cluster.0[0].store(None);
        let at = cluster.bucket_on(2, "b");
        put(&store, &at, "before").await.expect("written");
        let Some(replica) = replica(&cluster, product) else { return };
        cluster.0[2].hangs(true);
        let began = Instant::now();
        let options = || SetOptions::default();
        let in_a_second = || Instant::now() + Duration::from_secs(1);
        let answer = store.set(&at, key("k"), "x".into(), options(), &writer(), in_a_second()).await;
        assert!(matches!(answer, Err(StoreError::UnknownOutcome(_))), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "at its deadline");
        let until = Instant::now() + Duration::from_secs(30);
        while let Err(error) = store.set(&at, key("k"), "after".into(), options(), &writer(), in_a_second()).await {
            assert!(Instant::now() < until, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(replica.ask("INFO replication").contains("role:master"));
        let began = Instant::now();
        for _ in 0..10 {
            assert_eq!(get(&store, &at).await.expect("read"), "after");
        }
        assert!(began.elapsed() < Duration::from_secs(2), "and asked for at once from now on");
        cluster.0[2].hangs(false);
    });
}

fn eventually(mut so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < until, "never");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn comes_back(store: &Store, at: &Bucket) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = put(store, at, "after").await {
        assert!(Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(store, at).await.expect("read"), "after");
}
