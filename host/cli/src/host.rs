//! The house put together: state directory, ledger, workshop, register, reception.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use portcullis_audit::{Event, Ledger};
use portcullis_catalogue::{Admission, Catalogue, PluginSpec, Purpose, StartError};
use portcullis_gateway::{
    Allowances, Clocks, Counter, Desk, Doorkeeper, Gateway, House, KeyFile, Misfit, OAuth, Reload, Resources,
    RouteTable, SharedContext,
};
use portcullis_policy::{SecretSource, Statutes};
use portcullis_runtime::{
    Runtime, RuntimeOptions, SecretError, StateDir, StateError, Surroundings, read_secret,
    worker::{WorkerCommand, WorkerLimits},
};
use portcullis_store::{Durability, EmbeddedOptions, OpenError, RedisOptions, Store, Warehouse};
use portcullis_trust::{Trust, TrustOptions};

use crate::{
    commands::operator,
    config::{BucketSpec, Config, StoreAt},
    harden::Reachable,
    render::{Fault, fault},
};

/// Where the state directory has what was approved: bytes, definitions, and the record of what this host has accepted.
pub(crate) const APPROVALS: &str = "trust";

/// How long the store's file may still be locked by a process that has lost the state directory already: the kernel gives the
/// locks of a process that dies up one after the other.
const DYING: Duration = Duration::from_secs(5);
/// Calls at one time where one person tries things out, without a configuration.
const ONE_PERSON: u32 = 16;
/// How often to look.
const DYING_LOOK: Duration = Duration::from_millis(5);

/// What of the machine grants open.
struct Around<'a> {
    /// Where relative directories begin.
    folder: &'a Path,
    /// A directory that is never granted, beside the state directory.
    never: Option<&'a Path>,
    reachable: Option<Reachable>,
    /// The store, where the command needs it.
    store: Option<(&'a StoreAt, &'a [BucketSpec])>,
    /// Whether clients are served: only they read shared context as resources.
    serves: bool,
    calls: Calls,
    /// Whose tokens open its doors.
    oauth: Option<OAuth>,
    /// How long persons have to say whether a call may run.
    patience: Duration,
}

/// How many calls there may be at one time.
struct Calls {
    computing: u32,
    waiting: u32,
}

/// The parts that commands use.
pub(crate) struct Host {
    pub(crate) state: StateDir,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) gateway: Arc<Gateway>,
}

/// When a command opens the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    /// In any case: a configuration that is read again may grant a bucket later.
    Always,
    /// Where a plugin is granted a bucket.
    WhereGranted,
    /// It calls nothing.
    Never,
}

impl Host {
    /// Puts the house of a configuration together; no plugin is in it yet. Whoever calls this for a configuration that shares
    /// in a file owns the state directory.
    pub(crate) fn open(config: &Config, command: &str) -> anyhow::Result<Self> {
        Self::of(config, command, Purpose::Calls, None, Opens::WhereGranted)
    }

    /// The same for a host that serves, in a process that confined itself, where it did, and can open these directories of
    /// grants and no others.
    pub(crate) fn serving(config: &Config, command: &str, reachable: Option<Reachable>) -> anyhow::Result<Self> {
        Self::of(config, command, Purpose::Calls, reachable, Opens::Always)
    }

    /// The same for a command that looks and compiles nothing.
    pub(crate) fn for_review(config: &Config, command: &str) -> anyhow::Result<Self> {
        Self::of(config, command, Purpose::Review, None, Opens::Never)
    }

    fn of(
        config: &Config,
        command: &str,
        purpose: Purpose,
        reachable: Option<Reachable>,
        opens: Opens,
    ) -> anyhow::Result<Self> {
        let folder = config.folder();
        let opened = match opens {
            Opens::Always => true,
            Opens::WhereGranted => config.shares(),
            Opens::Never => false,
        };
        let store = opened.then_some((&config.store, &*config.buckets));
        let calls = Calls { computing: config.max_concurrent_calls, waiting: config.max_waiting_calls };
        let serves = opens == Opens::Always;
        // Only a host with doors has a use for the issuer's keys.
        let oauth = config.oauth.clone().filter(|_| serves);
        let patience = config.confirm_timeout;
        let around = Around { folder, never: None, reachable, store, serves, calls, oauth, patience };
        let statutes = config.statutes.clone();
        Self::furnish(&config.state_dir, around, statutes, command, purpose, |state| {
            // A folder of its own: what happens in it is worth looking up, unlike each line of the audit log.
            let folder = state.subdirectory(APPROVALS).map_err(|error| state_fault(&error))?;
            let (lock, key) = (config.lock.clone(), state.key_for("accepted"));
            let options = TrustOptions { state: folder, lock, key, step: None };
            let trust = Trust::open(options).map_err(|error| fault(&error, error.hint()))?;
            Ok(Admission::Lock(Arc::new(trust)))
        })
    }

