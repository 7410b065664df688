//! A shelf in memory, with a clock that tests move, and a place where somebody comes between a call's reads and writes.

#![forbid(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use shelf::{Change, Changes, Entry, Fault, Kind, MAX_STEPS, Page, Shelf, Step, Usage, When};

/// What somebody else does meanwhile.
type Meanwhile = Box<dyn FnOnce()>;

/// Waits and lists of one shelf: a call that does more spins. The host lets a call do as many operations.
const MAX_OPERATIONS: u64 = 10_000;
/// What a bucket holds by default.
const MAX: (u64, u64) = (100_000, 64 << 20);

#[derive(Default)]
struct Bucket {
    now_ms: Cell<u64>,
    entries: RefCell<BTreeMap<String, Entry>>,
    version: Cell<u64>,
    log: RefCell<Vec<(u64, Change)>>,
    between: RefCell<Option<Meanwhile>>,
    waiting: RefCell<Option<Meanwhile>>,
    looks: Cell<u64>,
    max_entries: Cell<u64>,
    max_bytes: Cell<u64>,
    skew_ms: Cell<u64>,
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
        let (now_ms, max_entries, max_bytes) = (Cell::new(1_000_000), Cell::new(MAX.0), Cell::new(MAX.1));
        let bucket = Bucket { now_ms, max_entries, max_bytes, ..Bucket::default() };
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

    /// What the bucket may hold from now on, also where it holds more.
    pub fn bound(&self, max_entries: u64, max_bytes: u64) {
        self.bucket.max_entries.set(max_entries);
        self.bucket.max_bytes.set(max_bytes);
    }

    /// How far the machine's clock is ahead of the store's, in milliseconds.
    pub fn ahead(&self, ms: u64) {
        self.bucket.skew_ms.set(ms);
    }

    /// What it holds and may hold.
    pub fn holds_now(&self) -> Usage {
        self.sweep();
        let entries = self.bucket.entries.borrow();
        let bytes = entries.values().map(|entry| shelf::size(entry) as u64).sum();
        let (max_entries, max_bytes) = (self.bucket.max_entries.get(), self.bucket.max_bytes.get());
        Usage { entries: entries.len() as u64, bytes, max_entries, max_bytes }
    }

    /// Refuses what would bring the bucket beyond its bounds, or further beyond them.
    fn fits(&self, steps: &[Step]) -> Result<(), Fault> {
        let (entries, usage) = (self.bucket.entries.borrow(), self.holds_now());
        let (mut there, mut was, mut sets, mut bytes) = (0, 0, 0, 0);
        for step in steps {
            let (Step::Set(key, ..) | Step::Delete(key, _)) = step else { continue };
            let found = entries.get(key);
            there += u64::from(found.is_some());
            was += found.map_or(0, |entry| shelf::size(entry) as u64);
            sets += u64::from(matches!(step, Step::Set(..)));
            bytes += step.size() as u64;
        }
        let beyond = |held: u64, out: u64, added: u64, max: u64| added > out && held - out + added > max;
        let full =
            beyond(usage.entries, there, sets, usage.max_entries) || beyond(usage.bytes, was, bytes, usage.max_bytes);
        if full { Err(Fault::Full) } else { Ok(()) }
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
        self.bucket.now_ms.get() + self.bucket.skew_ms.get()
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
        let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
        let all = entries.range(from.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let behind = all.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let limit = limit as usize;
        let found: Vec<Entry> = behind.map(|(_, entry)| entry.clone()).take(limit + 1).collect();
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
        self.fits(steps)?;
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

    fn usage(&self) -> Result<Option<Usage>, Fault> {
        Ok(Some(self.holds_now()))
    }
}
