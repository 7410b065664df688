//! A component held ready, and the run of one call of it.

use std::{sync::Arc, time::Instant};

use portcullis_audit::Used;
use portcullis_policy::{Digest, Limits, Permit};
use serde_json::{Map, Value};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout_at,
};
use wasmtime::component::{ComponentExportIndex, InstancePre, Val};

use crate::{
    capability::{self, call::Progress},
    component::Description,
    error::CallError,
    native,
    runtime::{Component, PrepareError, Runtime},
    sandbox::{CallLog, LogLine, Sandbox},
    wit::{self, EncodeError, GuestError},
};

/// A component, compiled, linked and checked: each call of it starts from here.
#[derive(Clone)]
pub struct Plugin {
    runtime: Arc<Runtime>,
    loaded: Arc<Loaded>,
}

struct Loaded {
    digest: Digest,
    description: Arc<Description>,
    /// By position in the description; none for a function that is no tool.
    exports: Vec<Option<ComponentExportIndex>>,
    instance: InstancePre<Sandbox>,
    slots: Arc<Semaphore>,
}

/// A component could not be made ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It could not be compiled.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It imports what the host does not have.
    #[error("it imports what this host does not have: {}", imports.join(", "))]
    UnknownImports {
        /// The imports.
        imports: Vec<String>,
    },
    /// It states needs that nothing grants.
    #[error("it needs what is not granted: {}", needs.join(", "))]
    Needs {
        /// The needs, each as its author wrote it.
        needs: Vec<String>,
    },
    /// What was decoded is not what was compiled.
    #[error("its types are not what they were decoded as: {0}")]
    Mismatch(String),
    /// It does not link or fit into a sandbox.
    #[error("it does not fit into a sandbox: {0}")]
    Link(String),
}

/// One call, ready to run.
pub struct CallRequest {
    /// The proof that it was allowed.
    pub permit: Permit,
    /// Position of the function in the description.
    pub function: usize,
    /// The arguments, by name.
    pub arguments: Map<String, Value>,
    /// Its name in the operator's records.
    pub id: String,
    /// Where reports of progress go, where the client asked for them.
    pub reports: Option<mpsc::Sender<Progress>>,
    /// When it came in: the deadline counts from here.
    pub received: Instant,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallEnd {
    /// The answer, or why there is none.
    pub result: Result<Reply, CallError>,
    /// What it used.
    pub used: Used,
    log: Arc<CallLog>,
}

/// What a tool answered.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// The result, in the form that the output schema promises.
    Structured(Map<String, Value>),
    /// The `err` of its result.
    ToolError(GuestError),
}

impl CallEnd {
    /// What the guest printed, line by line, and how many bytes were dropped past the bound.
    pub fn log(&self) -> (Vec<LogLine>, u64) {
        self.log.lines()
    }
}

impl Plugin {
    /// Makes `component` ready, as `description` describes it; at most `concurrency` calls of it compute at one time.
    ///
    /// # Errors
    /// When it imports or needs what it cannot get, does not compile, or is not what was decoded.
    pub async fn load(
        runtime: &Arc<Runtime>,
        component: &Component,
        description: Arc<Description>,
        concurrency: u32,
    ) -> Result<Self, LoadError> {
        capability::check(&description)?;
        let native = runtime.native(component).await?;
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let code = tokio::task::block_in_place(|| native::load(&runtime.engine, &native)).map_err(link)?;
        wit::check(&description, &code, &runtime.engine).map_err(|error| LoadError::Mismatch(error.to_string()))?;
        let instance = runtime.linker.instantiate_pre(&code).map_err(link)?;
        let exports = (0..description.functions.len())
            .map(|function| wit::export_index(&description, function, &code))
            .collect();
        let digest = component.digest();
        let slots = Arc::new(Semaphore::new(concurrency as usize));
        let loaded = Loaded {
            digest,
            description,
            exports,
            instance,
            slots,
        };
        Ok(Self {
            runtime: Arc::clone(runtime),
            loaded: Arc::new(loaded),
        })
    }

