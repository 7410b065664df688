//! The one engine: what code is made like, and the pool that sandboxes come from.
//!
//! **Fuel, and no epochs.** Both can stop a loop; both together cost most (PERFORMANCE.md, "Interrupting compute"). Fuel
//! with a coarse yield interval gives the budget *and* the points at which a deadline, a cancel or a move to another
//! thread takes hold. A call without a fuel limit gets all the fuel there is, and the same yields.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Fuel between two yields: about a millisecond of computing, the longest that a guest holds a thread at a time.
pub(crate) const YIELD_EVERY: u64 = 10_000_000;

/// Core instances of a component. Components of language runtimes are several modules linked together; Python's need 14.
const CORE_INSTANCES: u32 = 64;
/// Linear memories of a component; real ones have one or two.
const MEMORIES: u32 = 4;
/// Tables of a component.
pub(crate) const TABLES: u32 = 8;
/// Elements of a table; JavaScript's needs 7,688.
pub(crate) const TABLE_ELEMENTS: u32 = 20_000;
/// Bytes of host memory for one core instance's own bookkeeping.
const CORE_INSTANCE_SIZE: usize = 1 << 20;
/// Bytes of host memory for one component instance's own bookkeeping.
const COMPONENT_INSTANCE_SIZE: usize = 2 << 20;
/// Bytes of a memory slot that stay mapped and are zeroed by hand: cheaper than giving them back at every call.
const MEMORY_KEEP_RESIDENT: usize = 2 << 20;
/// The same for tables.
const TABLE_KEEP_RESIDENT: usize = 64 << 10;
/// Slots given back in one go. More would leave the memory of calls that are over, 64 MiB each by default, with this
/// process until so many others have ended on the same thread, which after a burst is never.
const DECOMMIT_BATCH: usize = 1;

/// What generated code depends on: the same for the child that compiles and the host that runs.
fn code() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_init_cow(true)
        // Off until used: each is a way to make the host abort (THREATS.md, "A call").
        .concurrency_support(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .gc_support(false);
    config
}

/// The engine that runs calls, of which `calls` have a sandbox at one time, computing or waiting; the pool's totals follow
/// from it. It reserves some 16 GiB of address space for each, of which nothing is used before a call does.
///
/// Where the address space for the pool cannot be reserved, sandboxes come from the operating system one by one:
/// slower, and the same in everything else.
///
/// # Errors
/// When this machine cannot run the engine at all.
pub(crate) fn pooled(calls: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_stacks(calls)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES))
        .total_memories(calls.saturating_mul(MEMORIES))
        .total_tables(calls.saturating_mul(TABLES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .max_memories_per_module(MEMORIES)
        .table_elements(TABLE_ELEMENTS as usize)
        .max_core_instance_size(CORE_INSTANCE_SIZE)
        .max_component_instance_size(COMPONENT_INSTANCE_SIZE)
        .max_memory_size(4 << 30)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .decommit_batch_size(DECOMMIT_BATCH)
        .pagemap_scan(Enabled::Auto);
    let mut config = code();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).or_else(|error| {
        tracing::warn!(%error, "the pool of sandboxes could not be reserved; each call allocates its own, slower");
        on_demand()
    })
}

/// The engine that compiles: no pool, since its reservation does not fit under the child's limit of address space.
///
/// # Errors
/// When this machine cannot run the engine at all.
pub(crate) fn on_demand() -> wasmtime::Result<Engine> {
    let mut config = code();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}
