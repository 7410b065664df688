//! The host's own WIT package as Rust, generated in this one place.

#![allow(missing_docs, reason = "generated; the WIT is documented")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "portcullis:host/imports",
});

/// `wasi:logging`, which no release of WASI has: the draft that toolchains use.
pub(crate) mod logging {
    wasmtime::component::bindgen!({
        inline: "
            package wasi:logging@0.1.0-draft;
            interface logging {
                enum level { trace, debug, info, warn, error, critical }
                log: func(level: level, context: string, message: string);
            }
            world imports { import logging; }
        ",
        imports: { default: trappable },
    });
}
