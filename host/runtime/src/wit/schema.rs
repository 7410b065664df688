//! JSON Schema 2020-12 of arguments and results. Named types stand in `$defs`, so that a schema's size is linear in
//! its types; every number in it is exact in a double.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::snake_case;
use serde_json::{Map, Value, json};

use super::MAX_BASE64;
use super::naming::InterfaceId;
use crate::component::{Case, Cases, Field, Function, Kind, TypeDef, TypeId, Types};

/// The key of a result that is no object by itself.
pub(super) const RESULT: &str = "result";
/// 2^64: the bound of `u64`, exclusive since the largest `u64` is not exact in a double.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
/// 2^63, likewise for `s64`.
const TWO_TO_63: u64 = 1 << 63;

/// The schema of a function's arguments.
pub(super) fn input_schema(types: &Types, function: &Function) -> Map<String, Value> {
    let params = || function.params.iter().map(|p| p.ty);
    let schemas = Schemas::new(types, Direction::Input, params());
    let fields = function.params.iter().map(|p| (p.name.json(), p.ty, None));
    schemas.with_defs(schemas.object(fields))
}

/// The schema of what a function returns when it succeeds.
pub(super) fn output_schema(types: &Types, function: &Function) -> Map<String, Value> {
    let Some(id) = success(types, function) else {
        return Schemas::new(types, Direction::Output, std::iter::empty()).object(std::iter::empty());
    };
    let schemas = Schemas::new(types, Direction::Output, std::iter::once(id));
    if !is_object(types, id) {
        let wrapped = schemas.object(std::iter::once((RESULT, id, None)));
        return schemas.with_defs(wrapped);
    }
    // The type of the whole result is written out at the top, where clients look for an object's fields.
    let mut schema = schemas.root(id);
    if !schema.contains_key("type") {
        let rest = std::mem::take(&mut schema);
        schema.insert("type".to_owned(), json!("object"));
        schema.extend(rest);
    }
    schemas.with_defs(schema)
}

/// The type of the value that a function returns when it succeeds, if there is one.
pub(super) fn success(types: &Types, function: &Function) -> Option<TypeId> {
    let id = function.result?;
    match types.kind(id) {
        Kind::Result { ok, .. } => *ok,
        _ => Some(id),
    }
}

/// Whether every value of the type is an object in JSON.
pub(super) fn is_object(types: &Types, id: TypeId) -> bool {
    matches!(types.kind(id), Kind::Record(_) | Kind::Variant(_) | Kind::Result { .. })
}

/// Arguments leave out what is none, results do not.
#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Input,
    Output,
}

struct Schemas<'a> {
    types: &'a Types,
    direction: Direction,
    /// The types in `$defs`, in the order in which they are met, and their keys there.
    named: Vec<TypeId>,
    keys: BTreeMap<TypeId, String>,
}

impl<'a> Schemas<'a> {
    fn new(types: &'a Types, direction: Direction, roots: impl Iterator<Item = TypeId>) -> Self {
        let mut named = Vec::new();
        let mut seen = BTreeSet::new();
        // A result that is an object is the root itself; nothing within it can refer to it.
        for root in roots {
            collect(types, root, &mut seen, &mut named);
        }
        let keys = keys(types, &named);
        Self { types, direction, named, keys }
    }

    /// Adds the definitions that `schema` refers to, directly or not.
    fn with_defs(&self, mut schema: Map<String, Value>) -> Map<String, Value> {
        let mut defs = Map::new();
        let mut wanted = BTreeSet::new();
        references(&Value::Object(schema.clone()), &mut wanted);
        for id in &self.named {
            if let Some(key) = self.keys.get(id) {
                defs.insert(key.clone(), Value::Object(self.described(*id)));
            }
        }
        // Only the root of a result can be without a reference, since types have no cycles.
        for (_, def) in &defs {
            references(def, &mut wanted);
        }
        defs.retain(|key, _| wanted.contains(key));
        if !defs.is_empty() {
            schema.insert("$defs".to_owned(), Value::Object(defs));
        }
        schema
    }

    /// The schema where a type is used.
    fn schema(&self, id: TypeId) -> Map<String, Value> {
        match self.keys.get(&id) {
            Some(key) => object([("$ref", json!(format!("#/$defs/{key}")))]),
            None => self.described(id),
        }
    }

    /// The schema of a whole result, behind other names of its type.
    fn root(&self, id: TypeId) -> Map<String, Value> {
        let def = self.types.def(id);
        let Kind::Alias(target) = def.kind else {
            return self.described(id);
        };
        let mut schema = self.root(target);
        if let Some(docs) = &def.docs {
            describe(&mut schema, docs.clone());
        }
        schema
    }

