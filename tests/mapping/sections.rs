//! Doc comments and requests in custom sections: where they go, and that damaged ones are warnings.

use portcullis_runtime::wit::definitions;
use serde_json::{Value, json};

use crate::made::{component, described, with_section};

const WIT: &str = "
    package docs:weather@0.1.0;
    interface places { record place { city: string, zone: option<string> } }
    interface tools {
        use places.{place};
        type celsius = f64;
        enum unit { metric, imperial }
        variant when { now, day(u8) }
        record query { at: place, unit: unit, when: when }
        get: func(q: query) -> celsius;
    }
    world w {
        flags parts { wind, rain }
        export tools;
        export ping: func(p: parts);
    }";

fn versioned(json: &Value) -> Vec<u8> {
    [&[1], json.to_string().as_bytes()].concat()
}

#[test]
fn doc_comments_go_to_tools_fields_cases_and_types() {
    let bytes = with_section(
        component(WIT),
        "package-docs",
        &versioned(&json!({"worlds": {"root": {
            "func_exports": {"ping": {"docs": "Pings."}},
            "types": {"parts": {"docs": "Parts.", "items": {"wind": "Wind too."}}},
        }}})),
    );
    let bytes = with_section(
        bytes,
        "portcullis:docs",
        &versioned(&json!({"interfaces": {
            "docs:weather/places@0.1.0": {"types": {"place": {"docs": "A place.", "items": {"city": "Its city."}}}},
            "docs:weather/tools@0.1.0": {
                "docs": "The tools.",
                "funcs": {"get": {"docs": "Gets the weather."}},
                "types": {
                    "celsius": {"docs": "Degrees."},
                    "unit": {"items": {"metric": "SI.", "imperial": {"docs": "Not SI."}}},
                    "when": {"docs": "When.", "items": {"day": "Days from now."}},
                    "query": {"docs": "What to get.", "items": {"at": "Where to."}},
                },
            },
        }})),
    );
    // Other tools read the component with both sections.
    wit_component::decode(&bytes).expect("a component");
    let description = described(&bytes);
    assert_eq!(description.warnings, [""; 0]);
    let made = definitions(&description, "", None).expect("no choice");
    let tool = |name: &str| {
        let tool = made.tools.iter().find(|t| t.definition.name.as_str() == name);
        serde_json::to_value(&tool.expect("a tool").definition).expect("JSON")
    };
    let get = tool("get");
    assert_eq!(get["description"], "Gets the weather.");
    assert_eq!(get["outputSchema"]["properties"]["result"]["description"], "Degrees.");
    let defs = &get["inputSchema"]["$defs"];
    assert_eq!(defs["query"]["description"], "What to get.");
    assert_eq!(defs["query"]["properties"]["at"], json!({"$ref": "#/$defs/place", "description": "Where to."}));
    assert_eq!(defs["place"]["description"], "A place.", "{get:#}");
    assert_eq!(defs["place"]["properties"]["city"]["description"], "Its city.");
    assert_eq!(defs["unit"]["description"], "- `metric`: SI.\n- `imperial`: Not SI.");
    assert_eq!(defs["when"]["description"], "When.");
    assert_eq!(defs["when"]["oneOf"][1]["description"], "Days from now.");
    let ping = tool("ping");
    assert_eq!(ping["description"], "Pings.");
    assert_eq!(ping["inputSchema"]["$defs"]["parts"]["description"], "Parts.\n\n- `wind`: Wind too.");
}

#[test]
fn a_damaged_section_is_a_warning() {
    let long = "x".repeat((1 << 20) + 1);
    for (name, data, expected) in [
        ("package-docs", &b""[..], "the section `package-docs` is damaged and ignored: it is empty"),
        (
            "package-docs",
            b"\x07{}",
            "the section `package-docs` is damaged and ignored: its format has version 7, expected 1",
        ),
        (
            "portcullis:docs",
            b"\x01{\"interfaces\":",
            "the section `portcullis:docs` is damaged and ignored: EOF while parsing a value at line 1 column 14",
        ),
        (
            "portcullis:docs",
            b"\x01{\"interfaces\": 3}",
            "the section `portcullis:docs` is damaged and ignored: invalid type: integer `3`, expected a map at line 1 \
             column 16",
        ),
        (
            "portcullis:docs",
            long.as_bytes(),
            "the section `portcullis:docs` has 1048577 bytes and is ignored, expected at most 1048576",
        ),
        (
            "portcullis:requests",
            b"\xff",
            "the section `portcullis:requests` is damaged and ignored: expected value at line 1 column 1",
        ),
        (
            "package-docs",
            b"\x01{\"worlds\":{\"root\":{\"func_exports\":{\"gone\\u001b\":{\"docs\":\"d\"}}}}}",
            "there is a doc comment for `gone\\u{1b}`, which is no exported function",
        ),
    ] {
        let description = described(&with_section(component(WIT), name, data));
        assert_eq!(description.warnings, [expected]);
        assert_eq!(description.functions.len(), 2);
        assert_eq!(description.requests, None);
    }
    let twice = with_section(with_section(component(WIT), "portcullis:docs", b"\x01{}"), "portcullis:docs", b"\x01{}");
    assert_eq!(
        described(&twice).warnings,
        ["there is more than one section `portcullis:docs`, and only the first counts"]
    );
}

#[test]
fn requests_are_handed_on() {
    let requests = json!({"http": [{"allow": "GET https://example.com/**", "reason": "weather"}]});
    let description = described(&with_section(component(WIT), "portcullis:requests", requests.to_string().as_bytes()));
    assert_eq!(description.requests, Some(requests));
}

#[test]
fn sections_of_inner_modules_are_not_the_component_s() {
    let mut inner = wat::parse_str("(module)").expect("a module");
    inner = with_section(inner, "portcullis:requests", b"{\"env\": []}");
    let mut outer = wasm_encoder::Component::new();
    outer.section(&wasm_encoder::RawSection { id: 1, data: &inner });
    assert_eq!(described(&outer.finish()).requests, None);
}
