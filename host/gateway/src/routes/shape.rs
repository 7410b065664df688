//! What text of a path or a query becomes, as the tool's schema wants it.
//!
//! Nothing is checked here: text that is not of the type stays text, and the call's own decoding says what was expected.

use serde_json::{Map, Number, Value};

/// Names that stand for one another in a schema, one behind the other; those of the host's mapping have one or two.
const MAX_BEHIND: usize = 16;

/// What the type of an argument wants of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The text itself: texts, names of cases, base64.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Each text an element, of this shape.
    List(Box<Shape>),
    /// JSON: records, variants, lists of them.
    Json,
}

/// A schema with the definitions that it refers to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema<'a> {
    root: &'a Map<String, Value>,
}

/// One argument of a tool.
#[derive(Clone, Debug)]
pub(super) struct Parameter<'a> {
    /// Its schema, without the `null` of one that may be left out.
    pub(super) schema: &'a Value,
    /// What text becomes.
    pub(super) shape: Shape,
    /// Whether it has to be there.
    pub(super) required: bool,
}

impl<'a> Schema<'a> {
    /// Of the arguments of a tool.
    pub(super) fn new(root: &'a Map<String, Value>) -> Self {
        Self { root }
    }

    /// The names of all arguments, in the tool's order.
    pub(super) fn arguments(self) -> impl Iterator<Item = &'a str> {
        let properties = self.root.get("properties").and_then(Value::as_object);
        properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str))
    }

    /// One argument, where there is such a one.
    pub(super) fn argument(self, name: &str) -> Option<Parameter<'a>> {
        let schema = self.root.get("properties")?.get(name)?;
        let required = self.root.get("required").and_then(Value::as_array);
        let required = required.is_some_and(|required| required.iter().any(|found| found == name));
        let schema = self.some(schema);
        Some(Parameter { schema, shape: self.shape(schema), required })
    }

    /// The schema that a reference stands for.
    fn behind(self, mut schema: &'a Value) -> &'a Value {
        for _ in 0..MAX_BEHIND {
            let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix("#/$defs/"));
            let Some(next) = target.and_then(|name| self.root.get("$defs")?.get(name)) else { break };
            schema = next;
        }
        schema
    }

    /// The schema of what is there, where `null` stands for nothing: `anyOf: [SCHEMA, null]`.
    fn some(self, schema: &'a Value) -> &'a Value {
        let choices = self.behind(schema).get("anyOf").and_then(Value::as_array).map(Vec::as_slice);
        match choices {
            Some([some, null]) if null.get("type").is_some_and(|kind| kind == "null") => some,
            _ => schema,
        }
    }

    fn shape(self, schema: &'a Value) -> Shape {
        let schema = self.behind(schema);
        let kind = |schema: &Value| schema.get("type").and_then(Value::as_str).map(str::to_owned);
        match kind(schema).as_deref() {
            Some("string") => Shape::Text,
            Some("integer") => Shape::Integer,
            Some("number") => Shape::Number,
            Some("boolean") => Shape::Boolean,
            Some("array") => match schema.get("items").map(|items| self.shape(items)) {
                Some(Shape::List(_) | Shape::Json) | None => Shape::Json,
                Some(element) => Shape::List(Box::new(element)),
            },
            Some(_) => Shape::Json,
            // A float is a number, or the name of one that JSON has not.
            None => match schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
                Some([number, _]) if kind(number).as_deref() == Some("number") => Shape::Number,
                _ => Shape::Json,
            },
        }
    }
}

impl Shape {
    /// The value of one text.
    pub(super) fn value(&self, text: String) -> Value {
        match self {
            Self::Text => Value::String(text),
            // One of more than 64 bits would become the nearest double, and so perhaps one in range.
            Self::Integer => {
                let number = number(&text).filter(|number| is_integer(&text) && !number.is_f64());
                number.map_or(Value::String(text), Value::Number)
            }
            Self::Number => number(&text).map_or(Value::String(text), Value::Number),
            Self::Boolean => match text.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => Value::String(text),
            },
            Self::List(element) => Value::Array(vec![element.value(text)]),
            Self::Json => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    /// The value of several, which only a list has; else how many there are at most.
    pub(super) fn values(&self, mut texts: Vec<String>) -> Option<Value> {
        match (self, texts.len()) {
            (Self::List(element), _) => Some(texts.into_iter().map(|text| element.value(text)).collect()),
            (_, 1) => texts.pop().map(|text| self.value(text)),
            (_, _) => None,
        }
    }
}

/// Digits alone: `5.0` and `1e3` would be exact only as far as a double is.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// As JSON writes numbers. Integers of 64 bits are exact.
fn number(text: &str) -> Option<Number> {
    let bare =
        text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit());
    bare.then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        let integer = json!({ "type": "integer", "minimum": 0, "maximum": 255 });
        let point = json!({ "type": "object", "properties": { "x": integer } });
        json!({
            "type": "object",
            "properties": {
                "text": { "type": "string" },
                "lamp": { "$ref": "#/$defs/lamp" },
                "small": integer,
                "float": { "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }] },
                "flag": { "type": "boolean" },
                "maybe": { "anyOf": [integer, { "type": "null" }] },
                "maybe_float": { "anyOf": [
                    { "anyOf": [{ "type": "number" }, { "enum": ["NaN"] }] }, { "type": "null" }] },
                "texts": { "type": "array", "items": { "type": "string" } },
                "lamps": { "type": "array", "items": { "$ref": "#/$defs/lamp" }, "uniqueItems": true },
                "points": { "type": "array", "items": { "$ref": "#/$defs/point" } },
                "pair": { "type": "array", "prefixItems": [integer, integer], "minItems": 2, "maxItems": 2 },
                "point": { "$ref": "#/$defs/point" },
                "shape": { "oneOf": [{ "type": "object" }] },
                "endless": { "$ref": "#/$defs/endless" },
            },
            "required": ["text", "small"],
            "$defs": {
                "lamp": { "type": "string", "enum": ["on", "off"] }, "point": point,
                "endless": { "$ref": "#/$defs/endless" },
            },
        })
    }

