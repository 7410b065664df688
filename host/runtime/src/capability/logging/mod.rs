//! `wasi:logging`: lines into the call's own log, where standard output and error go too. Linked for everyone.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use crate::{
    bindings::logging::wasi::logging::logging::{self, Host, Level},
    sandbox::{CallLog, LogLevel, Sandbox},
};

/// The log of the call.
pub(crate) struct Ctx(pub(crate) Arc<CallLog>);

pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    logging::add_to_linker::<_, HasSelf<Ctx>>(linker, |sandbox| &mut sandbox.logging)
}

impl Host for Ctx {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
            Level::Critical => LogLevel::Critical,
        };
        Ok(self.0.log(level, &context, &message)?)
    }
}
