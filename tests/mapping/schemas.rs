//! The exact schema of each WIT type.

use portcullis_runtime::wit::definitions;
use serde_json::{Value, json};

use crate::made::{described, interface};

/// The schemas of the parameter `x` and of the result of `f: func(x: T) -> T`, with their `$defs`.
fn check(declarations: &str, ty: &str, input: Value, output: Value) {
    let bytes = interface(&format!("{declarations} f: func(x: {ty}) -> {ty};"));
    let made = definitions(&described(&bytes), "", None).expect("no choice");
    assert_eq!(made.left_out, [], "{ty}");
    let definition = &made.tools[0].definition;
    assert_eq!(Value::Object(definition.input_schema.clone()), input, "input of {ty}");
    assert_eq!(Value::Object(definition.output_schema.clone()), output, "output of {ty}");
}

/// For a type that is the same in both directions, not an object, and neither optional nor named.
fn check_simple(ty: &str, schema: Value) {
    check_directions(ty, schema.clone(), schema);
}

fn check_directions(ty: &str, input: Value, output: Value) {
    let with = |name: &str, schema: Value| {
        json!({
            "type": "object",
            "properties": {name: schema},
            "required": [name],
            "additionalProperties": false,
        })
    };
    check("", ty, with("x", input), with("result", output));
}

#[test]
fn primitives() {
    check_simple("bool", json!({"type": "boolean"}));
    check_simple("u8", json!({"type": "integer", "minimum": 0, "maximum": 255}));
    check_simple("s8", json!({"type": "integer", "minimum": -128, "maximum": 127}));
    check_simple("u16", json!({"type": "integer", "minimum": 0, "maximum": 65535}));
    check_simple("s16", json!({"type": "integer", "minimum": -32768, "maximum": 32767}));
    check_simple("u32", json!({"type": "integer", "minimum": 0, "maximum": 4294967295_u32}));
    check_simple("s32", json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX}));
    check_simple("u64", json!({"type": "integer", "minimum": 0, "exclusiveMaximum": 18446744073709551616.0}));
    check_simple("s64", json!({"type": "integer", "minimum": i64::MIN, "exclusiveMaximum": 9223372036854775808_u64}));
    check_simple(
        "f32",
        json!({"anyOf": [
            {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
            {"enum": ["NaN", "Infinity", "-Infinity"]},
        ]}),
    );
    check_simple("f64", json!({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}));
    check_simple("char", json!({"type": "string", "minLength": 1, "maxLength": 1}));
    check_simple("string", json!({"type": "string"}));
}

#[test]
fn lists_and_tuples() {
    check_simple("list<string>", json!({"type": "array", "items": {"type": "string"}}));
    let bytes = json!({"type": "string", "contentEncoding": "base64"});
    let bounded = json!({"type": "string", "contentEncoding": "base64", "maxLength": 1_398_104});
    check_directions("list<u8>", bounded, bytes);
    check_simple(
        "tuple<bool, string>",
        json!({
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "prefixItems": [{"type": "boolean"}, {"type": "string"}],
        }),
    );
}

#[test]
fn options() {
    let bool_or_null = json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]});
    check(
        "",
        "option<bool>",
        json!({
            "type": "object",
            "properties": {"x": bool_or_null},
            "additionalProperties": false,
        }),
        json!({
            "type": "object",
            "properties": {"result": bool_or_null},
            "required": ["result"],
            "additionalProperties": false,
        }),
    );
    let nested = json!({"anyOf": [
        {
            "type": "object",
            "properties": {"some": bool_or_null},
            "required": ["some"],
            "additionalProperties": false,
        },
        {"type": "null"},
    ]});
    check(
        "type maybe = option<bool>;",
        "option<maybe>",
        json!({
            "type": "object",
            "properties": {"x": nested},
            "additionalProperties": false,
        }),
        json!({
            "type": "object",
            "properties": {"result": nested},
            "required": ["result"],
            "additionalProperties": false,
        }),
    );
}

#[test]
fn records() {
    let fields = json!({
        "city_name": {"type": "string"},
        "days": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 255}, {"type": "null"}]},
    });
    check(
        "record query { city-name: string, days: option<u8> }",
        "query",
        json!({
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/query"}},
            "required": ["x"],
            "additionalProperties": false,
            "$defs": {"query": {
                "type": "object",
                "properties": fields,
                "required": ["city_name"],
                "additionalProperties": false,
            }},
        }),
        json!({
            "type": "object",
            "properties": fields,
            "required": ["city_name", "days"],
            "additionalProperties": false,
        }),
    );
}