    /// The digest of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.loaded.digest
    }

    /// Runs one call in a fresh sandbox. Dropping the future stops the guest.
    pub async fn call(&self, request: CallRequest) -> CallEnd {
        let CallRequest {
            permit,
            function,
            arguments,
            id,
            reports,
            received,
        } = request;
        let log = Arc::new(CallLog::default());
        let limits = permit.limits().clone();
        let deadline = received + limits.deadline;
        let (result, fuel) = match self.decode(function, &arguments) {
            Err(error) => (Err(error), Some(0)),
            Ok((export, params)) => {
                let principal = permit.principal().clone();
                let ctx = capability::call::Ctx {
                    id,
                    principal,
                    deadline,
                    reports,
                    last: f64::NEG_INFINITY,
                };
                self.bounded(
                    Job {
                        function,
                        export,
                        params,
                        ctx,
                        limits,
                        log: Arc::clone(&log),
                    },
                    received,
                )
                .await
            }
        };
        let micros = u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX);
        CallEnd {
            result,
            used: Used {
                micros,
                fuel,
                memory: log.used_memory(),
            },
            log,
        }
    }

    fn decode(
        &self,
        function: usize,
        arguments: &Map<String, Value>,
    ) -> Result<(ComponentExportIndex, Vec<Val>), CallError> {
        let Loaded {
            description, exports, ..
        } = &*self.loaded;
        let (Some(described), Some(Some(export))) = (description.functions.get(function), exports.get(function)) else {
            return Err(CallError::Host(format!("function {function} is not there")));
        };
        Ok((
            *export,
            wit::decode_arguments(&description.types, described, arguments)?,
        ))
    }

    /// Waits for a slot, then runs, both within the deadline.
    async fn bounded(&self, job: Job, received: Instant) -> Ran {
        let limit = job.limits.deadline;
        let deadline = tokio::time::Instant::from_std(received + limit);
        let busy = |scope| (Err(CallError::Busy { waited: received.elapsed(), scope }), Some(0));
        // The plugin's own first, so that calls waiting for it take nothing from others.
        let Some(own) = self.runtime.slot(&self.loaded.slots, deadline).await else {
            return busy("limit `concurrency` of the plugin");
        };
        let Some(any) = self.runtime.slot(&self.runtime.slots, deadline).await else {
            return busy("`max-concurrent-calls` of the host");
        };
        let (runtime, loaded) = (Arc::clone(&self.runtime), Arc::clone(&self.loaded));
        let running = Running { runtime, loaded, _slots: [own, any] };
        match timeout_at(deadline, self.runtime.background.run(running.run(job))).await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => (Err(CallError::Host(error.to_string())), None),
            Err(_) => (Err(CallError::Deadline { limit }), None),
        }
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("digest", &self.loaded.digest)
            .finish_non_exhaustive()
    }
}

/// The answer of a call, and the fuel that it used, where that is known.
type Ran = (Result<Reply, CallError>, Option<u64>);

/// What a sandbox is made for.
struct Job {
    function: usize,
    export: ComponentExportIndex,
    params: Vec<Val>,
    ctx: capability::call::Ctx,
    limits: Limits,
    log: Arc<CallLog>,
}

/// A call with its slots. They come free when the sandbox is gone, however the call ends.
struct Running {
    runtime: Arc<Runtime>,
    loaded: Arc<Loaded>,
    _slots: [OwnedSemaphorePermit; 2],
}

impl Running {
    async fn run(self, job: Job) -> Ran {
        let Job {
            function,
            export,
            params,
            ctx,
            limits,
            log,
        } = job;
        let mut store = match Sandbox::store(&self.runtime.engine, &limits, &log, ctx) {
            Ok(store) => store,
            Err(error) => return (Err(CallError::Host(format!("{error:#}"))), None),
        };
        let Some(described) = self.loaded.description.functions.get(function) else {
            return (Err(CallError::Host(format!("function {function} is not there"))), None);
        };
        let mut results = vec![Val::Bool(false); usize::from(described.result.is_some())];
        let ran = async {
            let instance = self.loaded.instance.instantiate_async(&mut store).await?;
            let function = instance.get_func(&mut store, export);
            let function = function.ok_or_else(|| wasmtime::format_err!("the export is not there"))?;
            function.call_async(&mut store, &params, &mut results).await
        };
        let ran: wasmtime::Result<()> = ran.await;
        let left = store.get_fuel().unwrap_or(0);
        let fuel = limits.fuel.unwrap_or(u64::MAX).saturating_sub(left);
        let result = match ran {
            Err(error) => Err(CallError::classify(&error, store.data(), limits.fuel, limits.output)),
            Ok(()) => {
                let types = &self.loaded.description.types;
                match wit::encode_result(types, described, &mut results, limits.output) {
                    Ok(Ok(object)) => Ok(Reply::Structured(object)),
                    Ok(Err(error)) => Ok(Reply::ToolError(error)),
                    Err(EncodeError::OutputTooLarge { limit }) => Err(CallError::OutputTooLarge { limit }),
                    Err(error @ EncodeError::Mismatch { .. }) => Err(CallError::Host(error.to_string())),
                }
            }
        };
        (result, Some(fuel))
    }
}
