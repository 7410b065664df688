//! The engines that the tests run on, each with a clock that the test sets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use portcullis_store::{Bucket, BucketName, Clock, Durability, EmbeddedOptions, Key, Limits, Store, Writer};
use tempfile::TempDir;

use super::server::{Product, Server};

/// A clock that stands where it is put.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000)))
    }

    pub(crate) fn clock(&self) -> Clock {
        let hand = Arc::clone(&self.0);
        Arc::new(move || UNIX_EPOCH + Duration::from_millis(hand.load(Ordering::SeqCst)))
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    pub(crate) fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// A store that begins empty, what it stands on, and its clock.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<Store>,
    pub(crate) hand: Hand,
    _ground: Ground,
}

#[expect(dead_code, reason = "kept until the stage is over")]
enum Ground {
    Folder(TempDir),
    Server(Server),
}

pub(crate) fn embedded(durability: Durability) -> Stage {
    let folder = tempfile::tempdir().expect("a folder");
    let hand = Hand::new();
    let path = folder.path().join("store.redb");
    let options = EmbeddedOptions { path, durability, clock: hand.clock(), check: false };
    let store = Arc::new(Store::embedded(options).expect("opened"));
    Stage { name: "embedded", store, hand, _ground: Ground::Folder(folder) }
}

/// Within a runtime.
fn served(product: Product) -> Option<Stage> {
    let server = Server::of(product, false)?;
    let hand = Hand::new();
    let store = Arc::new(server.store(Some(hand.clock())));
    Some(Stage { name: product.name(), store, hand, _ground: Ground::Server(server) })
}

/// Runs `test` on every engine.
pub(crate) fn on_each<F: Future<Output = ()>>(test: impl Fn(Stage) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stages: [fn() -> Option<Stage>; 3] =
            [|| Some(embedded(Durability::Relaxed)), || served(Product::Redis), || served(Product::Valkey)];
        for stage in stages {
            let Some(stage) = stage() else { continue };
            eprintln!("on {}", stage.name);
            test(stage).await;
        }
    });
}

pub(crate) fn bucket(name: &str) -> Bucket {
    Bucket { name: BucketName::new(name).expect("a name"), limits: Limits::default() }
}

pub(crate) fn key(key: &str) -> Key {
    Key::new(key).expect("a key")
}

pub(crate) fn writer() -> Writer {
    Writer { principal: "alice".into(), plugin: "notes".into(), digest: "d1".into() }
}

/// Far enough away for everything that is not about deadlines.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