    #[test]
    fn text_becomes_what_the_schema_wants() {
        let schema = schema();
        let schema = Schema::new(schema.as_object().expect("an object"));
        let check = |name: &str, text: &str, expected: Value| {
            let found = schema.argument(name).expect(name).shape.value(text.to_owned());
            assert_eq!(found, expected, "{name} {text}");
        };
        check("text", "5", json!("5"));
        check("text", "true", json!("true"));
        check("lamp", "on", json!("on"));
        check("small", "5", json!(5));
        check("small", "-5", json!(-5));
        check("small", "300", json!(300));
        for text in ["5.0", "1e2", "+5", " 5", "5 ", "0x5", "05", "", "-", "five", "5\n", "٥"] {
            check("small", text, json!(text));
        }
        check("small", "18446744073709551615", json!(u64::MAX));
        check("small", "-9223372036854775808", json!(i64::MIN));
        check("small", "9007199254740993", json!(9_007_199_254_740_993_u64));
        check("small", "18446744073709551616", json!("18446744073709551616"));
        // The nearest double is in range.
        check("small", "-9223372036854775809", json!("-9223372036854775809"));
        check("float", "18446744073709551616", json!(18_446_744_073_709_551_616.0));
        check("float", "1.5e3", json!(1500.0));
        check("float", "NaN", json!("NaN"));
        check("float", "1e400", json!("1e400"));
        check("maybe_float", "2", json!(2));
        check("flag", "true", json!(true));
        check("flag", "True", json!("True"));
        check("flag", "1", json!("1"));
        check("maybe", "7", json!(7));
        check("maybe", "null", json!("null"));
        check("texts", "a", json!(["a"]));
        check("lamps", "on", json!(["on"]));
        check("point", "{\"x\":1}", json!({ "x": 1 }));
        check("point", "{", json!("{"));
        check("pair", "[1,2]", json!([1, 2]));
        check("points", "[{\"x\":1}]", json!([{ "x": 1 }]));
        check("shape", "{}", json!({}));
        check("endless", "{}", json!({}));
        check("point", &"[".repeat(10_000), json!("[".repeat(10_000)));
        let values = |name: &str, texts: &[&str]| {
            schema.argument(name).expect(name).shape.values(texts.iter().map(|text| (*text).to_owned()).collect())
        };
        assert_eq!(values("texts", &["a", "b"]), Some(json!(["a", "b"])));
        assert_eq!(values("texts", &[]), Some(json!([])));
        assert_eq!(values("text", &["a", "b"]), None);
        assert_eq!(values("points", &["{}", "{}"]), None);
        assert!(schema.argument("nothing").is_none());
        assert!(
            schema.argument("small").expect("small").required && !schema.argument("maybe").expect("maybe").required
        );
    }

    proptest! {
        #[test]
        fn integers_of_64_bits_are_exact(signed: i64, unsigned: u64) {
            prop_assert_eq!(Shape::Integer.value(signed.to_string()), json!(signed));
            prop_assert_eq!(Shape::Integer.value(unsigned.to_string()), json!(unsigned));
        }

        #[test]
        fn floats_come_back(float in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            let text = serde_json::to_string(&float).expect("JSON");
            prop_assert_eq!(Shape::Number.value(text).as_f64(), Some(float));
        }

        /// What is no integer is left for the decoding to refuse, as it was written.
        #[test]
        fn any_text_is_a_number_or_itself(text in "[-+0-9eE. ]{0,24}|\\PC{0,12}") {
            match Shape::Integer.value(text.clone()) {
                Value::Number(number) => prop_assert!(is_integer(&text) && !number.is_f64()),
                value => prop_assert_eq!(value, Value::String(text)),
            }
        }
    }
}
