//! The questions that wait for an answer: so many at most, each answered once, and only to who was asked about just that.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use portcullis_policy::{Digest, Principal};
use rmcp::model::{RequestStateCodec, RequestStateError, SealOptions};

/// Questions that wait at one time, in all: each holds a call with its arguments, or nothing but its number. Where they
/// are too many, one of the latter goes for a newer one: of those nobody knows whether anybody still thinks about them.
const MAX_PENDING: usize = 256;
/// The same of one principal: more than that nobody reads before pressing a button.
const MAX_PENDING_OF_ONE: usize = 16;
/// Longest state that is looked at, in bytes. Ours has some hundred.
const MAX_STATE: usize = 1024;
/// What a seal is over beside its number, which says whose question it is, and which.
const SEALED: &[u8] = b"portcullis confirm 2";

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
    /// None while its call waits.
    sealed: Option<Digest>,
    until: Instant,
}

/// What a state is that a call brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Of this question, which waited until now.
    Yes,
    /// Of another question, or of one that waits no more.
    Spent,
    /// Not of this process.
    Strange,
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
        let number = self.waiting().enter(principal, None, Instant::now() + patience.saturating_mul(2))?;
        Some(Place { pending: self, number })
    }

    /// A question that is answered by another request: what that has to show. None where too many wait.
    pub(super) fn seal(&self, principal: &Principal, question: &Digest, patience: Duration) -> Option<String> {
        let codec = self.codec.as_ref()?;
        let number = self.waiting().enter(principal, Some(*question), Instant::now() + patience)?;
        Some(codec.seal_with(&number.to_be_bytes(), &SealOptions::new().associated_data(SEALED).ttl(patience)))
    }

    /// Whether `state` was sealed for this question to this principal, waits still, and was not answered before.
    /// From now on it was.
    pub(super) fn open(&self, state: &str, principal: &Principal, question: &Digest) -> Opened {
        let Some(codec) = self.codec.as_ref().filter(|_| state.len() <= MAX_STATE) else { return Opened::Strange };
        let number = match codec.open_with(state, SEALED) {
            Ok(number) => number.try_into().ok().map(u64::from_be_bytes),
            Err(RequestStateError::Expired) => return Opened::Spent,
            Err(_) => return Opened::Strange,
        };
        let answers = number.is_some_and(|number| self.waiting().answer(number, principal, question));
        if answers { Opened::Yes } else { Opened::Spent }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn enter(&mut self, principal: &Principal, sealed: Option<Digest>, until: Instant) -> Option<u64> {
        let now = Instant::now();
        self.questions.retain(|_, waits| waits.until > now);
        let of = principal.in_buckets();
        let own = self.questions.values().filter(|waits| waits.of == of).count();
        if own >= MAX_PENDING_OF_ONE {
            self.drop_oldest(&of)?;
        } else if self.questions.len() >= MAX_PENDING {
            self.drop_oldest(&self.of_most()?)?;
        }
        let number = self.next;
        self.next += 1;
        self.questions.insert(number, Waits { of: of.into_owned(), sealed, until });
        Some(number)
    }

    /// Takes out the oldest question to one principal for which no call waits. None where there is none such.
    fn drop_oldest(&mut self, of: &str) -> Option<()> {
        let sealed = self.questions.iter().filter(|(_, waits)| waits.of == of && waits.sealed.is_some());
        let oldest = sealed.map(|(number, _)| *number).min()?;
        self.questions.remove(&oldest).map(drop)
    }

    /// Who has most questions, of those who have one for which no call waits.
    fn of_most(&self) -> Option<String> {
        let mut counts: HashMap<&str, (usize, bool)> = HashMap::new();
        for waits in self.questions.values() {
            let (count, sealed) = counts.entry(&waits.of).or_default();
            *count += 1;
            *sealed |= waits.sealed.is_some();
        }
        let most = counts.into_iter().filter(|(_, (_, sealed))| *sealed).max_by_key(|(_, (count, _))| *count);
        most.map(|(of, _)| of.to_owned())
    }

    /// Whether this question to this principal waits under a number. One that is answered waits no more.
    fn answer(&mut self, number: u64, principal: &Principal, question: &Digest) -> bool {
        let of = principal.in_buckets();
        let same = |waits: &Waits| waits.of == of && waits.sealed.as_ref() == Some(question);
        if !self.questions.get(&number).is_some_and(same) {
            return false;
        }
        self.questions.remove(&number).is_some_and(|waits| waits.until > Instant::now())
    }
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
        assert_eq!(pending.open(&state, &Principal::LocalOperator, &question), Opened::Spent, "another's");
        assert_eq!(pending.open(&state, &WHO, &Digest::of(b"ohce")), Opened::Spent, "another question's");
        assert_eq!(pending.open(&format!("{state}x"), &WHO, &question), Opened::Strange, "forged");
        assert_eq!(pending.open(&"x".repeat(MAX_STATE + 1), &WHO, &question), Opened::Strange, "long");
        assert_eq!(Pending::new().open(&state, &WHO, &question), Opened::Strange, "of another process");
        assert_eq!(pending.open(&state, &WHO, &question), Opened::Yes);
        assert_eq!(pending.open(&state, &WHO, &question), Opened::Spent, "used before");
    }

    #[test]
    fn an_answer_that_comes_late_is_none() {
        let (pending, question) = (Pending::new(), Digest::of(b"echo"));
        let state = pending.seal(&WHO, &question, Duration::ZERO).expect("a state");
        assert_eq!(pending.open(&state, &WHO, &question), Opened::Spent);
        // By the clock that never goes back alone, too.
        let number = pending.waiting().enter(&WHO, Some(question), Instant::now()).expect("a place");
        assert!(!pending.waiting().answer(number, &WHO, &question));
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
            let until = Instant::now() + LONG;
            waiting.questions.insert(number, Waits { of: format!("a{number}"), sealed: None, until });
        }
        waiting.questions.retain(|_, waits| waits.sealed.is_none());
        assert!(waiting.enter(&Principal::LocalOperator, None, Instant::now() + LONG).is_none(), "in all");
    }

    /// What is left unanswered locks nobody out: neither who left it, nor, where all is full, the others.
    #[test]
    fn a_question_that_nobody_answers_makes_room() {
        let (pending, question) = (Pending::new(), Digest::of(b"echo"));
        let waits = pending.wait(&WHO, LONG).expect("a place");
        let states: Vec<_> = (0..MAX_PENDING_OF_ONE).filter_map(|_| pending.seal(&WHO, &question, LONG)).collect();
        assert_eq!(states.len(), MAX_PENDING_OF_ONE, "one more than fits beside the one that waits");
        assert_eq!(pending.open(&states[0], &WHO, &question), Opened::Spent, "the oldest has gone");
        assert_eq!(pending.open(&states[1], &WHO, &question), Opened::Yes, "and no other");
        drop(waits);
        let mut waiting = pending.waiting();
        let until = Instant::now() + LONG;
        for number in 1000..1000 + MAX_PENDING as u64 {
            let of = if number % 2 == 0 { "many".into() } else { format!("a{number}") };
            waiting.questions.insert(number, Waits { of, sealed: Some(question), until });
        }
        let count = waiting.questions.len();
        assert!(waiting.enter(&Principal::LocalOperator, None, until).is_some());
        assert!(
            waiting.questions.len() == count && !waiting.questions.contains_key(&1000),
            "of who has most, the oldest"
        );
    }
}