#[test]
fn variants() {
    let case = |properties: Value, required: Value| {
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    };
    let optional = json!({"tag": {"const": "near"}, "value": {"anyOf": [{"type": "string"}, {"type": "null"}]}});
    let any = case(json!({"tag": {"const": "any-place"}}), json!(["tag"]));
    let at = case(json!({"tag": {"const": "at"}, "value": {"type": "string"}}), json!(["tag", "value"]));
    check(
        "variant place { any-place, at(string), near(option<string>) }",
        "place",
        json!({
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/place"}},
            "required": ["x"],
            "additionalProperties": false,
            "$defs": {"place": {"oneOf": [any, at, case(optional.clone(), json!(["tag"]))]}},
        }),
        json!({"type": "object", "oneOf": [any, at, case(optional, json!(["tag", "value"]))]}),
    );
}

#[test]
fn enums_and_flags() {
    let names = json!({"type": "string", "enum": ["celsius", "deg-F"]});
    for (declaration, schema) in [
        ("enum unit { celsius, deg-F }", names.clone()),
        ("flags unit { celsius, deg-F }", json!({"type": "array", "items": names, "uniqueItems": true})),
    ] {
        let with = |name: &str| {
            json!({
                "type": "object",
                "properties": {name: {"$ref": "#/$defs/unit"}},
                "required": [name],
                "additionalProperties": false,
                "$defs": {"unit": schema},
            })
        };
        check(declaration, "unit", with("x"), with("result"));
    }
}

#[test]
fn results_within_and_at_the_top() {
    let ok = json!({"type": "object", "properties": {"ok": {"type": "string"}}, "required": ["ok"], "additionalProperties": false});
    let err = json!({"type": "object", "properties": {"err": {"type": "null"}}, "required": ["err"], "additionalProperties": false});
    check(
        "",
        "result<string>",
        json!({
            "type": "object",
            "properties": {"x": {"oneOf": [ok, err]}},
            "required": ["x"],
            "additionalProperties": false,
        }),
        json!({
            "type": "object",
            "properties": {"result": {"type": "string"}},
            "required": ["result"],
            "additionalProperties": false,
        }),
    );
    let within = json!({"oneOf": [ok, err]});
    check(
        "",
        "result<result<string>, u8>",
        json!({
            "type": "object",
            "properties": {"x": {"oneOf": [
                {"type": "object", "properties": {"ok": within}, "required": ["ok"], "additionalProperties": false},
                {
                    "type": "object",
                    "properties": {"err": {"type": "integer", "minimum": 0, "maximum": 255}},
                    "required": ["err"],
                    "additionalProperties": false,
                },
            ]}},
            "required": ["x"],
            "additionalProperties": false,
        }),
        json!({"type": "object", "oneOf": [ok, err]}),
    );
}

#[test]
fn a_function_without_parameters_or_result() {
    let made = definitions(&described(&interface("f: func(); g: func() -> result<_, string>;")), "t_", None)
        .expect("no choice");
    assert_eq!(made.tools.len(), 2);
    for tool in made.tools {
        let empty = json!({"type": "object", "properties": {}, "additionalProperties": false});
        assert_eq!(Value::Object(tool.definition.input_schema), empty);
        assert_eq!(Value::Object(tool.definition.output_schema), empty);
    }
}

#[test]
fn types_of_one_name_are_told_apart() {
    let bytes = crate::made::component(
        "package test:made;
        interface a { record t { x: u8 } }
        interface b { record t { y: u8 } }
        interface tools { use a.{t}; use b.{t as other}; f: func(p: t, q: other, r: t); }
        world made { export tools; }",
    );
    let made = definitions(&described(&bytes), "", None).expect("no choice");
    let schema = Value::Object(made.tools[0].definition.input_schema.clone());
    assert_eq!(schema["properties"]["p"], schema["properties"]["r"]);
    assert_eq!(schema["properties"]["p"], json!({"$ref": "#/$defs/a_t"}), "{schema:#}");
    assert_eq!(schema["properties"]["q"], json!({"$ref": "#/$defs/b_t"}));
    assert_eq!(schema["$defs"].as_object().expect("an object").len(), 2);
}
