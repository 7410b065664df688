//! A bare wasmtime loop: the same guest and engine, a fresh store a call, a typed call, nothing recorded or converted.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Store, StoreLimits,
    StoreLimitsBuilder,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

wasmtime::component::bindgen!({
    inline: "
        package test:echo;
        interface echo { echo: func(text: string) -> string; }
        world guest { export echo; }
    ",
    exports: { default: async },
});

/// Calls at one time that the pool has room for, as in the host's defaults.
pub(crate) const CALLS: u32 = 64;
/// The host's defaults for a call.
const FUEL: u64 = 50_000_000_000;
const MEMORY: usize = 64 << 20;
/// As `host/runtime/src/engine.rs` has it.
const YIELD_EVERY: u64 = 10_000_000;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The guest, compiled and linked.
pub(crate) struct Floor {
    engine: Engine,
    guest: GuestPre<State>,
}

impl Floor {
    pub(crate) fn new(component: &str) -> anyhow::Result<Self> {
        Self::compile(component).map_err(told)
    }

    fn compile(component: &str) -> wasmtime::Result<Self> {
        let engine = engine()?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let component = Component::from_file(&engine, component)?;
        let guest = GuestPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, guest })
    }

    /// One call in a sandbox of its own.
    pub(crate) async fn call(&self, text: &str) -> anyhow::Result<String> {
        self.run(text).await.map_err(told)
    }

    async fn run(&self, text: &str) -> wasmtime::Result<String> {
        let state = State {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(MEMORY).build(),
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_fuel(FUEL)?;
        store.fuel_async_yield_interval(Some(YIELD_EVERY))?;
        let guest = self.guest.instantiate_async(&mut store).await?;
        guest.test_echo_echo().call_echo(&mut store, text).await
    }
}

/// Wasmtime's error is no `std::error::Error`.
fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// The host's engine, setting by setting.
fn engine() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(CALLS)
        .total_stacks(CALLS)
        .total_core_instances(CALLS * 64)
        .total_memories(CALLS * 4)
        .total_tables(CALLS * 8)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(8)
        .max_tables_per_module(8)
        .max_memories_per_module(4)
        .table_elements(20_000)
        .max_core_instance_size(1 << 20)
        .max_component_instance_size(2 << 20)
        .max_memory_size(4 << 30)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .decommit_batch_size(16)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_init_cow(true)
        .concurrency_support(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .gc_support(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}