    /// The schema of a type with its doc comment.
    fn described(&self, id: TypeId) -> Map<String, Value> {
        let def = self.types.def(id);
        let mut schema = self.written_out(def);
        if let Some(docs) = description(def) {
            describe(&mut schema, docs);
        }
        schema
    }

    fn written_out(&self, def: &TypeDef) -> Map<String, Value> {
        match &def.kind {
            Kind::Bool => object([("type", json!("boolean"))]),
            Kind::U8 => integer(0, i64::from(u8::MAX)),
            Kind::S8 => integer(i64::from(i8::MIN), i64::from(i8::MAX)),
            Kind::U16 => integer(0, i64::from(u16::MAX)),
            Kind::S16 => integer(i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::U32 => integer(0, i64::from(u32::MAX)),
            Kind::S32 => integer(i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::U64 => {
                object([("type", json!("integer")), ("minimum", json!(0)), ("exclusiveMaximum", json!(TWO_TO_64))])
            }
            Kind::S64 => object([
                ("type", json!("integer")),
                ("minimum", json!(i64::MIN)),
                ("exclusiveMaximum", json!(TWO_TO_63)),
            ]),
            Kind::F32 => float(json!({
                "type": "number",
                "minimum": f64::from(f32::MIN),
                "maximum": f64::from(f32::MAX),
            })),
            Kind::F64 => float(json!({"type": "number"})),
            Kind::Char => object([("type", json!("string")), ("minLength", json!(1)), ("maxLength", json!(1))]),
            Kind::String => object([("type", json!("string"))]),
            Kind::Bytes => {
                let mut schema = object([("type", json!("string")), ("contentEncoding", json!("base64"))]);
                if self.direction == Direction::Input {
                    schema.insert("maxLength".to_owned(), json!(MAX_BASE64));
                }
                schema
            }
            Kind::List(element) => object([("type", json!("array")), ("items", self.schema(*element).into())]),
            Kind::Tuple(elements) => {
                // The two bounds close the tuple: clients do not take `"items": false`.
                let schemas: Vec<Value> = elements.iter().map(|id| self.schema(*id).into()).collect();
                object([
                    ("type", json!("array")),
                    ("minItems", json!(schemas.len())),
                    ("maxItems", json!(schemas.len())),
                    ("prefixItems", Value::Array(schemas)),
                ])
            }
            Kind::Record(fields) => self.object(fields.iter().map(property)),
            Kind::Variant(cases) => one_of(cases.iter().map(|case| self.case(case))),
            Kind::Enum(cases) => names(cases),
            Kind::Flags(cases) => {
                object([("type", json!("array")), ("items", names(cases).into()), ("uniqueItems", json!(true))])
            }
            Kind::Option(some) => {
                let some = if self.types.nullable(*some) {
                    self.required_object([("some", self.schema(*some))])
                } else {
                    self.schema(*some)
                };
                object([("anyOf", json!([some, {"type": "null"}]))])
            }
            Kind::Result { ok, err } => {
                let payload = |id: &Option<TypeId>| match id {
                    Some(id) => self.schema(*id),
                    None => object([("type", json!("null"))]),
                };
                one_of(
                    [("ok", payload(ok)), ("err", payload(err))].into_iter().map(|case| self.required_object([case])),
                )
            }
            Kind::Alias(target) => self.schema(*target),
        }
    }

    /// A closed object with these fields: name, type, doc comment.
    fn object<'f>(&self, fields: impl Iterator<Item = (&'f str, TypeId, Option<&'f str>)>) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, id, docs) in fields {
            let mut schema = self.schema(id);
            if let Some(docs) = docs {
                describe(&mut schema, docs.to_owned());
            }
            properties.insert(name.to_owned(), schema.into());
            if self.is_required(id) {
                required.push(name);
            }
        }
        closed(properties, &required)
    }

    fn case(&self, case: &Case) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = vec!["tag"];
        properties.insert("tag".to_owned(), json!({"const": case.name}));
        if let Some(id) = case.ty {
            properties.insert("value".to_owned(), self.schema(id).into());
            if self.is_required(id) {
                required.push("value");
            }
        }
        let mut schema = closed(properties, &required);
        if let Some(docs) = &case.docs {
            describe(&mut schema, docs.clone());
        }
        schema
    }

    fn required_object<const N: usize>(&self, fields: [(&str, Map<String, Value>); N]) -> Map<String, Value> {
        let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let properties = fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone().into()));
        closed(properties.collect(), &required)
    }

    fn is_required(&self, id: TypeId) -> bool {
        self.direction == Direction::Output || !self.types.nullable(id)
    }
}

fn property(field: &Field) -> (&str, TypeId, Option<&str>) {
    (field.name.json(), field.ty, field.docs.as_deref())
}

