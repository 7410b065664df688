//! Portcullis against the floor, in one run, as ratios: see `README.md`.
//!
//! The floor is what the same work costs without Portcullis: a bare rmcp server with a native tool, and a bare wasmtime
//! loop. Both sides are measured in turn by the same client, and the best of several rounds counts, since what else the
//! machine does can only make a round slower. No absolute time is asserted but the start's.

mod client;
mod floor;
mod part;
mod report;
mod samples;
mod server;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{part::Part, report::Report, server::Bench};

// The host's, for both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Measures Portcullis against the floor; exits with 1 when a ratio is beyond its bound")]
struct Args {
    /// What to measure [default: everything]
    parts: Vec<Part>,
    /// Print data as JSON
    #[arg(long)]
    json: bool,
    /// Rounds of each side; the best counts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    #[command(subcommand)]
    floor: Option<Floor>,
}

/// The floor's servers: this program again, as a child.
#[derive(Debug, Subcommand)]
enum Floor {
    #[command(hide = true)]
    FloorStdio {
        /// Tools to list, as JSON
        #[arg(long)]
        tools: Option<PathBuf>,
    },
    #[command(hide = true)]
    FloorHttp {
        /// Tools to list, as JSON
        #[arg(long)]
        tools: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    match args.floor {
        Some(Floor::FloorStdio { tools }) => floor::server::stdio(tools.as_deref()),
        Some(Floor::FloorHttp { tools }) => floor::server::http(tools.as_deref()),
        None => return measure(&args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args) -> anyhow::Result<ExitCode> {
    let bench = Bench::new(args.rounds)?;
    let mut report = Report::new(args.json);
    for part in Part::ALL {
        if args.parts.is_empty() || args.parts.contains(&part) {
            part.measure(&bench, &mut report)?;
        }
    }
    report.end()
}
