//! The questions that wait for an answer: so many at most, each answered once, and only to who was asked about just that.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use portcullis_policy::{Digest, Principal};
use rmcp::model::{RequestStateCodec, SealOptions};

/// Questions that wait at one time, in all: each holds a call with its arguments, or nothing but its number.
const MAX_PENDING: usize = 256;
/// The same of one principal: more than that nobody reads before pressing a button.
const MAX_PENDING_OF_ONE: usize = 16;
/// Longest state that is looked at, in bytes. Ours has some hundred.
const MAX_STATE: usize = 1024;

/// The questions that wait. Numbers and seal end with the process: after a restart, or at another host, it is asked anew.
#[derive(Debug)]
pub(super) struct Pending {
    /// None where the system has no random numbers: nothing can be sealed, and so nothing be asked that way.
    codec: Option<RequestStateCodec>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    questions: HashMap<u64, Waits>,
}

#[derive(Debug)]
struct Waits {
    of: String,
    until: Instant,
}

/// A question that waits while its call does.
pub(super) struct Place<'a> {
    pending: &'a Pending,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pending.waiting().questions.remove(&self.number);
    }
}

impl Pending {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        let codec = getrandom::fill(&mut key).ok().and_then(|()| RequestStateCodec::try_new(key).ok());
        Self { codec, waiting: Mutex::default() }
    }

    /// A place for a question to `principal`. None where too many wait.
    pub(super) fn wait(&self, principal: &Principal, patience: Duration) -> Option<Place<'_>> {
        // The call ends by itself; a place of one that does not is not given to another.
        let number = self.waiting().enter(principal, Instant::now() + patience.saturating_mul(2))?;
        Some(Place { pending: self, number })
    }

    /// A question that is answered by another request: what that has to show. None where too many wait.
    pub(super) fn seal(&self, principal: &Principal, question: &Digest, patience: Duration) -> Option<String> {
        let codec = self.codec.as_ref()?;
        let number = self.waiting().enter(principal, Instant::now() + patience)?;
        let bound = bound(principal, question);
        Some(codec.seal_with(&number.to_be_bytes(), &SealOptions::new().associated_data(&bound).ttl(patience)))
    }

    /// Whether `state` was sealed for this question to this principal, waits still, and was not answered before.
    /// From now on it was.
    pub(super) fn open(&self, state: &str, principal: &Principal, question: &Digest) -> bool {
        let Some(codec) = self.codec.as_ref().filter(|_| state.len() <= MAX_STATE) else { return false };
        let opened = codec.open_with(state, &bound(principal, question));
        let number = opened.ok().and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
        number.is_some_and(|number| self.waiting().answer(number))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn enter(&mut self, principal: &Principal, until: Instant) -> Option<u64> {
        let now = Instant::now();
        self.questions.retain(|_, waits| waits.until > now);
        let of = principal.in_buckets();
        let own = self.questions.values().filter(|waits| waits.of == of).count();
        if self.questions.len() >= MAX_PENDING || own >= MAX_PENDING_OF_ONE {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.questions.insert(number, Waits { of: of.into_owned(), until });
        Some(number)
    }

    fn answer(&mut self, number: u64) -> bool {
        self.questions.remove(&number).is_some_and(|waits| waits.until > Instant::now())
    }
}

/// What a seal is over beside its number: no two pairs are written alike, since names have no space.
fn bound(principal: &Principal, question: &Digest) -> Vec<u8> {
    format!("portcullis confirm 1 {} {question}", principal.in_buckets()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const WHO: Principal = Principal::Loopback;

    #[test]
    fn an_answer_counts_once_and_for_its_question_alone() {
        let (pending, question) = (Pending::new(), Digest::of(b"echo"));
        let state = pending.seal(&WHO, &question, LONG).expect("a state");
        assert!(!pending.open(&state, &Principal::LocalOperator, &question), "another's");
        assert!(!pending.open(&state, &WHO, &Digest::of(b"ohce")), "another question's");
        assert!(!pending.open(&format!("{state}x"), &WHO, &question), "forged");
        assert!(!pending.open(&"x".repeat(MAX_STATE + 1), &WHO, &question), "long");
        assert!(!Pending::new().open(&state, &WHO, &question), "of another process");
        assert!(pending.open(&state, &WHO, &question));
        assert!(!pending.open(&state, &WHO, &question), "used before");
    }

    #[test]
    fn an_answer_that_comes_late_is_none() {
        let (pending, question) = (Pending::new(), Digest::of(b"echo"));
        let state = pending.seal(&WHO, &question, Duration::ZERO).expect("a state");
        assert!(!pending.open(&state, &WHO, &question));
        // By the clock that never goes back alone, too.
        let number = pending.waiting().enter(&WHO, Instant::now()).expect("a place");
        assert!(!pending.waiting().answer(number));
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let (pending, question) = (Pending::new(), Digest::of(b"echo"));
        let mut places: Vec<_> = (0..MAX_PENDING_OF_ONE).map_while(|_| pending.wait(&WHO, LONG)).collect();
        assert_eq!(places.len(), MAX_PENDING_OF_ONE);
        assert!(pending.wait(&WHO, LONG).is_none() && pending.seal(&WHO, &question, LONG).is_none());
        assert!(pending.wait(&Principal::LocalOperator, LONG).is_some(), "another has places of its own");
        places.pop();
        assert!(pending.seal(&WHO, &question, LONG).is_some(), "one that is over makes room");
        let mut waiting = pending.waiting();
        for number in 1000..1000 + MAX_PENDING as u64 {
            waiting.questions.insert(number, Waits { of: format!("a{number}"), until: Instant::now() + LONG });
        }
        assert!(waiting.enter(&Principal::LocalOperator, Instant::now() + LONG).is_none(), "in all");
    }
}
