//! A shelf in memory, with a clock that tests move, and a place where somebody comes between a call's reads and writes.

#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use shelf::{Change, Changes, Entry, Fault, Kind, MAX_STEPS, Page, Shelf, Step, When};

/// What somebody else does meanwhile.
type Meanwhile = Box<dyn FnOnce()>;

/// Waits and lists of one shelf: a call that does more spins. The host lets a call do as many operations.
const MAX_OPERATIONS: u64 = 10_000;

#[derive(Default)]
struct Bucket {
    now_ms: Cell<u64>,
    entries: RefCell<BTreeMap<String, Entry>>,
    version: Cell<u64>,
    log: RefCell<Vec<(u64, Change)>>,
    between: RefCell<Option<Meanwhile>>,
    waiting: RefCell<Option<Meanwhile>>,
    looks: Cell<u64>,
}

/// A bucket, as one agent has it.
#[derive(Clone)]
pub struct MemoryShelf {
    caller: String,
    bucket: Rc<Bucket>,
}

impl MemoryShelf {
    /// An empty bucket, at some time.
    pub fn new(caller: &str) -> Self {
        let bucket = Bucket { now_ms: Cell::new(1_000_000), ..Bucket::default() };
        Self { caller: caller.into(), bucket: Rc::new(bucket) }
    }

    /// The same bucket, as another agent has it.
    #[must_use]
    pub fn of(&self, caller: &str) -> Self {
        Self { caller: caller.into(), bucket: Rc::clone(&self.bucket) }
    }

    /// Lets time pass, in milliseconds.
    pub fn pass(&self, ms: u64) {
        self.bucket.now_ms.set(self.bucket.now_ms.get().saturating_add(ms));
        self.sweep();
    }

    /// What happens right before the next transaction: after its caller has read, and before it writes.
    pub fn between(&self, meanwhile: impl FnOnce() + 'static) {
        *self.bucket.between.borrow_mut() = Some(Box::new(meanwhile));
    }

    /// Takes back what would have happened; whether it has.
    pub fn has_happened(&self) -> bool {
        self.bucket.between.borrow_mut().take().is_none()
    }

    /// What happens in the next wait.
    pub fn while_waiting(&self, meanwhile: impl FnOnce() + 'static) {
        *self.bucket.waiting.borrow_mut() = Some(Box::new(meanwhile));
    }

    /// All keys.
    pub fn keys(&self) -> Vec<String> {
        self.sweep();
        self.bucket.entries.borrow().keys().cloned().collect()
    }

    /// How often somebody listed or asked for changes.
    pub fn looks(&self) -> u64 {
        self.bucket.looks.get()
    }

    fn look(&self) -> Result<(), Fault> {
        let looks = self.bucket.looks.get() + 1;
        self.bucket.looks.set(looks);
        if looks > MAX_OPERATIONS { Err(Fault::Limit) } else { Ok(()) }
    }

    fn tick(&self, kind: Kind, key: &str) -> u64 {
        let version = self.bucket.version.get() + 1;
        self.bucket.version.set(version);
        self.bucket.log.borrow_mut().push((version, Change { kind, key: key.into() }));
        version
    }

    fn sweep(&self) {
        let now = self.bucket.now_ms.get();
        let ended = |entry: &Entry| entry.expires_at_ms.is_some_and(|end| end <= now);
        let gone: Vec<String> = {
            let entries = self.bucket.entries.borrow();
            entries.values().filter(|entry| ended(entry)).map(|entry| entry.key.clone()).collect()
        };
        for key in gone {
            self.bucket.entries.borrow_mut().remove(&key);
            self.tick(Kind::Expire, &key);
        }
    }

    fn holds(&self, key: &str, when: When) -> Result<(), Fault> {
        let entries = self.bucket.entries.borrow();
        let found = entries.get(key);
        let holds = match when {
            When::Always => true,
            When::Absent => found.is_none(),
            When::Present => found.is_some(),
            When::Version(version) => found.is_some_and(|entry| entry.version == version),
        };
        if holds { Ok(()) } else { Err(Fault::Conflict(found.cloned().map(Box::new))) }
    }

