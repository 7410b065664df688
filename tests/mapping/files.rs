//! Files that are no component: each is told what it is.

use portcullis_runtime::component::describe;

use crate::made::{component, described, interface};

fn check(bytes: &[u8], expected: &str) {
    let error = describe(bytes).expect_err(expected).to_string();
    assert_eq!(error, expected);
}

#[test]
fn a_file_that_is_no_component_is_told_what_it_is() {
    check(b"", "the file is empty, expected a WebAssembly component");
    check(b"hello\n", "the file is text, expected a WebAssembly component");
    check(
        b"  (component)\n",
        "the file is WebAssembly text, expected a binary component (`wasm-tools parse FILE -o OUT` makes one)",
    );
    check(b"\x7fELF\x02\x01\x01\xff", "the file is not WebAssembly, expected a component");
    check(b"\0as", "the component is cut off after 3 bytes");
    check(b"\0asm\x01\0\0\0", "the file is a core module, not a component: build it for the target `wasm32-wasip2`");
    check(
        &wat::parse_str("(module (func))").expect("a module"),
        "the file is a core module, not a component: build it for the target `wasm32-wasip2`",
    );
    let mut resolve = wit_parser::Resolve::default();
    let package =
        resolve.push_str("a.wit", "package a:b; interface c { d: func(); } world w { export c; }").expect("WIT");
    check(
        &wit_component::encode(&resolve, package).expect("a package"),
        "the file is a WIT package, expected a component that implements one",
    );
}

#[test]
fn a_component_cut_off_anywhere_says_so() {
    let bytes = interface("record r { a: string } f: func(x: r) -> r;");
    for size in 1..bytes.len() {
        let Err(error) = describe(&bytes[..size]) else {
            // Between two of the last sections it is a component again, with less in it.
            continue;
        };
        let error = error.to_string();
        assert!(
            error == format!("the component is cut off after {size} bytes")
                || error.starts_with("the component is invalid"),
            "{size}: {error}"
        );
    }
    check(&bytes[..100], "the component is cut off after 100 bytes");
}

#[test]
fn an_invalid_component_names_the_place() {
    let bytes = wat::parse_str("(component (type (list u8)))").expect("a component");
    let mut bytes = bytes;
    bytes.extend([200, 1, 0]);
    let error = describe(&bytes).expect_err("invalid").to_string();
    assert!(error.starts_with("the component is invalid at byte "), "{error}");
}

#[test]
fn an_empty_component_has_nothing() {
    let description = described(&wat::parse_str("(component)").expect("a component"));
    assert!(description.functions.is_empty() && description.imports.is_empty() && description.warnings.is_empty());
}

#[test]
fn imports_are_listed_and_stray_exports_are_not() {
    let description = described(&component(
        "package a:x;
        interface store { resource bucket { get: func() -> u8; } open: func() -> bucket; record unused { a: u8 } }
        interface types { record t { a: u8 } }
        interface tools { use types.{t}; f: func(x: t); }
        world w {
            import store;
            import log: func(text: string);
            export tools;
            export exports: interface { stray: func(); }
            export wasi:http/handler@0.2.0;
        }
        package wasi:http@0.2.0 { interface handler { handle: func(); } }",
    ));
    let functions: Vec<_> = description.functions.iter().map(|f| f.full_name()).collect();
    assert_eq!(functions, ["a:x/tools.f"]);
    let imports: Vec<_> = description.imports.iter().map(|i| (i.name.as_str(), i.functions.join(" "))).collect();
    assert_eq!(imports, [("a:x/types", String::new())]);
    let wat = r#"(component
        (import "log" (func (param "text" string)))
        (import "a:x/store" (instance
            (export "bucket" (type $b (sub resource)))
            (export "[method]bucket.get" (func (param "self" (borrow $b)) (result u8)))
            (export "open" (func (result (own $b))))))
        (import "m" (core module)))"#;
    let description = described(&wat::parse_str(wat).expect("a component"));
    let imports: Vec<_> = description.imports.iter().map(|i| (i.name.as_str(), i.functions.join(" "))).collect();
    assert_eq!(
        imports,
        [("log", String::new()), ("a:x/store", "[method]bucket.get open".to_owned()), ("m", String::new())]
    );
}
