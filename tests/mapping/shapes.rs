//! Random types and random values of them, in the terms of WIT and wasmtime and not of what is tested.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use wasmtime::component::Val;

/// A type as the tests see it, apart from what they test.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Primitive(&'static str),
    List(Box<Shape>),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
    Tuple(Vec<Shape>),
    Record(Vec<Shape>),
    Variant(Vec<Option<Shape>>),
    Enum(usize),
    Flags(usize),
    Alias(Box<Shape>),
}

const PRIMITIVES: [&str; 13] =
    ["bool", "u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64", "char", "string"];
/// Names of fields and cases: keywords, acronyms, and what JSON and schemas use.
const NAMES: [&str; 12] =
    ["a", "tag", "value", "get-URL", "type", "some", "ok", "err", "result", "B2-c", "record", "x-y-z"];

pub(crate) fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        6 => select(&PRIMITIVES).prop_map(Shape::Primitive),
        1 => Just(Shape::List(Box::new(Shape::Primitive("u8")))),
        1 => (1..NAMES.len()).prop_map(Shape::Enum),
        1 => (1..NAMES.len()).prop_map(Shape::Flags),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let payload = || proptest::option::of(inner.clone().prop_map(Box::new));
        prop_oneof![
            inner.clone().prop_map(|s| Shape::List(Box::new(s))),
            inner.clone().prop_map(|s| Shape::Option(Box::new(s))),
            (payload(), payload()).prop_map(|(ok, err)| Shape::Result(ok, err)),
            vec(inner.clone(), 1..4).prop_map(Shape::Tuple),
            vec(inner.clone(), 1..5).prop_map(Shape::Record),
            vec(proptest::option::of(inner.clone()), 1..5).prop_map(Shape::Variant),
            inner.clone().prop_map(|s| Shape::Alias(Box::new(s))),
        ]
    })
}

/// The type in WIT; what has to be declared goes to `declared`.
pub(crate) fn write(shape: &Shape, declared: &mut Vec<String>) -> String {
    let payload = |shape: &Option<Box<Shape>>, declared: &mut Vec<String>| match shape {
        Some(shape) => write(shape, declared),
        None => "_".to_owned(),
    };
    let declare = |keyword: &str, body: String, declared: &mut Vec<String>| {
        let name = format!("t{}", declared.len());
        declared.push(format!("{keyword} {name} {{ {body} }}\n"));
        name
    };
    let names = |n: usize| NAMES[..n].iter().map(|n| format!("%{n}")).collect::<Vec<_>>().join(", ");
    match shape {
        Shape::Primitive(name) => (*name).to_owned(),
        Shape::List(element) => format!("list<{}>", write(element, declared)),
        Shape::Option(some) => format!("option<{}>", write(some, declared)),
        Shape::Result(None, None) => "result".to_owned(),
        Shape::Result(Some(ok), None) => format!("result<{}>", write(ok, declared)),
        Shape::Result(ok, err) => format!("result<{}, {}>", payload(ok, declared), payload(err, declared)),
        Shape::Tuple(shapes) => {
            let types: Vec<String> = shapes.iter().map(|s| write(s, declared)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        Shape::Record(shapes) => {
            let fields: Vec<String> =
                shapes.iter().zip(NAMES).map(|(s, name)| format!("%{name}: {}", write(s, declared))).collect();
            declare("record", fields.join(", "), declared)
        }
        Shape::Variant(shapes) => {
            let cases: Vec<String> = shapes
                .iter()
                .zip(NAMES)
                .map(|(s, name)| match s {
                    Some(s) => format!("%{name}({})", write(s, declared)),
                    None => format!("%{name}"),
                })
                .collect();
            declare("variant", cases.join(", "), declared)
        }
        Shape::Enum(n) => declare("enum", names(*n), declared),
        Shape::Flags(n) => declare("flags", names(*n), declared),
        Shape::Alias(of) => {
            let of = write(of, declared);
            let name = format!("t{}", declared.len());
            declared.push(format!("type {name} = {of};\n"));
            name
        }
    }
}

pub(crate) fn values(shape: &Shape) -> BoxedStrategy<Val> {
    let boxed = |shape: &Option<Box<Shape>>| match shape {
        Some(shape) => values(shape).prop_map(|v| Some(Box::new(v))).boxed(),
        None => Just(None).boxed(),
    };
    match shape {
        Shape::Primitive(name) => primitive(name),
        Shape::List(element) => vec(values(element), 0..4).prop_map(Val::List).boxed(),
        Shape::Option(some) => proptest::option::of(values(some).prop_map(Box::new)).prop_map(Val::Option).boxed(),
        Shape::Result(ok, err) => {
            prop_oneof![boxed(ok).prop_map(|v| Val::Result(Ok(v))), boxed(err).prop_map(|v| Val::Result(Err(v))),]
                .boxed()
        }
        Shape::Tuple(shapes) => shapes.iter().map(values).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Shape::Record(shapes) => shapes
            .iter()
            .map(values)
            .collect::<Vec<_>>()
            .prop_map(|values| Val::Record(values.into_iter().zip(NAMES).map(|(v, n)| (n.to_owned(), v)).collect()))
            .boxed(),
        Shape::Variant(shapes) => {
            let shapes = shapes.clone();
            (0..shapes.len())
                .prop_flat_map(move |i| {
                    let payload = shapes[i].clone().map(Box::new);
                    match payload {
                        Some(s) => values(&s).prop_map(|v| Some(Box::new(v))).boxed(),
                        None => Just(None).boxed(),
                    }
                    .prop_map(move |payload| Val::Variant(NAMES[i].to_owned(), payload))
                })
                .boxed()
        }
        Shape::Enum(n) => select(&NAMES[..*n]).prop_map(|name| Val::Enum(name.to_owned())).boxed(),
        Shape::Flags(n) => btree_set(0..*n, 0..=*n)
            .prop_map(|set| Val::Flags(set.into_iter().map(|i| NAMES[i].to_owned()).collect()))
            .boxed(),
        Shape::Alias(of) => values(of),
    }
}

fn primitive(name: &str) -> BoxedStrategy<Val> {
    macro_rules! integer {
        ($ty:ident, $val:ident) => {
            prop_oneof![any::<$ty>(), select(vec![$ty::MIN, $ty::MAX, 0, 1])].prop_map(Val::$val).boxed()
        };
    }
    match name {
        "bool" => any::<bool>().prop_map(Val::Bool).boxed(),
        "u8" => integer!(u8, U8),
        "s8" => integer!(i8, S8),
        "u16" => integer!(u16, U16),
        "s16" => integer!(i16, S16),
        "u32" => integer!(u32, U32),
        "s32" => integer!(i32, S32),
        "u64" => integer!(u64, U64),
        "s64" => integer!(i64, S64),
        "f32" => (proptest::num::f32::ANY | proptest::num::f32::INFINITE).prop_map(Val::Float32).boxed(),
        "f64" => (proptest::num::f64::ANY | proptest::num::f64::INFINITE).prop_map(Val::Float64).boxed(),
        "char" => any::<char>().prop_map(Val::Char).boxed(),
        "string" => any::<String>().prop_map(Val::String).boxed(),
        other => panic!("{other}"),
    }
}