    /// Puts a house together that serves what this process has built, and needs no approval: on a state directory and a store of
    /// its own, for whoever is on this machine. Of a configuration, where there is one, it takes the folder in which relative
    /// directories begin, the buckets, and how many calls there may be. A host that `serves` has a store in any case.
    pub(crate) fn for_what_is_built(
        state_dir: &Path,
        config: Option<&Config>,
        command: &str,
        serves: bool,
    ) -> anyhow::Result<Self> {
        let embedded = StoreAt::Embedded(Durability::Always);
        let buckets = config.map_or(&[][..], |config| &config.buckets);
        let store = (serves || config.is_some_and(Config::shares)).then_some((&embedded, buckets));
        // Without a grant nothing waits.
        let calls = config.map_or(Calls { computing: ONE_PERSON, waiting: 0 }, |config| Calls {
            computing: config.max_concurrent_calls,
            waiting: config.max_waiting_calls,
        });
        let folder = config.map_or(Path::new(""), Config::folder);
        let never = config.map(|config| &*config.state_dir);
        let patience = config.map_or(Duration::ZERO, |config| config.confirm_timeout);
        let around = Around { folder, never, reachable: None, store, serves, calls, oauth: None, patience };
        let statutes = Statutes::default();
        Self::furnish(state_dir, around, statutes, command, Purpose::Calls, |_| Ok(Admission::Built))
    }

    fn furnish(
        state_dir: &Path,
        around: Around<'_>,
        statutes: Statutes,
        command: &str,
        purpose: Purpose,
        admission: impl FnOnce(&StateDir) -> anyhow::Result<Admission>,
    ) -> anyhow::Result<Self> {
        raise_descriptors();
        let state = StateDir::open(state_dir).map_err(|error| state_fault(&error))?;
        let (ledger, session) = records(&state, command)?;
        let Around { folder, never, reachable, store, serves, calls, oauth, patience } = around;
        let shared = store.map(|(at, buckets)| warehouse(&state, at, buckets)).transpose()?;
        let context = store.zip(shared.clone()).filter(|_| serves).map(|((_, buckets), warehouse)| SharedContext {
            warehouse,
            buckets: buckets.iter().map(|bucket| (bucket.pattern.clone(), bucket.resources)).collect(),
            key: state.key_for("cursors"),
        });
        let never = never.map(Path::to_owned).into_iter().chain([state.path().to_owned()]);
        let surroundings = Surroundings::of_this_machine(folder, never.collect());
        let surroundings = Surroundings { reachable, shared: shared.clone(), ..surroundings };
        let Calls { computing: max_concurrent_calls, waiting: max_waiting_calls } = calls;
        let options = RuntimeOptions { max_concurrent_calls, max_waiting_calls, worker: worker()?, surroundings };
        let runtime = Runtime::new(options, &state)?;
        let catalogue = Catalogue::new(Arc::new(runtime), Arc::clone(&ledger), admission(&state)?, purpose);
        state.subdirectory("keys").map_err(|error| state_fault(&error))?;
        let ring = key_file(&state).read().map_err(|error| fault(&error, error.hint()))?;
        let spent = state.subdirectory("agents").map_err(|error| state_fault(&error))?.join("fuel.json");
        let allowances = Allowances::open(spent, Clocks::of_this_machine());
        let allowances = allowances.map_err(|error| fault(&error, Some(error.hint())))?;
        let keeper = Doorkeeper::with_tokens(statutes, ring, oauth, Arc::clone(&ledger), SystemTime::now);
        let resources = context.and_then(|context| {
            Resources::new(context, Arc::clone(&ledger), Arc::clone(&keeper), tokio::runtime::Handle::current())
        });
        let gateway = Gateway::new(House {
            catalogue: Arc::clone(&catalogue),
            ledger: Arc::clone(&ledger),
            keeper,
            allowances,
            session,
            store: shared,
            resources,
            patience,
        });
        Ok(Self { state, ledger, catalogue, gateway })
    }

    /// Brings the plugins in. A fault of the configuration as a whole ends the command.
    pub(crate) async fn apply(&self, plugins: Vec<PluginSpec>) -> anyhow::Result<()> {
        self.catalogue.apply(plugins).await.map_err(|errors| start_fault(&errors))
    }

    /// Opens the routes of a configuration, and no others; says of each that leads nowhere why. `before` is what was said
    /// the last time, so that it is said once.
    pub(crate) fn open_routes(&self, routes: &Arc<RouteTable>, before: &mut Vec<Misfit>) {
        // The same table stays, with the descriptions that were made of it.
        if *self.gateway.routes() != **routes {
            self.gateway.replace_routes(Arc::clone(routes));
        }
        let misfits = routes.misfits(&self.catalogue.snapshot());
        for misfit in misfits.iter().filter(|misfit| !before.contains(misfit)) {
            tracing::warn!(hint = misfit.hint(), "{misfit}");
        }
        *before = misfits;
    }

