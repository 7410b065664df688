//! The bounds of what is read and made: each ends with its reason.

use portcullis_runtime::component::describe;
use portcullis_runtime::wit::definitions;

use crate::made::{described, interface};

fn left_out(body: &str) -> Vec<String> {
    let made = definitions(&described(&interface(body)), "", None).expect("no choice");
    made.left_out.into_iter().map(|out| out.reason).collect()
}

fn nested(constructor: &str, depth: usize, inner: &str) -> String {
    format!("{}{inner}{}", format!("{constructor}<").repeat(depth), ">".repeat(depth))
}

#[test]
fn nesting_of_a_definition_is_bounded() {
    // Each list is one level in the schema; arguments, `properties` and `x` are three, the definition itself is one.
    let list = |depth| format!("f: func(x: {});", nested("list", depth, "bool"));
    assert_eq!(left_out(&list(28)), [""; 0]);
    assert_eq!(left_out(&list(29)), ["its definition is nested 33 deep in JSON, more than 32"]);
    assert_eq!(left_out(&list(80)), ["its types are nested more than 64 deep"]);
    // Named types begin anew.
    let named: String = (1..60).map(|i| format!("record r{i} {{ inner: r{} }}", i - 1)).collect();
    assert_eq!(left_out(&format!("record r0 {{ a: u8 }} {named} f: func(x: r59);")), [""; 0]);
}

#[test]
fn what_sharing_hides_is_bounded() {
    // 2^15 leaves in fifteen lines; from 2^20 on the validator refuses them itself.
    let doubled: String = (1..=15).map(|i| format!("type t{i} = tuple<t{}, t{}>;", i - 1, i - 1)).collect();
    let reasons = left_out(&format!("type t0 = bool; {doubled} f: func(x: t15); g: func() -> t9;"));
    assert_eq!(reasons, ["its types have more than 10000 parts"]);
    let wide: String = (0..10_000).map(|i| format!("c{i}, ")).collect();
    assert_eq!(
        left_out(&format!("enum e {{ {wide} }} f: func(x: e); g: func();")),
        ["its types have more than 10000 parts"]
    );
}

#[test]
fn all_functions_together_are_bounded() {
    let fields: String = (0..3000).map(|i| format!("field{i}: u8, ")).collect();
    let functions: String = (0..100).map(|i| format!("fn{i}: func(x: r);")).collect();
    let reasons = left_out(&format!("record r {{ {fields} }} {functions}"));
    assert!(!reasons.is_empty() && reasons.len() < 100, "{reasons:?}");
    assert!(reasons.last().expect("one").starts_with("the types of all functions before it"), "{reasons:?}");
    let long: String = (0..2000).map(|i| format!("{}{i}: u8, ", "n".repeat(200))).collect();
    let reasons = left_out(&format!("record r {{ {long} }} f: func(x: r);"));
    assert!(reasons[0].starts_with("its definition has ") && reasons[0].ends_with(", more than 262144"), "{reasons:?}");
}

#[test]
fn the_number_of_functions_is_bounded() {
    let functions: String = (0..1001).map(|i| format!("fn{i}: func();")).collect();
    assert_eq!(
        describe(&interface(&functions)).expect_err("too many").to_string(),
        "the component has more than 1000 exported functions"
    );
}

#[test]
fn a_long_name_is_an_obstacle() {
    let name = "x".repeat(257);
    assert_eq!(left_out(&format!("f: func({name}: u8);")), ["a name in its signature has 257 bytes, more than 256"]);
}

#[test]
fn all_definitions_together_are_bounded() {
    let fields: String = (0..400).map(|i| format!("{}{i}: u8, ", "n".repeat(200))).collect();
    let functions: String = (0..30).map(|i| format!("fn{i}: func(x: r);")).collect();
    let reasons = left_out(&format!("record r {{ {fields} }} {functions}"));
    assert!(!reasons.is_empty() && reasons.len() < 30, "{}", reasons.len());
    assert!(
        reasons[0].starts_with("the definitions before it and its own have ")
            && reasons[0].ends_with(", more than 4194304"),
        "{reasons:?}"
    );
}

#[test]
fn a_chain_of_names_is_bounded() {
    let chain: String = (1..=150).map(|i| format!("type t{i} = t{};", i - 1)).collect();
    let body = |last: usize| format!("record t0 {{ a: u8 }} {chain} f: func(x: t{last});");
    assert_eq!(left_out(&body(40)), [""; 0]);
    assert_eq!(left_out(&body(150)), ["a type in its signature has more than 100 names"]);
}

#[test]
fn what_a_function_with_an_obstacle_added_is_taken_back() {
    let bytes = interface("resource h; record r { a: list<string>, b: own<h> } f: func(x: list<list<u16>>, y: r);");
    let json = serde_json::to_value(described(&bytes)).expect("JSON");
    assert_eq!(json["types"], serde_json::json!([]));
    // What it shares with a function that can be a tool is made anew.
    let body = "resource h; record s { a: string } f: func(x: s, y: borrow<h>); g: func(x: s) -> string;";
    let made = definitions(&described(&interface(body)), "", None).expect("no choice");
    assert_eq!((made.tools.len(), made.left_out.len()), (1, 1));
}

#[test]
fn what_imports_share_is_bounded() {
    // One type of an instance, with many functions, imported many times.
    let imports = |functions: usize, name: &str, imports: usize| {
        let functions: String = (0..functions).map(|i| format!("(export \"{name}{i}\" (func))")).collect();
        let imports: String = (0..imports).map(|i| format!("(import \"a:b/i{i}\" (instance (type $t)))")).collect();
        let wat = format!("(component (type $t (instance {functions})) {imports})");
        describe(&wat::parse_str(wat).expect("a component"))
    };
    assert!(imports(300, "f", 300).is_ok());
    assert_eq!(
        imports(300, "f", 340).expect_err("too many").to_string(),
        "the component has more than 100000 imports and exports"
    );
    assert_eq!(
        imports(300, &"n".repeat(200), 100).expect_err("too many").to_string(),
        "the component has more than 4194304 bytes of names"
    );
    assert_eq!(
        imports(1, &"n".repeat(300), 1).expect_err("too long").to_string(),
        "the component has more than 256 bytes in a name"
    );
}
