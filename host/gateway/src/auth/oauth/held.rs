//! The issuer's keys as this host holds them: fetched in the background and when a token names another, or read from a
//! file when that changes.

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    fetch,
    key_set::{KeySet, KeySetError, MAX_SET},
    settings::OAuth,
};

/// How often the keys are fetched. A key that the issuer takes back is good here for so long at most.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// How long keys are good while the issuer cannot be reached: a night, and the morning after it.
pub(super) const KEYS_LAST: Duration = Duration::from_secs(24 * 3600);
/// The first pause after a fetch that failed; doubled each time, up to [`REFRESH`].
const RETRY: Duration = Duration::from_secs(2);
/// Fetches for keys that nobody knows: so many at once, and one more in each [`ONE_MORE`]. Anybody can ask for one.
const AT_ONCE: u32 = 5;
const ONE_MORE: Duration = Duration::from_secs(30);
/// How long a client may wait for a fetch.
const WAIT: Duration = Duration::from_secs(11);
/// Clients that wait at one time; others are told at once that they may not come in.
const MAX_WAITING: usize = 64;

/// The keys, and from when.
#[derive(Default)]
struct Found {
    keys: KeySet,
    at: Option<SystemTime>,
}

/// The issuer's keys.
pub(super) struct Held {
    settings: OAuth,
    clock: fn() -> SystemTime,
    found: ArcSwap<Found>,
    budget: Mutex<Budget>,
    wake: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
    waiting: AtomicUsize,
    /// Told when a key may have gone.
    changed: watch::Sender<()>,
}

/// What anybody may still cause.
struct Budget {
    left: u32,
    since: SystemTime,
    /// A fetch that is under way or about to begin.
    under_way: bool,
}

impl Budget {
    fn take(&mut self, now: SystemTime) -> bool {
        let more = now.duration_since(self.since).map_or(0, |since| since.as_secs() / ONE_MORE.as_secs());
        if more > 0 {
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(AT_ONCE);
            self.since = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

/// A file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("could not read it: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

impl Held {
    /// None yet. With an issuer they are fetched from now on, by a task of the runtime that this runs on.
    pub(super) fn new(settings: OAuth, clock: fn() -> SystemTime, changed: watch::Sender<()>) -> Arc<Self> {
        let fetches = settings.jwks.is_none();
        let held = Arc::new(Self {
            settings,
            clock,
            found: ArcSwap::default(),
            budget: Mutex::new(Budget { left: AT_ONCE, since: clock(), under_way: fetches }),
            wake: Notify::new(),
            ended: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            changed,
        });
        if fetches {
            tokio::spawn(keep(Arc::clone(&held)));
        }
        held
    }

    /// Reads the file, where the keys come from one. One that cannot be used leaves no keys: which of those before are
    /// still good is not known.
    pub(super) fn read_file(&self) {
        let Some(path) = &self.settings.jwks else { return };
        match read(path) {
            Ok(keys) => self.put(keys),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "no token opens until the issuer's keys can be read");
                self.put(KeySet::default());
            }
        }
    }

    fn put(&self, keys: KeySet) {
        self.found.store(Arc::new(Found { keys, at: Some((self.clock)()) }));
        self.changed.send_replace(());
    }

    /// Does something with the keys; none, where they are too old to be trusted.
    pub(super) fn with<T>(&self, look: impl FnOnce(&KeySet) -> Option<T>) -> Option<T> {
        let found = self.found.load();
        let lasts = self.settings.jwks.is_some() || found.at.is_some_and(|at| self.age(at) <= KEYS_LAST);
        lasts.then(|| look(&found.keys)).flatten()
    }

    fn age(&self, at: SystemTime) -> Duration {
        (self.clock)().duration_since(at).unwrap_or_default()
    }

    /// Waits for the keys to be fetched once more, because of a token with a key that is none of them. Whether they
    /// were: only so many tokens are worth it.
    pub(super) async fn again(&self) -> bool {
        if self.settings.jwks.is_some() {
            return false;
        }
        let mut ended = self.ended.subscribe();
        {
            let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            if !budget.under_way {
                if !budget.take((self.clock)()) {
                    return false;
                }
                budget.under_way = true;
                self.wake.notify_one();
            }
        }
        let Some(_place) = Place::take(&self.waiting) else { return false };
        timeout(WAIT, ended.changed()).await.is_ok_and(|ended| ended.is_ok())
    }

    /// Fetches them. Whether that went well.
    async fn fetch(&self) -> bool {
        let fetched = fetch::keys(&self.settings).await;
        let fine = fetched.is_ok();
        match fetched {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the issuer's keys were fetched");
                self.put(keys);
            }
            Err(error) => {
                let issuer = &self.settings.issuer;
                match self.found.load().at {
                    Some(at) => tracing::warn!(
                        %error, issuer,
                        "the issuer's keys could not be fetched; those from {} minutes ago are good for {} hours in all",
                        self.age(at).as_secs() / 60, KEYS_LAST.as_secs() / 3600
                    ),
                    None => tracing::error!(%error, issuer, "no token opens until the issuer's keys can be fetched"),
                }
            }
        }
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).under_way = false;
        self.ended.send_modify(|count| *count += 1);
        fine
    }
}

/// Fetches again and again. Ends with the runtime.
async fn keep(held: Arc<Held>) {
    let mut retry = RETRY;
    loop {
        let pause = if held.fetch().await {
            retry = RETRY;
            REFRESH
        } else {
            let failed = retry;
            retry = (retry * 2).min(REFRESH);
            failed
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = held.wake.notified() => {}
        }
    }
}

/// The keys in a file.
pub(super) fn read(path: &Path) -> Result<KeySet, FileError> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_SET as u64 + 1).read_to_end(&mut text)?;
    Ok(KeySet::parse(&text)?)
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            return Some(Self(waiting));
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn anybody_causes_so_many_fetches() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut budget = Budget { left: AT_ONCE, since: at(0), under_way: false };
        let taken = |budget: &mut Budget, now| (0..100).filter(|_| budget.take(now)).count();
        assert_eq!(taken(&mut budget, at(1)), 5);
        assert_eq!(taken(&mut budget, at(29)), 0);
        assert_eq!(taken(&mut budget, at(30)), 1);
        assert_eq!(taken(&mut budget, at(59)), 0);
        assert_eq!(taken(&mut budget, at(3600)), 5);
        assert_eq!(taken(&mut budget, at(0)), 0, "a clock that goes back gives nothing");
    }

    fn early() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    /// The issuer may be away for a day, and no longer.
    #[test]
    fn keys_of_an_issuer_get_old() {
        let settings = |jwks| {
            let (issuer, audience) = ("https://id.example".into(), "https://tools.example/mcp".into());
            OAuth::new(issuer, audience, "role".into(), Vec::new(), jwks).expect("settings")
        };
        let of = |settings: OAuth, age: Duration| {
            let found = Found { keys: KeySet::default(), at: Some(early() - age) };
            let budget = Mutex::new(Budget { left: 0, since: early(), under_way: false });
            let held = Held {
                settings,
                clock: early,
                found: ArcSwap::from_pointee(found),
                budget,
                wake: Notify::new(),
                ended: watch::Sender::new(0),
                waiting: AtomicUsize::new(0),
                changed: watch::Sender::new(()),
            };
            held.with(|_| Some(())).is_some()
        };
        assert!(of(settings(None), KEYS_LAST));
        assert!(!of(settings(None), KEYS_LAST + Duration::from_secs(1)));
        assert!(of(settings(Some("keys.json".into())), KEYS_LAST * 2), "a file is the operator's to change");
    }
}
