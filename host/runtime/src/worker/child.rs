//! The child: confines itself, reads, works, writes, ends.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    component, engine,
    worker::{ANSWER, Job, REFUSAL, WorkerLimits},
};

/// Bytes of a component that are read; decoding refuses less, with a better message.
const MAX_INPUT: u64 = 512 << 20;
/// Priority: compiling gives way to serving.
const NICE: i32 = 15;

/// What the child process runs: one job, from standard input to standard output.
///
/// Must be called before any thread starts.
pub fn main(job: Job, limits: WorkerLimits) -> ExitCode {
    match confine(limits).and_then(|()| work(job)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn work(job: Job) -> io::Result<()> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_INPUT).read_to_end(&mut bytes)?;
    let answer = match job {
        Job::Describe => component::describe(&bytes)
            .map_err(|error| error.to_string())
            .and_then(|description| serde_json::to_vec(&description).map_err(|error| error.to_string())),
        Job::Compile => engine::on_demand()
            .and_then(|engine| engine.precompile_component(&bytes))
            .map_err(|error| error.root_cause().to_string()),
    };
    let mut out = io::stdout().lock();
    match answer {
        Ok(answer) => {
            out.write_all(&[ANSWER])?;
            out.write_all(&answer)?;
        }
        Err(refusal) => {
            out.write_all(&[REFUSAL])?;
            out.write_all(refusal.as_bytes())?;
        }
    }
    out.flush()
}

/// Gives up everything but standard input and output, memory and a processor.
///
/// Where the kernel has Landlock, no file and no TCP port; everywhere, no further file descriptor of any kind.
fn confine(limits: WorkerLimits) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    landlocked()?;
    let limit = |resource, value| setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nofile, 3)?;
    limit(Resource::As, limits.memory)?;
    // The signal at the soft limit is what tells the parent which limit it was.
    let cpu = limits.cpu.as_secs().max(1);
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu), maximum: Some(cpu + 1) })?;
    rustix::process::setpriority_process(None, NICE)?;
    Ok(())
}

/// Denies every file and every TCP port, as far as the kernel knows how.
#[cfg(target_os = "linux")]
fn landlocked() -> io::Result<()> {
    use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};

    let abi = ABI::V6;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.restrict_self())
        .map_err(io::Error::other)?;
    Ok(())
}
