//! What a call lives in: the state of its store. Made for the call, and dropped with it.

mod http;
mod limiter;
mod log;
mod turns;

use std::{sync::Arc, time::Instant};

use portcullis_policy::Limits;
use wasmtime::{
    Store,
    component::{HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub use self::log::LogLine;
pub(crate) use self::{
    limiter::{Exhausted, Limiter},
    log::{CallLog, LogFlood},
};
use crate::{
    bindings, capability, engine,
    sandbox::{http::NoRequests, turns::Turns},
};

/// Entries of the table of host resources that a guest may hold at one time: streams, pollables, descriptors.
const MAX_RESOURCES: usize = 10_000;
/// Handles that the components of a call may hold at one time.
const MAX_HANDLES: usize = 10_000;
/// Random bytes that one request may ask for.
const MAX_RANDOM: u64 = 1 << 20;
/// Bytes of one HTTP header field that a guest may make, name and value.
const MAX_HTTP_FIELD: usize = 16 << 10;
/// Bytes that one call of the host may carry out of a guest, where the output's limit does not ask for more.
const MIN_HOST_CALL_BYTES: usize = 4 << 20;
/// Bytes of host memory for each byte of JSON that a result may have: a value of wasmtime's takes 32, and the shortest
/// JSON of one is a digit and a comma.
const HOST_BYTES_PER_OUTPUT_BYTE: usize = 32;

/// The state of a call's store.
pub(crate) struct Sandbox {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    requests: NoRequests,
    table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) call: capability::call::Ctx,
    /// When the guest's turn on its thread began.
    turn: Instant,
}

impl Sandbox {
    /// A store for one call within `limits`: no argument, no variable, no file, no network; standard input closed,
    /// standard output and error into `log`.
    pub(crate) fn store(
        engine: &wasmtime::Engine,
        limits: &Limits,
        log: &Arc<CallLog>,
        call: capability::call::Ctx,
    ) -> wasmtime::Result<Store<Self>> {
        let wasi = WasiCtx::builder()
            .stdout(log.stdout())
            .stderr(log.stderr())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM)
            .build();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_HTTP_FIELD);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let limiter = Limiter::new(limits.memory, Arc::clone(log));
        let turn = Instant::now();
        let mut store = Store::new(engine, Self { wasi, http, requests: NoRequests, table, limiter, call, turn });
        store.limiter(|sandbox| &mut sandbox.limiter);
        store.call_hook_async(Turns);
        // Armed before instantiation: start functions and `realloc` run guest code too.
        store.set_fuel(limits.fuel.unwrap_or(u64::MAX))?;
        store.fuel_async_yield_interval(Some(engine::YIELD_EVERY))?;
        store.set_max_component_handles(MAX_HANDLES);
        let output = usize::try_from(limits.output).unwrap_or(usize::MAX);
        store.set_hostcall_fuel(output.saturating_mul(HOST_BYTES_PER_OUTPUT_BYTE).max(MIN_HOST_CALL_BYTES));
        Ok(store)
    }
}

/// All that a component can import. WASI links for everyone, inert without a grant: language runtimes import what their
/// programs never use.
///
/// # Errors
/// When two definitions clash, which no input can cause.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker: Linker<Sandbox> = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    bindings::portcullis::host::call::add_to_linker::<_, HasSelf<capability::call::Ctx>>(&mut linker, |sandbox| {
        &mut sandbox.call
    })?;
    Ok(linker)
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.requests, table: &mut self.table, ctx: &mut self.http }
    }
}