    /// The desk for those who come to this host by its socket, and have to mean `identity`.
    pub(crate) fn desk(&self, identity: String, reload: Option<Reload>) -> Arc<Desk> {
        let counter = |store| Counter::new(store, Arc::clone(&self.ledger), operator().name);
        Desk::new(Arc::clone(&self.gateway), self.gateway.store().cloned().map(counter), identity, reload)
    }

    /// Ends in good order.
    pub(crate) fn close(&self) {
        if let Err(error) = self.ledger.append(&Event::HostStopped) {
            tracing::error!(%error, "the end is not in the audit log");
        }
    }
}

/// Opens the audit log for a command, and gives its session a name.
pub(crate) fn records(state: &StateDir, command: &str) -> anyhow::Result<(Arc<Ledger>, String)> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let session = format!("{since:x}-{:x}", std::process::id());
    let ledger = Ledger::open(&state.join("audit.jsonl"), session.clone(), &state.key_for("audit"), SystemTime::now)
        .map_err(|error| fault(&error, None))?;
    let started = Event::HostStarted { version: env!("CARGO_PKG_VERSION"), command, pid: std::process::id() };
    ledger.append(&started).map_err(|error| fault(&error, None))?;
    Ok((Arc::new(ledger), session))
}

/// Opens the store, with the buckets as they are configured. Of a file this process is the owner.
pub(crate) fn warehouse(state: &StateDir, at: &StoreAt, buckets: &[BucketSpec]) -> anyhow::Result<Arc<Warehouse>> {
    let store = match at {
        StoreAt::Embedded(durability) => {
            let folder = state.subdirectory("store").map_err(|error| state_fault(&error))?;
            let options = embedded(&folder, *durability, false);
            let until = Instant::now() + DYING;
            loop {
                match Store::embedded(options.clone()) {
                    // Whoever owned the state directory before may not be quite dead.
                    Err(OpenError::InUse(_)) if Instant::now() < until => std::thread::sleep(DYING_LOOK),
                    opened => break opened.map_err(|error| fault(&error, error.hint()))?,
                }
            }
        }
        StoreAt::Redis { url, user, password } => {
            let password = match password {
                Some(source) => Some(redis_password(source)?),
                None => None,
            };
            let (url, user) = (url.expose().clone(), user.clone());
            Store::redis(RedisOptions { url, user, password, clock: None }).map_err(|error| fault(&error, None))?
        }
    };
    let limits = buckets.iter().map(|bucket| (bucket.pattern.clone(), bucket.limits));
    Ok(Arc::new(Warehouse::new(store, limits)))
}

/// The file of the store in its folder.
pub(crate) fn embedded(folder: &Path, durability: Durability, check: bool) -> EmbeddedOptions {
    EmbeddedOptions { path: folder.join("shared.redb"), durability, clock: Arc::new(SystemTime::now), check }
}

fn redis_password(source: &SecretSource) -> anyhow::Result<String> {
    let no_text = || SecretError { reason: "it is no text".into(), hint: "give it a value in one line of text".into() };
    let read = read_secret(source).and_then(|secret| String::from_utf8(secret.expose().clone()).map_err(|_| no_text()));
    read.map_err(|error| Fault::error(format!("The password of the store cannot be had: {error}"), Some(error.hint)))
}

/// The file of the keys in a state directory.
pub(crate) fn key_file(state: &StateDir) -> KeyFile {
    // In a folder of its own, as what was approved: what happens in it is worth looking up.
    KeyFile::new(state.join("keys").join("keys.json"))
}

/// All that is wrong with a configuration, with the mend of the first.
pub(crate) fn start_fault(errors: &[StartError]) -> anyhow::Error {
    Fault::of_lines(several(errors.iter().map(ToString::to_string)), errors.first().map(StartError::hint))
}

/// Faults of which each but the first stands on a line below.
pub(crate) fn several(faults: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    faults.enumerate().map(|(at, fault)| if at == 0 { fault } else { format!("and: {fault}") })
}

pub(crate) fn state_fault(error: &StateError) -> anyhow::Error {
    fault(error, error.hint())
}

/// This program as a child.
fn worker() -> anyhow::Result<WorkerCommand> {
    // The file that runs, even where another has taken its place on the disk.
    let running = Path::new("/proc/self/exe");
    let program = if running.exists() { running.to_owned() } else { std::env::current_exe()? };
    Ok(WorkerCommand { program, arguments: vec!["worker".into()], limits: WorkerLimits::default() })
}

/// Connections and sandboxes need descriptors; the soft limit of many systems is 1024.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
