//! One call: a slot, a fresh sandbox, the function, its answer.

use std::{sync::Arc, time::Instant};

use portcullis_audit::{CallNotes, Used};
use portcullis_policy::Permit;
use serde_json::{Map, Value};
use tokio::{sync::mpsc, time::timeout_at};
use wasmtime::component::Val;

use crate::{
    capability::{
        call::{Ctx, Progress},
        kv,
    },
    error::CallError,
    plugin::{Loaded, Plugin},
    runtime::Runtime,
    sandbox::{CallLog, LogLine, Sandbox},
    seat::{Busy, Seat},
    wit::{self, EncodeError, GuestError},
};

/// One call, ready to run.
#[derive(Debug)]
pub struct CallRequest {
    /// The proof that it was allowed.
    pub permit: Permit,
    /// Position of the function in the description.
    pub function: usize,
    /// The arguments, by name.
    pub arguments: Map<String, Value>,
    /// Its name in the operator's records.
    pub id: String,
    /// Where refusals are recorded.
    pub notes: CallNotes,
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

/// The answer, and the fuel that was used, where that is known.
type Ran = (Result<Reply, CallError>, Option<u64>);

impl CallEnd {
    /// What the guest printed, line by line, and how many bytes were dropped past the bound.
    pub fn log(&self) -> (Vec<LogLine>, u64) {
        self.log.lines()
    }
}

impl Plugin {
    /// Runs one call in a fresh sandbox. Dropping the future stops the guest.
    pub async fn call(&self, request: CallRequest) -> CallEnd {
        let received = request.received;
        let log = Arc::new(CallLog::default());
        let (result, fuel) = self.within_deadline(request, Arc::clone(&log)).await;
        let micros = u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX);
        CallEnd { result, used: Used { micros, fuel, memory: log.used_memory() }, log }
    }

    /// Whether the arguments fit the function at this position. Nothing runs, and no slot is held: what decoding takes is
    /// many times their JSON, so whoever asks bounds that.
    ///
    /// # Errors
    /// When one is missing, unknown or not of its type, or there is no such function.
    pub fn takes(&self, function: usize, arguments: &Map<String, Value>) -> Result<(), CallError> {
        let Some((function, _)) = self.loaded.function(function) else {
            return Err(CallError::Host(format!("function {function} is not there")));
        };
        wit::decode_arguments(&self.loaded.description.types, function, arguments)?;
        Ok(())
    }

    /// Waits for the slots, then runs, both within the deadline.
    async fn within_deadline(&self, request: CallRequest, log: Arc<CallLog>) -> Ran {
        let received = request.received;
        let limit = request.permit.limits().deadline;
        let deadline = tokio::time::Instant::from_std(received + limit);
        let seat = match self.runtime.slots.seat(&self.loaded.slots, deadline).await {
            Ok(seat) => seat,
            Err(Busy(scope)) => return (Err(CallError::Busy { waited: received.elapsed(), scope }), Some(0)),
        };
        let Some((_, export)) = self.loaded.function(request.function) else {
            return (Err(CallError::Host(format!("function {} is not there", request.function))), Some(0));
        };
        let (runtime, loaded) = (Arc::clone(&self.runtime), Arc::clone(&self.loaded));
        let running = Running { runtime, loaded, log, seat };
        match timeout_at(deadline, self.runtime.background.run(&export.pace, running.run(request))).await {
            Ok(Ok(ran)) => ran,
            Ok(Err(error)) => (Err(CallError::Host(error.to_string())), None),
            Err(_) => (Err(CallError::Deadline { limit }), None),
        }
    }
}

/// A call with its seat, whose slots come free when the sandbox is gone, however the call ends.
struct Running {
    runtime: Arc<Runtime>,
    loaded: Arc<Loaded>,
    log: Arc<CallLog>,
    seat: Arc<Seat>,
}

impl Running {
    async fn run(self, request: CallRequest) -> Ran {
        let CallRequest { permit, function, arguments, id, notes, reports, received } = request;
        let Some((function, export)) = self.loaded.function(function) else {
            return (Err(CallError::Host(format!("function {function} is not there"))), Some(0));
        };
        let types = &self.loaded.description.types;
        // With a slot in hand: decoded values take many times the memory of their JSON.
        let params = match wit::decode_arguments(types, function, &arguments) {
            Ok(params) => params,
            Err(error) => return (Err(error.into()), Some(0)),
        };
        drop(arguments);
        let limits = permit.limits();
        let principal = permit.principal().clone();
        let deadline = received + limits.deadline;
        let seat = Arc::clone(&self.seat);
        let kv = kv::Ctx::new(self.loaded.granted.shared.clone(), &principal, deadline, limits.deadline, seat, &notes);
        let ctx = Ctx { id, principal, deadline, reports, last: f64::NEG_INFINITY };
        let granted = &self.loaded.granted;
        let mut store = match Sandbox::store(&self.runtime.engine, limits, &self.log, ctx, kv, granted, notes) {
            Ok(store) => store,
            Err(error) => return (Err(CallError::Host(format!("{error:#}"))), None),
        };
        let mut results = vec![Val::Bool(false); usize::from(function.result.is_some())];
        let ran: wasmtime::Result<()> = async {
            let instance = self.loaded.instance.instantiate_async(&mut store).await?;
            let function = instance.get_func(&mut store, export.index);
            let function = function.ok_or_else(|| wasmtime::format_err!("the export is not there"))?;
            function.call_async(&mut store, &params, &mut results).await
        }
        .await;
        let left = store.get_fuel().unwrap_or(0);
        let fuel = limits.fuel.unwrap_or(u64::MAX).saturating_sub(left);
        let result = match ran {
            Err(error) => Err(CallError::classify(&error, store.data(), limits.fuel, limits.output)),
            Ok(()) => match wit::encode_result(types, function, &mut results, limits.output) {
                Ok(Ok(object)) => Ok(Reply::Structured(object)),
                Ok(Err(error)) => Ok(Reply::ToolError(error)),
                Err(EncodeError::OutputTooLarge { limit }) => Err(CallError::OutputTooLarge { limit }),
                Err(error @ EncodeError::Mismatch { .. }) => Err(CallError::Host(error.to_string())),
            },
        };
        (result, Some(fuel))
    }
}
