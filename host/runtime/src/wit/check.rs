//! The description against wasmtime's own view of the component: what was decoded, and approved, is what runs.

use wasmtime::Engine;
use wasmtime::component::types::{Case as WasmCase, ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::component::{Cases, Description, Function, Kind, TypeId, Types};

/// A function that wasmtime sees otherwise than it was described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the function `{function}` was described otherwise than it is: {detail}")]
pub struct Mismatch {
    /// The function's full name.
    pub function: String,
    /// What differs.
    pub detail: String,
}

/// Compares every function that can be a tool with the compiled component.
///
/// # Errors
/// At the first function that differs.
pub fn check(description: &Description, component: &Component, engine: &Engine) -> Result<(), Mismatch> {
    let ty = component.component_type();
    for function in description.functions.iter().filter(|f| f.obstacle.is_none()) {
        let mismatch = |detail: String| Mismatch { function: function.full_name(), detail };
        let item = match &function.interface {
            None => ty.get_export(engine, &function.name).map(|e| e.ty),
            Some(interface) => match ty.get_export(engine, interface).map(|e| e.ty) {
                Some(ComponentItem::ComponentInstance(instance)) => {
                    instance.get_export(engine, &function.name).map(|e| e.ty)
                }
                _ => None,
            },
        };
        match item {
            Some(ComponentItem::ComponentFunc(found)) => {
                check_function(&description.types, function, &found).map_err(mismatch)?;
            }
            Some(_) => return Err(mismatch("it is no function".to_owned())),
            None => return Err(mismatch("it is not exported".to_owned())),
        }
    }
    Ok(())
}

/// Finds a function in the compiled component.
pub fn export_index(description: &Description, function: usize, component: &Component) -> Option<ComponentExportIndex> {
    let function = description.functions.get(function)?;
    let instance = match &function.interface {
        Some(interface) => Some(component.get_export_index(None, interface.as_str())?),
        None => None,
    };
    component.get_export_index(instance.as_ref(), function.name.as_str())
}

fn check_function(types: &Types, function: &Function, found: &ComponentFunc) -> Result<(), String> {
    if found.async_() {
        return Err("it is asynchronous".to_owned());
    }
    let params = found.params();
    if params.len() != function.params.len() {
        return Err(format!("it has {} parameters, expected {}", params.len(), function.params.len()));
    }
    for (param, (name, ty)) in function.params.iter().zip(params) {
        if param.name.wit() != name {
            return Err(format!("a parameter is called `{name}`, expected `{}`", param.name.wit()));
        }
        compare(types, param.ty, &ty).map_err(|detail| format!("parameter `{name}`: {detail}"))?;
    }
    let mut results = found.results();
    match (function.result, results.next(), results.next()) {
        (None, None, None) => Ok(()),
        (Some(id), Some(ty), None) => compare(types, id, &ty).map_err(|detail| format!("result: {detail}")),
        _ => Err("the number of its results differs".to_owned()),
    }
}

// The time of this is bounded by `MAX_EXPANDED_TOTAL` where functions were described, its depth by the nesting.
fn compare(types: &Types, id: TypeId, found: &Type) -> Result<(), String> {
    let kind = types.kind(id);
    let same = match (kind, found) {
        (Kind::Bool, Type::Bool)
        | (Kind::U8, Type::U8)
        | (Kind::S8, Type::S8)
        | (Kind::U16, Type::U16)
        | (Kind::S16, Type::S16)
        | (Kind::U32, Type::U32)
        | (Kind::S32, Type::S32)
        | (Kind::U64, Type::U64)
        | (Kind::S64, Type::S64)
        | (Kind::F32, Type::Float32)
        | (Kind::F64, Type::Float64)
        | (Kind::Char, Type::Char)
        | (Kind::String, Type::String) => true,
        (Kind::Bytes, Type::List(list)) => list.ty() == Type::U8,
        (Kind::List(element), Type::List(list)) => return compare(types, *element, &list.ty()),
        (Kind::Option(some), Type::Option(option)) => return compare(types, *some, &option.ty()),
        (Kind::Tuple(elements), Type::Tuple(tuple)) if tuple.types().len() == elements.len() => {
            return elements.iter().zip(tuple.types()).try_for_each(|(id, ty)| compare(types, *id, &ty));
        }
        (Kind::Record(fields), Type::Record(record)) if record.fields().len() == fields.len() => {
            for (field, found) in fields.iter().zip(record.fields()) {
                if field.name.wit() != found.name {
                    return Err(format!("a field is called `{}`, expected `{}`", found.name, field.name.wit()));
                }
                compare(types, field.ty, &found.ty)?;
            }
            true
        }
        (Kind::Variant(cases), Type::Variant(variant)) => return compare_cases(types, cases, variant.cases()),
        (Kind::Enum(cases), Type::Enum(found)) => same_names(cases, found.names()),
        (Kind::Flags(cases), Type::Flags(found)) => same_names(cases, found.names()),
        (Kind::Result { ok, err }, Type::Result(result)) => {
            compare_payload(types, *ok, result.ok().as_ref())?;
            return compare_payload(types, *err, result.err().as_ref());
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("it is no {}", kind.name())) }
}

fn compare_cases<'a>(
    types: &Types,
    cases: &Cases,
    found: impl ExactSizeIterator<Item = WasmCase<'a>>,
) -> Result<(), String> {
    if cases.iter().len() != found.len() {
        return Err("the number of cases differs".to_owned());
    }
    for (case, found) in cases.iter().zip(found) {
        if case.name != found.name {
            return Err(format!("a case is called `{}`, expected `{}`", found.name, case.name));
        }
        compare_payload(types, case.ty, found.ty.as_ref())?;
    }
    Ok(())
}

fn compare_payload(types: &Types, id: Option<TypeId>, found: Option<&Type>) -> Result<(), String> {
    match (id, found) {
        (None, None) => Ok(()),
        (Some(id), Some(ty)) => compare(types, id, ty),
        _ => Err("one has a payload, the other has none".to_owned()),
    }
}

fn same_names<'a>(cases: &Cases, found: impl Iterator<Item = &'a str>) -> bool {
    cases.iter().map(|case| case.name.as_str()).eq(found)
}
