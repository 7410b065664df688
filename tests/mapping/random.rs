//! Random types, not only random values: a random WIT interface maps both ways, and its schemas say the same as the
//! decoder does.

use std::sync::OnceLock;

use jsonschema::Validator;
use portcullis_runtime::component::Description;
use portcullis_runtime::wit::{check, decode_arguments, definitions, encode_result, export_index};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde_json::{Map, Number, Value, json};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Engine, Store};

use crate::made::{described, interface};
use crate::shapes::{Shape, shapes, values, write};

/// JSON that is near to a value, or not.
fn mutants() -> impl Strategy<Value = (Index, Value)> {
    let key = select(&["a", "tag", "value", "get_url", "some", "ok", "err", "x", "zzz", "result"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        select(vec![
            "NaN",
            "Infinity",
            "-Infinity",
            "nan",
            "",
            "é",
            "ab",
            "tag",
            "a",
            "get-URL",
            "AA==",
            "AAE=",
            "AA=",
            "AB==",
            "A",
        ])
        .prop_map(Value::from),
        select(vec![
            json!(0),
            json!(1),
            json!(-1),
            json!(-0.0),
            json!(0.5),
            json!(255),
            json!(256),
            json!(255.0),
            json!(1e3),
            json!(-128),
            json!(-129),
            json!(65535),
            json!(65536),
            json!(u32::MAX),
            json!(4294967296_u64),
            json!(i32::MIN),
            json!(-2147483649_i64),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(9223372036854775808_u64),
            json!(18446744073709551616.0),
            json!(-9223372036854775808.0),
            json!(-9223372036854777856.0),
            json!(1e39),
            json!(-1e39),
            json!(3.4028234663852886e38),
            json!(3.4028234663852887e38),
            json!(3.402823466385289e38),
            json!(1e308),
        ]),
    ];
    let json = leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..4).prop_map(|m| m
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    });
    (any::<Index>(), json)
}

/// Puts `new` somewhere into `value`, takes something out, or adds a key.
fn mutate(value: &mut Value, index: &Index, new: Value) {
    let mut places = Vec::new();
    pointers(value, String::new(), &mut places);
    let place = index.get(&places);
    let target = value.pointer_mut(place).expect("a place");
    match (target, &new) {
        // Null takes a member away, true adds one: so that keys change too.
        (Value::Object(map), Value::Null) if !map.is_empty() => {
            let key = map.keys().nth(index.index(map.len())).expect("a key").clone();
            map.shift_remove(&key);
        }
        (Value::Object(map), Value::Bool(true)) => {
            map.insert("value".to_owned(), new);
        }
        (Value::Array(items), Value::Null) if !items.is_empty() => {
            items.remove(index.index(items.len()));
        }
        (Value::Array(items), Value::Bool(true)) if !items.is_empty() => {
            items.push(items[index.index(items.len())].clone());
        }
        (target, _) => *target = new,
    }
}

fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                pointers(item, format!("{at}/{i}"), found);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                pointers(item, format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = wasmtime::Config::new();
        config.gc_support(false).wasm_component_model(true);
        Engine::new(&config).expect("an engine")
    })
}

