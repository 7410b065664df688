//! The front door: arguments, the configuration file, signals, exit codes and rendering.
//!
//! Exit codes: 0 done, 1 the input, the configuration or a check is at fault, 2 anything unexpected.

#![forbid(unsafe_code)]

mod args;
mod beside;
mod commands;
mod config;
mod harden;
mod host;
mod render;
mod review;
mod terminal;
mod watch;

use std::process::ExitCode;

use clap::{Parser, error::ErrorKind};

use crate::args::{Args, Command};

/// Reading and writing JSON is many small allocations: a tenth of a call with the allocator of glibc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing better can be done about a terminal that is gone.
            _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(u8::from(!asked));
        }
    };
    // Before any thread starts, and without a log: this process is about to give everything up.
    if let Command::Worker(worker) = &args.command {
        return worker.run();
    }
    render::start_log(args.command.default_log());
    match commands::run(args) {
        Ok(code) => code,
        Err(error) => render::failure(&error),
    }
}
