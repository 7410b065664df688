//! Names of tools, and which functions become some.

use portcullis_runtime::wit::{Definitions, definitions};

use crate::made::{component, described};

/// Names of tools and reasons of what is left out, one a line.
fn check(wit: &str, prefix: &str, chosen: Option<&[&str]>, expected: &[&str]) {
    let description = described(&component(wit));
    let chosen: Option<Vec<String>> = chosen.map(|c| c.iter().map(|s| (*s).to_owned()).collect());
    let found = match definitions(&description, prefix, chosen.as_deref()) {
        Ok(Definitions { tools, left_out }) => tools
            .iter()
            .map(|tool| {
                let function = &description.functions[tool.function];
                format!("{} = {}", tool.definition.name, function.full_name())
            })
            .chain(left_out.iter().map(|out| format!("{}: {}", out.function, out.reason)))
            .collect(),
        Err(error) => vec![error.to_string()],
    };
    assert_eq!(found, expected);
}

const TWO: &str = "
    package docs:adder@0.1.0;
    interface add { add: func(a: u8, b: u8) -> u8; show-HTML: func(); }
    interface other { add: func(); clear: func(); }
    world w { export add; export other; export ping: func(); export wasi:cli/run@0.2.0; }
    package wasi:cli@0.2.0 { interface run { run: func() -> result; } }";

#[test]
fn two_functions_of_one_name_are_called_by_their_interfaces() {
    check(
        TWO,
        "p_",
        None,
        &[
            "p_ping = ping",
            "p_add_add = docs:adder/add@0.1.0.add",
            "p_show_html = docs:adder/add@0.1.0.show-HTML",
            "p_other_add = docs:adder/other@0.1.0.add",
            "p_clear = docs:adder/other@0.1.0.clear",
        ],
    );
}

#[test]
fn a_choice_renames_nothing() {
    check(TWO, "", Some(&["other.add", "ping"]), &["ping = ping", "other_add = docs:adder/other@0.1.0.add"]);
    check(TWO, "", Some(&["add"]), &["add_add = docs:adder/add@0.1.0.add", "other_add = docs:adder/other@0.1.0.add"]);
    check(TWO, "", Some(&["docs:adder/add@0.1.0.show-HTML"]), &["show_html = docs:adder/add@0.1.0.show-HTML"]);
    for wrong in ["show-html", "dd", "adder.add", ".ping", "run"] {
        check(
            TWO,
            "",
            Some(&[wrong]),
            &[&format!(
                "the component exports no function `{wrong}`, expected one of: ping, add.add, add.show-HTML, \
                 other.add, other.clear"
            )],
        );
    }
}

#[test]
fn interfaces_of_one_name_are_told_apart_by_their_packages() {
    check(
        "package a:x; world w { export ops; export b:x/ops; export ops-go: func(); }
        interface ops { go: func(); }
        package b:x { interface ops { go: func(); } }",
        "",
        None,
        &["ops_go = ops-go", "a_x_ops_go = a:x/ops.go", "b_x_ops_go = b:x/ops.go"],
    );
}

#[test]
fn what_cannot_be_told_apart_is_left_out() {
    check(
        "package a:x; world w { export b:x/ops@1.0.0; export b:x/ops@2.0.0; }
        package b:x@1.0.0 { interface ops { go: func(); } }
        package b:x@2.0.0 { interface ops { go: func(); stop: func(); } }",
        "p_",
        None,
        &[
            "p_stop = b:x/ops@2.0.0.stop",
            "b:x/ops@1.0.0.go: 2 functions would be named `p_b_x_ops_go`",
            "b:x/ops@2.0.0.go: 2 functions would be named `p_b_x_ops_go`",
        ],
    );
}

#[test]
fn what_cannot_be_a_tool_says_why() {
    check(
        "package a:x;
        interface ops {
            resource file { constructor(name: string); read: func() -> string; open: static func() -> file; }
            record holder { inner: own<file> }
            take: func(f: file);
            lend: func(f: borrow<file>);
            hold: func(h: list<holder>);
            fine: func();
        }
        world w { export ops; }",
        "",
        None,
        &[
            "fine = a:x/ops.fine",
            "a:x/ops.[constructor]file: it is a constructor, a method or a static function of a resource",
            "a:x/ops.[method]file.read: it is a constructor, a method or a static function of a resource",
            "a:x/ops.[static]file.open: it is a constructor, a method or a static function of a resource",
            "a:x/ops.take: its signature has a handle of a resource",
            "a:x/ops.lend: its signature has a handle of a resource",
            "a:x/ops.hold: its signature has a handle of a resource",
        ],
    );
}

#[test]
fn a_name_beyond_the_protocol_s_bound_is_left_out() {
    let name = "x".repeat(120);
    check(
        &format!("package a:x; world w {{ export {name}: func(); }}"),
        "prefix-10_",
        None,
        &[&format!("{name}: `prefix-10_{}` has 130 bytes, expected 1 to 128", "x".repeat(30))],
    );
}
