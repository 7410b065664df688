//! The host's own WIT package as Rust, generated in this one place.

#![allow(missing_docs, reason = "generated; the WIT is documented")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "portcullis:host/imports",
    imports: { "portcullis:host/kv": async | trappable },
    with: { "portcullis:host/kv.bucket": crate::capability::kv::Bucket },
    trappable_error_type: { "portcullis:host/kv.error" => crate::capability::kv::Fault },
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

/// `wasi:keyvalue`, which no release of WASI has either, in the two drafts that components import.
pub(crate) mod keyvalue {
    /// The upstream repository as it stands (WebAssembly/wasi-keyvalue, `wit/`): compare-and-swap, cursors are texts.
    pub(crate) mod draft2 {
        wasmtime::component::bindgen!({
            inline: "
                package wasi:keyvalue@0.2.0-draft2;
                interface store {
                    variant error { no-such-store, access-denied, other(string) }
                    record key-response { keys: list<string>, cursor: option<string> }
                    open: func(identifier: string) -> result<bucket, error>;
                    resource bucket {
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                        delete: func(key: string) -> result<_, error>;
                        exists: func(key: string) -> result<bool, error>;
                        list-keys: func(cursor: option<string>) -> result<key-response, error>;
                    }
                }
                interface atomics {
                    use store.{bucket, error};
                    variant cas-error { store-error(error), cas-failed(cas) }
                    resource cas {
                        new: static func(bucket: borrow<bucket>, key: string) -> result<cas, error>;
                        current: func() -> result<option<list<u8>>, error>;
                    }
                    increment: func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>;
                    swap: func(cas: cas, value: list<u8>) -> result<_, cas-error>;
                }
                interface batch {
                    use store.{bucket, error};
                    get-many: func(bucket: borrow<bucket>, keys: list<string>)
                        -> result<list<option<tuple<string, list<u8>>>>, error>;
                    set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                    delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
                }
                world imports { import store; import atomics; import batch; }
            ",
            imports: { default: async | trappable },
            with: {
                "wasi:keyvalue/store.bucket": crate::capability::kv::Bucket,
                "wasi:keyvalue/atomics.cas": crate::capability::keyvalue::Cas,
            },
            trappable_error_type: { "wasi:keyvalue/store.error" => crate::capability::kv::Fault },
        });
    }

    /// What wasmtime, wasmCloud and others have linked since April 2024 (the same repository, tag `v0.2.0-draft`): no
    /// compare-and-swap, cursors are numbers, counts have no sign.
    pub(crate) mod draft {
        wasmtime::component::bindgen!({
            inline: "
                package wasi:keyvalue@0.2.0-draft;
                interface store {
                    variant error { no-such-store, access-denied, other(string) }
                    record key-response { keys: list<string>, cursor: option<u64> }
                    open: func(identifier: string) -> result<bucket, error>;
                    resource bucket {
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                        delete: func(key: string) -> result<_, error>;
                        exists: func(key: string) -> result<bool, error>;
                        list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                    }
                }
                interface atomics {
                    use store.{bucket, error};
                    increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
                }
                interface batch {
                    use store.{bucket, error};
                    get-many: func(bucket: borrow<bucket>, keys: list<string>)
                        -> result<list<option<tuple<string, list<u8>>>>, error>;
                    set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                    delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
                }
                world imports { import store; import atomics; import batch; }
            ",
            imports: { default: async | trappable },
            with: { "wasi:keyvalue/store.bucket": crate::capability::kv::Bucket },
            trappable_error_type: { "wasi:keyvalue/store.error" => crate::capability::kv::Fault },
        });
    }
}
