//! What a call lives in: the state of its store. Made for the call, and dropped with it.

mod limiter;
mod log;
mod reasons;
mod turns;

use std::{sync::Arc, time::Instant};

use portcullis_audit::CallNotes;
use portcullis_policy::Limits;
use wasmtime::{
    Store,
    component::{HasData, HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    cli::{WasiCli, WasiCliView as _},
    clocks::{WasiClocks, WasiClocksView as _},
    random::WasiRandom,
    sockets::{WasiSockets, WasiSocketsView as _},
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub use self::log::{LogLevel, LogLine, LogSource};
pub(crate) use self::{
    limiter::{Exhausted, Limiter},
    log::{CallLog, LogFlood},
};
use crate::{
    bindings,
    capability::{self, Granted},
    engine,
    sandbox::turns::Turns,
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
    pub(crate) granted: Arc<Granted>,
    notes: CallNotes,
    /// Made when the guest first asks for it, like its files: a tool of a few lines asks for neither.
    wasi: Option<WasiCtx>,
    files: Option<capability::files::Ctx>,
    http: WasiHttpCtx,
    requests: capability::http::Requests,
    kv: capability::kv::Ctx,
    pub(crate) logging: capability::logging::Ctx,
    table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) call: capability::call::Ctx,
    began: Instant,
    /// When the guest's turn on its thread began.
    turn: Instant,
}

impl Sandbox {
    /// A store for one call within `limits`, with what is `granted`; what it prints goes into `log`.
    pub(crate) fn store(
        engine: &wasmtime::Engine,
        limits: &Limits,
        log: &Arc<CallLog>,
        call: capability::call::Ctx,
        kv: capability::kv::Ctx,
        granted: &Arc<Granted>,
        notes: CallNotes,
    ) -> wasmtime::Result<Store<Self>> {
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_HTTP_FIELD);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let limiter = Limiter::new(limits.memory, Arc::clone(log));
        let began = Instant::now();
        let sandbox = Self {
            granted: Arc::clone(granted),
            requests: capability::http::Requests::new(&granted.egress, notes.clone()),
            notes,
            wasi: None,
            files: None,
            http,
            kv,
            logging: capability::logging::Ctx(Arc::clone(log)),
            table,
            limiter,
            call,
            began,
            turn: began,
        };
        let mut store = Store::new(engine, sandbox);
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

    /// The call's files, with the table that its handles are in.
    pub(crate) fn files(&mut self) -> capability::files::View<'_> {
        let ctx = || capability::files::Ctx::new(&self.granted.directories, self.notes.clone());
        capability::files::View { ctx: self.files.get_or_insert_with(ctx), table: &mut self.table }
    }

    /// The call's buckets, with the same table.
    pub(crate) fn kv(&mut self) -> capability::kv::View<'_> {
        capability::kv::View { ctx: &mut self.kv, table: &mut self.table }
    }
}

/// All that a component can import. WASI links for everyone, inert without a grant: language runtimes import what their
/// programs never use.
///
/// # Errors
/// When two definitions clash, which no input can cause.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker: Linker<Sandbox> = Linker::new(engine);
    wasi(&mut linker)?;
    capability::files::add_to_linker(&mut linker)?;
    capability::config::add_to_linker(&mut linker)?;
    capability::logging::add_to_linker(&mut linker)?;
    capability::kv::add_to_linker(&mut linker)?;
    capability::keyvalue::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    bindings::portcullis::host::call::add_to_linker::<_, HasSelf<capability::call::Ctx>>(&mut linker, |sandbox| {
        &mut sandbox.call
    })?;
    Ok(linker)
}

/// WASI but for files, interface by interface: upstream links all or nothing.
fn wasi(l: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::{cli, clocks, random, sockets};
    reasons::add_to_linker(l)?;
    wasmtime_wasi_io::bindings::wasi::io::poll::add_to_linker::<_, Table>(l, |sandbox| &mut sandbox.table)?;
    wasmtime_wasi_io::bindings::wasi::io::streams::add_to_linker::<_, Table>(l, |sandbox| &mut sandbox.table)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(l, Sandbox::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(l, Sandbox::clocks)?;
    random::random::add_to_linker::<_, WasiRandom>(l, |sandbox| sandbox.ctx().ctx.random())?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, |sandbox| sandbox.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, |sandbox| sandbox.ctx().ctx.random())?;
    cli::exit::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, Sandbox::cli)?;
    sockets::tcp::add_to_linker::<_, WasiSockets>(l, Sandbox::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, Sandbox::sockets)?;
    sockets::udp::add_to_linker::<_, WasiSockets>(l, Sandbox::sockets)?;
    sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, Sandbox::sockets)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, Sandbox::sockets)?;
    sockets::network::add_to_linker::<_, WasiSockets>(l, &Default::default(), Sandbox::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, Sandbox::sockets)
}

/// The table of host resources, for interfaces that need nothing else.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// No argument, and of variables what is `granted`; standard input closed, standard output and error into `log`.
fn wasi_ctx(granted: &Granted, log: &Arc<CallLog>, began: Instant) -> WasiCtx {
    let mut wasi = WasiCtx::builder();
    granted.variables.give(&mut wasi);
    capability::clocks::give(&mut wasi, began);
    wasi.stdout(log.stdout())
        .stderr(log.stderr())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM)
        .build()
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = || wasi_ctx(&self.granted, &self.logging.0, self.began);
        WasiCtxView { ctx: self.wasi.get_or_insert_with(ctx), table: &mut self.table }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.requests, table: &mut self.table, ctx: &mut self.http }
    }
}