    fn set(&self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> u64 {
        let version = self.tick(Kind::Set, key);
        let now = self.bucket.now_ms.get();
        let entry = Entry {
            key: key.into(),
            value: value.into(),
            version,
            writer: self.caller.clone(),
            written_at_ms: now,
            expires_at_ms: ttl_ms.map(|ttl| now.saturating_add(ttl)),
        };
        self.bucket.entries.borrow_mut().insert(key.into(), entry);
        version
    }
}

impl Shelf for MemoryShelf {
    fn caller(&self) -> String {
        self.caller.clone()
    }

    fn now_ms(&self) -> u64 {
        self.bucket.now_ms.get()
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Fault> {
        self.sweep();
        Ok(self.bucket.entries.borrow().get(key).cloned())
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Fault> {
        if keys.len() > MAX_STEPS {
            return Err(Fault::Other(format!("{} keys", keys.len())));
        }
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, Fault> {
        self.look()?;
        self.sweep();
        let entries = self.bucket.entries.borrow();
        let fits = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
        let found: Vec<Entry> = entries.keys().filter(fits).filter_map(|key| entries.get(key).cloned()).collect();
        let limit = limit as usize;
        let next = if found.len() > limit { found.get(limit - 1).map(|entry| entry.key.clone()) } else { None };
        Ok(Page { entries: found.into_iter().take(limit).collect(), next })
    }

    fn transact(&self, steps: &[Step]) -> Result<Vec<Option<u64>>, Fault> {
        let meanwhile = self.bucket.between.borrow_mut().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.sweep();
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return Err(Fault::Other(format!("{} steps", steps.len())));
        }
        let mut written: Vec<&String> = Vec::new();
        for step in steps {
            let (key, when) = match step {
                Step::Set(key, _, when, _) | Step::Delete(key, when) => {
                    if written.contains(&key) {
                        return Err(Fault::Other(format!("`{key}` is written twice")));
                    }
                    written.push(key);
                    (key, *when)
                }
                Step::Check(key, when) => (key, *when),
            };
            if key.is_empty() || key.len() > 512 {
                return Err(Fault::Other(format!("a key of {} bytes", key.len())));
            }
            self.holds(key, when)?;
        }
        let done = steps.iter().map(|step| match step {
            Step::Set(key, value, _, ttl_ms) => Some(self.set(key, value, *ttl_ms)),
            Step::Delete(key, _) => {
                let there = self.bucket.entries.borrow_mut().remove(key).is_some();
                there.then(|| self.tick(Kind::Delete, key))
            }
            Step::Check(..) => None,
        });
        Ok(done.collect())
    }

    fn next(&self, key: &str) -> Result<u64, Fault> {
        let number = match self.get(key)? {
            Some(entry) => entry.read::<u64>()? + 1,
            None => 1,
        };
        self.set(key, number.to_string().as_bytes(), None);
        Ok(number)
    }

    fn changes(&self, prefix: &str, after: u64, wait_ms: u32) -> Result<Changes, Fault> {
        self.look()?;
        let found = || -> Vec<Change> {
            let log = self.bucket.log.borrow();
            let fits = |(version, change): &&(u64, Change)| *version > after && change.key.starts_with(prefix);
            log.iter().filter(fits).map(|(_, change)| change.clone()).collect()
        };
        let mut changes = found();
        if changes.is_empty() {
            let meanwhile = self.bucket.waiting.borrow_mut().take();
            match meanwhile {
                Some(meanwhile) => meanwhile(),
                None => self.pass(u64::from(wait_ms)),
            }
            changes = found();
        }
        Ok(Changes { changes, next_after: self.bucket.version.get(), missed: false })
    }
}
