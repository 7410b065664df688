//! The parts of the measurement, in the order in which they run.

mod agents;
mod approval;
mod calls;
mod capabilities;
mod foreign;
mod in_process;
mod list;
mod memory;
mod neighbours;
mod pipeline;
mod start;
mod store;
mod waiting;

use clap::ValueEnum;

use crate::{report::Report, server::Bench};

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// A call of a plugin, without a transport.
    InProcess,
    /// Calls over standard input and output.
    Stdio,
    /// Calls over HTTP.
    Http,
    /// A call beside 32 that spin.
    Neighbours,
    /// Growth over 10,000 calls.
    Memory,
    /// A list of 500 tools.
    List,
    /// From the start of the process to the first reply.
    Start,
    /// Grants that are not used, and a request by grant.
    Capabilities,
    /// Shared context from a guest: the file, and a Redis server.
    Store,
    /// Keys, tokens, roles and limits beside none.
    Agents,
    /// Inspecting, a start with 50 approved plugins, and changes of one.
    Approval,
    /// Tickets through the support plugin, by six agents.
    Pipeline,
    /// Fifty agents that wait for messages.
    Waiting,
}

impl Part {
    pub(crate) const ALL: [Self; 13] = [
        Self::InProcess,
        Self::Stdio,
        Self::Http,
        Self::Neighbours,
        Self::Memory,
        Self::List,
        Self::Start,
        Self::Capabilities,
        Self::Store,
        Self::Agents,
        Self::Approval,
        Self::Pipeline,
        Self::Waiting,
    ];

    /// Measures it.
    pub(crate) fn measure(self, bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::InProcess => in_process::measure(bench, report),
            Self::Stdio => calls::stdio(bench, report),
            Self::Http => calls::http(bench, report),
            Self::Neighbours => neighbours::measure(bench, report),
            Self::Memory => memory::measure(bench, report),
            Self::List => list::measure(bench, report),
            Self::Start => start::measure(bench, report),
            Self::Capabilities => capabilities::measure(bench, report),
            Self::Store => store::measure(bench, report),
            Self::Agents => agents::measure(bench, report),
            Self::Approval => approval::measure(bench, report),
            Self::Pipeline => pipeline::measure(bench, report),
            Self::Waiting => waiting::measure(bench, report),
        }
    }
}