/// The doc comment of a type, with those of its cases where JSON Schema has no place for them.
fn description(def: &TypeDef) -> Option<String> {
    let mut text = def.docs.clone().unwrap_or_default();
    if let Kind::Enum(cases) | Kind::Flags(cases) = &def.kind {
        let mut first = true;
        for case in cases.iter() {
            if let Some(docs) = &case.docs {
                if !text.is_empty() {
                    text.push_str(if first { "\n\n" } else { "\n" });
                }
                first = false;
                text.push_str(&format!("- `{}`: {docs}", case.name));
            }
        }
    }
    (!text.is_empty()).then_some(text)
}

fn describe(schema: &mut Map<String, Value>, docs: String) {
    schema.insert("description".to_owned(), Value::String(docs));
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn closed(properties: Map<String, Value>, required: &[&str]) -> Map<String, Value> {
    let mut schema = object([("type", json!("object")), ("properties", properties.into())]);
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn one_of(cases: impl Iterator<Item = Map<String, Value>>) -> Map<String, Value> {
    object([("oneOf", cases.map(Value::Object).collect())])
}

fn integer(min: i64, max: i64) -> Map<String, Value> {
    object([("type", json!("integer")), ("minimum", json!(min)), ("maximum", json!(max))])
}

fn float(number: Value) -> Map<String, Value> {
    object([("anyOf", json!([number, {"enum": ["NaN", "Infinity", "-Infinity"]}]))])
}

fn names(cases: &Cases) -> Map<String, Value> {
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    object([("type", json!("string")), ("enum", json!(names))])
}

/// Finds the types that get a place in `$defs`, in the order in which a reader meets them.
fn collect(types: &Types, id: TypeId, seen: &mut BTreeSet<TypeId>, named: &mut Vec<TypeId>) {
    if !seen.insert(id) {
        return;
    }
    let def = types.def(id);
    let mut visit = |id: TypeId| collect(types, id, seen, named);
    match &def.kind {
        Kind::Record(fields) => {
            named.extend(def.name.is_some().then_some(id));
            fields.iter().for_each(|f| collect(types, f.ty, seen, named));
        }
        Kind::Variant(cases) => {
            named.extend(def.name.is_some().then_some(id));
            cases.iter().filter_map(|c| c.ty).for_each(|id| collect(types, id, seen, named));
        }
        Kind::Enum(_) | Kind::Flags(_) => named.extend(def.name.is_some().then_some(id)),
        Kind::List(id) | Kind::Option(id) | Kind::Alias(id) => visit(*id),
        Kind::Tuple(ids) => ids.iter().copied().for_each(visit),
        Kind::Result { ok, err } => ok.iter().chain(err).copied().for_each(visit),
        Kind::Bool
        | Kind::U8
        | Kind::S8
        | Kind::U16
        | Kind::S16
        | Kind::U32
        | Kind::S32
        | Kind::U64
        | Kind::S64
        | Kind::F32
        | Kind::F64
        | Kind::Char
        | Kind::String
        | Kind::Bytes => {}
    }
}

/// The keys of named types in `$defs`: their names, with their interfaces where two have the same one, and with a
/// number where even that is the same, as for two versions of a package.
fn keys(types: &Types, named: &[TypeId]) -> BTreeMap<TypeId, String> {
    let spellings: Vec<(TypeId, [String; 3])> = named
        .iter()
        .filter_map(|id| {
            let name = types.def(*id).name.as_ref()?;
            let own = snake_case(&name.name);
            let (short, full) = match name.interface.as_deref().map(InterfaceId::of) {
                None => (own.clone(), own.clone()),
                Some(interface) => {
                    let short = format!("{}_{own}", snake_case(interface.interface));
                    let full = match interface.package {
                        Some((n, p)) => format!("{}_{}_{short}", snake_case(n), snake_case(p)),
                        None => short.clone(),
                    };
                    (short, full)
                }
            };
            Some((*id, [own, short, full]))
        })
        .collect();
    let mut uses: BTreeMap<&str, BTreeSet<TypeId>> = BTreeMap::new();
    for (id, names) in &spellings {
        for name in names {
            uses.entry(name).or_default().insert(*id);
        }
    }
    let mut taken = BTreeSet::new();
    let mut keys = BTreeMap::new();
    for (id, names) in &spellings {
        let alone = names.iter().find(|name| uses.get(name.as_str()).is_some_and(|u| u.len() == 1));
        let base = alone.unwrap_or(&names[2]);
        let mut key = base.clone();
        let mut number: usize = 2;
        while !taken.insert(key.clone()) {
            key = format!("{base}_{number}");
            number = number.saturating_add(1);
        }
        keys.insert(*id, key);
    }
    keys
}

fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(target) if key == "$ref" => {
                        found.extend(target.strip_prefix("#/$defs/").map(str::to_owned));
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
