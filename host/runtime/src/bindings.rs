//! The host's own WIT package as Rust, generated in this one place.

#![allow(missing_docs, reason = "generated; the WIT is documented")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "portcullis:host/imports",
});