/// A validator that takes `contentEncoding` for an assertion, as the decoder does: in JSON Schema it is a remark.
fn validator(schema: &Map<String, Value>) -> Validator {
    struct Base64;
    impl<'i> jsonschema::Keyword<'i> for Base64 {
        fn validate(&self, instance: &'i Value) -> Result<(), jsonschema::ValidationError<'i>> {
            if self.is_valid(instance) { Ok(()) } else { Err(jsonschema::ValidationError::custom("no base64")) }
        }
        fn is_valid(&self, instance: &'i Value) -> bool {
            use base64::Engine as _;
            let Value::String(text) = instance else { return true };
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
    }
    let schema = Value::Object(schema.clone());
    jsonschema::meta::validate(&schema).expect("a schema");
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_keyword("contentEncoding", |_, _, _| Ok(Box::new(Base64)))
        .build(&schema)
        .expect("a schema")
}

fn numbers(value: &Value, found: &mut Vec<Number>) {
    match value {
        Value::Number(n) => found.push(n.clone()),
        Value::Array(items) => items.iter().for_each(|v| numbers(v, found)),
        Value::Object(map) => map.values().for_each(|v| numbers(v, found)),
        _ => {}
    }
}

fn is_exact(n: &Number) -> bool {
    let double = n.as_f64().expect("finite");
    match (n.as_i64(), n.as_u64()) {
        (Some(i), _) => double as i128 == i128::from(i),
        (None, Some(u)) => double as i128 == i128::from(u),
        (None, None) => true,
    }
}

/// A function `f` of the shape, and one `g` that echoes it: with enough beside it that it goes through memory.
struct Case {
    description: Description,
    component: Component,
    input: Validator,
    output: Validator,
}

impl Case {
    fn new(shape: &Shape) -> Self {
        let mut declared = Vec::new();
        let ty = write(shape, &mut declared);
        let words = ["u64"; 17].join(", ");
        let bytes = interface(&format!(
            "{} f: func(x: {ty}) -> {ty}; g: func(x: tuple<{ty}, {words}>) -> tuple<{ty}, {words}>;",
            declared.concat()
        ));
        let description = described(&bytes);
        let made = definitions(&description, "p_", None).expect("no choice");
        assert_eq!(made.left_out, [], "{ty}");
        let definition = &made.tools[0].definition;
        assert_eq!(definition.name.as_str(), "p_f");
        let json = serde_json::to_value(definition).expect("JSON");
        let mut all = Vec::new();
        numbers(&json, &mut all);
        assert!(all.iter().all(is_exact), "{json:#}");
        let component = Component::new(engine(), &bytes).expect("a component for wasmtime");
        check(&description, &component, engine()).expect("the same types");
        Self {
            input: validator(&definition.input_schema),
            output: validator(&definition.output_schema),
            description,
            component,
        }
    }

    fn decode(&self, arguments: &Map<String, Value>) -> Result<Val, String> {
        decode_arguments(&self.description.types, &self.description.functions[0], arguments)
            .map(|mut values| values.pop().expect("one argument"))
            .map_err(|error| error.to_string())
    }

    fn check_value(&self, value: &Val) -> Result<Value, TestCaseError> {
        let function = &self.description.functions[0];
        let encoded = encode_result(&self.description.types, function, &mut [value.clone()], 1 << 20);
        // The JSON of the value itself, without the object around it: what an argument would be.
        let (json, whole) = match encoded.expect("within the budget") {
            Ok(map) => {
                let whole = Value::Object(map);
                prop_assert!(self.output.is_valid(&whole), "{whole} is no result");
                (whole.clone(), Some(whole))
            }
            Err(error) => (error.value, None),
        };
        let json = match (value, whole) {
            (Val::Record(_) | Val::Variant(..), _) => json,
            (Val::Result(Ok(payload)), Some(whole)) => json!({"ok": match payload.as_deref() {
                None => Value::Null,
                Some(Val::Record(_) | Val::Variant(..) | Val::Result(_)) => whole,
                Some(_) => whole["result"].clone(),
            }}),
            (Val::Result(Err(_)), _) => json!({"err": json}),
            (_, Some(whole)) => whole["result"].clone(),
            (_, None) => json,
        };
        let arguments = Map::from_iter([("x".to_owned(), json)]);
        prop_assert!(self.input.is_valid(&Value::Object(arguments.clone())), "{arguments:?} is no argument");
        let decoded = self.decode(&arguments);
        prop_assert_eq!(decoded.as_ref(), Ok(value), "{:?}", arguments);
        // Also as text.
        let text = serde_json::to_string(&arguments).expect("JSON");
        let read: Map<String, Value> = serde_json::from_str(&text).expect("JSON");
        let decoded = self.decode(&read);
        prop_assert_eq!(decoded.as_ref(), Ok(value), "{}", text);
        Ok(Value::Object(arguments))
    }

    /// Through a guest that returns what it gets.
    fn check_echo(&self, value: Val) -> Result<(), TestCaseError> {
        let mut store = Store::new(engine(), ());
        let linker = Linker::<()>::new(engine());
        let instance = linker.instantiate(&mut store, &self.component).expect("an instance");
        let index = export_index(&self.description, 1, &self.component).expect("an export");
        let echo = instance.get_func(&mut store, index).expect("a function");
        let mut all = vec![value];
        all.extend((0..17).map(Val::U64));
        let sent = Val::Tuple(all);
        let mut results = [Val::Bool(false)];
        echo.call(&mut store, std::slice::from_ref(&sent), &mut results).expect("an echo");
        prop_assert_eq!(&results[0], &sent);
        let function = &self.description.functions[1];
        let json = encode_result(&self.description.types, function, &mut results, 1 << 20);
        let json = json.expect("within the budget").expect("no error");
        let arguments = Map::from_iter([("x".to_owned(), json["result"].clone())]);
        let decoded = decode_arguments(&self.description.types, function, &arguments);
        prop_assert_eq!(decoded.map_err(|e| e.to_string()), Ok(vec![sent]));
        Ok(())
    }

    fn check_mutant(&self, json: &Value) -> Result<(), TestCaseError> {
        let Value::Object(arguments) = json else { return Ok(()) };
        let valid = self.input.is_valid(json);
        let decoded = self.decode(arguments);
        prop_assert_eq!(valid, decoded.is_ok(), "schema and decoder differ on {}: {:?}", json, decoded);
        Ok(())
    }
}

#[test]
fn a_random_type_maps_both_ways() {
    let mut runner =
        TestRunner::new(Config { cases: 300, failure_persistence: None, max_shrink_iters: 200, ..Config::default() });
    let shapes = shapes();
    let outcome = runner.run(&shapes, |shape| {
        let case = Case::new(&shape);
        let strategy = (values(&shape), vec(mutants(), 12));
        let mut inner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
        let outcome = inner.run(&strategy, |(value, mutants)| {
            let mut json = case.check_value(&value)?;
            case.check_echo(value)?;
            let whole = json.clone();
            for (i, (index, new)) in mutants.into_iter().enumerate() {
                // Some are changed once, some again and again.
                if i % 2 == 0 {
                    json = whole.clone();
                }
                mutate(&mut json, &index, new);
                case.check_mutant(&json)?;
            }
            Ok(())
        });
        outcome.map_err(|error| match error {
            TestError::Fail(reason, (value, _)) => TestCaseError::fail(format!("{reason} for {value:?}")),
            TestError::Abort(reason) => TestCaseError::fail(reason),
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
