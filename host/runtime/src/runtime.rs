//! The workshop as a whole: the engine, the linker, the cache, the children and the slots for calls.

use std::{
    hash::{Hash, Hasher},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use portcullis_policy::Digest;
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Linker};

use crate::{
    cache::{Cache, Kind, Verified},
    capability::Surroundings,
    component::{Description, MAPPING_VERSION, MAX_COMPONENT},
    engine,
    quantum::Background,
    sandbox::{self, Sandbox},
    seat::Slots,
    state::{StateDir, StateError},
    worker::{Job, Worker, WorkerCommand, WorkerError},
};

/// A component's bytes, read once. What is hashed is what is decoded, compiled and run.
#[derive(Clone, Debug)]
pub struct Component {
    digest: Digest,
    bytes: Arc<[u8]>,
}

impl Component {
    /// Takes `bytes` and hashes them.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::of(&bytes), bytes }
    }

    /// Reads the file at `path`, once.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, or is larger than [`MAX_COMPONENT`].
    pub fn read(path: &Path) -> io::Result<Self> {
        // Not to wait for the writer of a FIFO.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), nonblock);
        let file = options.open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        // Not to hold twice as much while it grows.
        let size = usize::try_from(metadata.len()).unwrap_or(MAX_COMPONENT).min(MAX_COMPONENT);
        let mut bytes = Vec::with_capacity(size + 1);
        file.take(MAX_COMPONENT as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > MAX_COMPONENT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 256 MiB"));
        }
        Ok(Self::new(bytes))
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes, for keeping.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// How to set the workshop up.
#[derive(Debug)]
pub struct RuntimeOptions {
    /// Calls that compute at one time.
    pub max_concurrent_calls: u32,
    /// Calls that wait in the host at one time, for a change of shared context. The pool of sandboxes has one for each of
    /// both kinds.
    pub max_waiting_calls: u32,
    /// How to start a child process for decoding and compiling.
    pub worker: WorkerCommand,
    /// What of the machine grants can open.
    pub surroundings: Surroundings,
}

/// The workshop could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine cannot run on this machine.
    #[error("the WebAssembly engine could not start")]
    Engine(#[source] wasmtime::Error),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The threads for long calls could not start.
    #[error("the threads for long calls could not start")]
    Threads(#[source] io::Error),
}

/// A component could not be decoded or compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The child said no, or ended at a limit.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The child's answer makes no sense.
    #[error("the decoder's answer could not be read: {0}")]
    Answer(String),
}

/// The workshop.
pub struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Sandbox>,
    pub(crate) background: Background,
    pub(crate) slots: Arc<Slots>,
    pub(crate) surroundings: Surroundings,
    cache: Cache,
    worker: Worker,
    /// What names native code in the cache: the engine's compatibility hash, since `deserialize` itself compares only
    /// the major version.
    engine_hash: String,
}

impl Runtime {
    /// Sets the workshop up. No guest code runs, and nothing is compiled.
    ///
    /// # Errors
    /// When the engine, its threads or the state directory cannot be had.
    pub fn new(options: RuntimeOptions, state: &StateDir) -> Result<Self, RuntimeError> {
        let calls = options.max_concurrent_calls;
        let engine = engine::pooled(calls.saturating_add(options.max_waiting_calls)).map_err(RuntimeError::Engine)?;
        let linker = sandbox::linker(&engine).map_err(RuntimeError::Engine)?;
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine_hash = Digest::of(&hasher.0.finalize()).short();
        Ok(Self {
            engine,
            linker,
            background: Background::start().map_err(RuntimeError::Threads)?,
            slots: Arc::new(Slots::new(calls, options.max_waiting_calls)),
            surroundings: options.surroundings,
            cache: Cache::open(state)?,
            worker: Worker::new(options.worker),
            engine_hash,
        })
    }

    /// What `component` says of itself, decoded in a confined child and kept by digest. Nothing is compiled or run.
    ///
    /// # Errors
    /// When it is no component, or the child ends at a limit.
    pub async fn describe(&self, component: &Component) -> Result<Description, PrepareError> {
        let variant = format!("{}-{MAPPING_VERSION}", env!("CARGO_PKG_VERSION"));
        let kept = self.cache.read(Kind::Description, component.digest, &variant);
        if let Some(description) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(description);
        }
        let answer = self.worker.run(Job::Describe, &component.bytes).await?;
        let description = serde_json::from_slice(&answer).map_err(|error| PrepareError::Answer(error.to_string()))?;
        if let Err(error) = self.cache.put(Kind::Description, component.digest, &variant, &answer) {
            tracing::warn!(%error, "a description could not be kept; it is made again at the next start");
        }
        Ok(description)
    }

    /// Native code of `component`: from the cache, or made in a confined child and kept.
    pub(crate) async fn native(&self, component: &Component) -> Result<Verified, PrepareError> {
        let get = || self.cache.get(Kind::Native, component.digest, &self.engine_hash);
        // MAC and mapping take milliseconds for large components: not on a thread that serves.
        if let Some(verified) = tokio::task::block_in_place(get) {
            return Ok(verified);
        }
        let code = self.worker.run(Job::Compile, &component.bytes).await?;
        self.cache
            .put(Kind::Native, component.digest, &self.engine_hash, &code)
            .map_err(|error| PrepareError::Answer(error.to_string()))?;
        get().ok_or_else(|| PrepareError::Answer("native code did not stay in the cache".into()))
    }

    /// Whether native code of `component` is in the cache, so that loading it takes milliseconds.
    pub fn is_compiled(&self, component: &Component) -> bool {
        self.cache.get(Kind::Native, component.digest, &self.engine_hash).is_some()
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// SHA-256 as a `Hasher`: the standard library's own is not the same from one program to the next.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
