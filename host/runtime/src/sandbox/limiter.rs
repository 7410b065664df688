//! Memory and tables of a call, summed over all that its store holds.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::{engine, sandbox::CallLog};

/// Elements of all tables of a call together.
const MAX_TABLE_ELEMENTS: usize = engine::TABLE_ELEMENTS as usize * 2;
/// Times that a guest is told no, which an allocator may handle, before asking again ends the call.
const REFUSALS: u32 = 16;

/// What a call used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// Bytes of linear memory; the limit.
    Memory(u64),
    /// Elements of tables; the limit.
    Tables(u64),
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(limit) => write!(f, "more than its {limit} bytes of memory"),
            Self::Tables(limit) => write!(f, "more than {limit} table elements"),
        }
    }
}

impl std::error::Error for Exhausted {}

/// Counts what the store holds, and says no.
pub(crate) struct Limiter {
    memory: usize,
    max_memory: usize,
    tables: usize,
    refusals: u32,
    /// The first refusal. A guest that traps after one most likely traps because of it.
    exhausted: Option<Exhausted>,
    log: Arc<CallLog>,
}

impl Limiter {
    pub(crate) fn new(max_memory: u64, log: Arc<CallLog>) -> Self {
        let max_memory = usize::try_from(max_memory).unwrap_or(usize::MAX);
        Self { memory: 0, max_memory, tables: 0, refusals: 0, exhausted: None, log }
    }

    /// What was refused first, if anything was.
    pub(crate) fn exhausted(&self) -> Option<Exhausted> {
        self.exhausted
    }

    fn refuse(&mut self, what: Exhausted) -> wasmtime::Result<bool> {
        self.exhausted.get_or_insert(what);
        self.refusals += 1;
        if self.refusals > REFUSALS { Err(what.into()) } else { Ok(false) }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.max_memory {
            return self.refuse(Exhausted::Memory(self.max_memory as u64));
        }
        // Growth past the memory's own maximum fails after this; it must not count.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.memory = total;
            self.log.peak_memory(total as u64);
        }
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables.saturating_add(desired.saturating_sub(current));
        if total > MAX_TABLE_ELEMENTS {
            return self.refuse(Exhausted::Tables(MAX_TABLE_ELEMENTS as u64));
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.tables = total;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_summed_and_refusals_are_few() {
        let log = Arc::new(CallLog::default());
        let mut limiter = Limiter::new(100, Arc::clone(&log));
        assert!(limiter.memory_growing(0, 60, None).expect("within"));
        assert!(limiter.memory_growing(0, 200, Some(50)).is_ok_and(|ok| !ok), "a second memory counts too");
        assert!(limiter.memory_growing(0, 40, Some(20)).expect("fails later, and does not count"));
        assert!(limiter.memory_growing(0, 40, None).expect("within"));
        assert_eq!(log.used_memory(), 100);
        assert_eq!(limiter.exhausted(), Some(Exhausted::Memory(100)));
        for _ in 1..REFUSALS {
            assert!(!limiter.memory_growing(60, 70, None).expect("told no"));
        }
        assert!(limiter.memory_growing(60, 70, None).is_err(), "asked too often");
    }
}
