//! From `wasmparser`'s types of an exported function to the arena, or to the reason why it cannot be a tool.

use std::collections::HashMap;

use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentFuncType, ComponentValType,
};
use wasmparser::{PrimitiveValType, types::TypesRef};

use super::sections::Docs;
use super::types::{Case, Cases, Field, Key, Kind, MAX_EXPANDED, TypeDef, TypeError, TypeId, TypeName, Types};

/// Longest name of a parameter, field, case or type, in bytes: they become keys of a schema that a model reads.
pub(super) const MAX_NAME: usize = 256;
/// Longest chain of names for one type: WIT files have one or two.
const MAX_ALIASES: usize = 100;
/// Most parts of all functions together, everything shared written out: a bound on the time of comparing and of writing
/// schemas.
const MAX_EXPANDED_TOTAL: u32 = 200_000;

/// Why a function cannot be a tool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Obstacle {
    #[error("its signature has a handle of a resource")]
    Handle,
    #[error("its signature has a `{0}`")]
    Kind(&'static str),
    #[error("it is asynchronous")]
    Async,
    #[error("it is a constructor, a method or a static function of a resource")]
    OfResource,
    #[error("a name in its signature has {0} bytes, more than {MAX_NAME}")]
    Name(usize),
    #[error("a type in its signature has more than {MAX_ALIASES} names")]
    Aliases,
    #[error("its types have more than {MAX_EXPANDED} parts")]
    Expanded,
    #[error("the types of all functions before it and its own have more than {MAX_EXPANDED_TOTAL} parts")]
    Total,
    #[error("a type in its signature is not there")]
    Unknown,
    #[error(transparent)]
    Types(#[from] TypeError),
}

/// The signature of a function.
pub(super) struct Signature {
    pub(super) params: Vec<(Key, TypeId)>,
    pub(super) result: Option<TypeId>,
}

/// The name of an imported or exported type, and the type that it was made a name of.
struct Named {
    name: TypeName,
    referenced: ComponentDefinedTypeId,
}

/// The conversion of all functions of one component.
pub(super) struct Converter<'a> {
    wasm: TypesRef<'a>,
    docs: &'a mut Docs,
    types: Types,
    names: HashMap<ComponentDefinedTypeId, Named>,
    known: HashMap<ComponentDefinedTypeId, TypeId>,
    /// The keys of `known` in the order in which they came, to take them back.
    learnt: Vec<ComponentDefinedTypeId>,
    primitives: HashMap<&'static str, TypeId>,
    expanded: u32,
}

impl<'a> Converter<'a> {
    pub(super) fn new(wasm: TypesRef<'a>, docs: &'a mut Docs) -> Self {
        Self {
            wasm,
            docs,
            types: Types::default(),
            names: HashMap::new(),
            known: HashMap::new(),
            learnt: Vec::new(),
            primitives: HashMap::new(),
            expanded: 0,
        }
    }

    /// Notes the name by which the type `created` is imported or exported, another name of `referenced`. The first
    /// name counts.
    pub(super) fn name_type(
        &mut self,
        created: ComponentAnyTypeId,
        referenced: ComponentAnyTypeId,
        interface: Option<&str>,
        name: &str,
    ) {
        if let (ComponentAnyTypeId::Defined(created), ComponentAnyTypeId::Defined(referenced)) = (created, referenced)
            && name.len() <= MAX_NAME
        {
            self.names.entry(created).or_insert_with(|| Named {
                name: TypeName { interface: interface.map(str::to_owned), name: name.to_owned() },
                referenced,
            });
        }
    }

    pub(super) fn into_types(self) -> Types {
        self.types
    }

    pub(super) fn docs(&mut self) -> &mut Docs {
        self.docs
    }

    /// Converts a signature. What a function with an obstacle had added is taken back.
    pub(super) fn signature(&mut self, name: &str, ty: &ComponentFuncType) -> Result<Signature, Obstacle> {
        if name.starts_with('[') {
            return Err(Obstacle::OfResource);
        }
        if ty.async_ {
            return Err(Obstacle::Async);
        }
        let (types, learnt) = (self.types.len(), self.learnt.len());
        let signature = self.convert_signature(ty);
        if signature.is_err() {
            self.types.truncate(types);
            for id in self.learnt.drain(learnt..) {
                self.known.remove(&id);
            }
            self.primitives.retain(|_, id| self.types.contains(*id));
        }
        signature
    }

    fn convert_signature(&mut self, ty: &ComponentFuncType) -> Result<Signature, Obstacle> {
        let mut expanded: u32 = 0;
        let mut params = Vec::with_capacity(ty.params.len());
        for (name, ty) in &ty.params {
            let id = self.value(ty)?;
            expanded = expanded.saturating_add(self.types.expanded(id));
            params.push((Key::from(checked(name.as_str())?), id));
        }
        let result = ty.result.as_ref().map(|ty| self.value(ty)).transpose()?;
        expanded = expanded.saturating_add(result.map_or(0, |id| self.types.expanded(id)));
        if expanded > MAX_EXPANDED {
            return Err(Obstacle::Expanded);
        }
        let total = self.expanded.saturating_add(expanded);
        if total > MAX_EXPANDED_TOTAL {
            return Err(Obstacle::Total);
        }
        self.expanded = total;
        Ok(Signature { params, result })
    }

    // The recursion of this and what it calls is bounded by `wasmparser`, which refuses types nested more than 100 deep
    // (`MAX_WASM_COMPONENT_TYPE_DEPTH`), and what is shared is converted once.
    fn value(&mut self, ty: &ComponentValType) -> Result<TypeId, Obstacle> {
        match ty {
            ComponentValType::Primitive(ty) => self.primitive(*ty),
            ComponentValType::Type(id) => self.defined(*id),
        }
    }

    fn primitive(&mut self, ty: PrimitiveValType) -> Result<TypeId, Obstacle> {
        let (name, kind) = primitive(ty)?;
        if let Some(id) = self.primitives.get(name) {
            return Ok(*id);
        }
        let id = self.types.push(TypeDef { name: None, docs: None, kind })?;
        self.primitives.insert(name, id);
        Ok(id)
    }

    fn defined(&mut self, id: ComponentDefinedTypeId) -> Result<TypeId, Obstacle> {
        // From the id that was referred to, back through what it is another name of, to the definition.
        let mut chain = vec![id];
        let mut current = id;
        let mut target = self.known.get(&id).copied();
        while target.is_none()
            && let Some(next) = self.behind(current)
        {
            if chain.len() >= MAX_ALIASES {
                return Err(Obstacle::Aliases);
            }
            target = self.known.get(&next).copied();
            chain.push(next);
            current = next;
        }
        let names: Vec<TypeName> =
            chain.iter().rev().filter_map(|id| self.names.get(id)).map(|named| named.name.clone()).collect();
        let mut target = match target {
            Some(target) => target,
            None => self.define(current, &names)?,
        };
        for id in chain.into_iter().rev() {
            if self.known.contains_key(&id) {
                continue;
            }
            if let Some(named) = self.names.get(&id) {
                target = self.alias(target, named.name.clone())?;
            }
            self.known.insert(id, target);
            self.learnt.push(id);
        }
        Ok(target)
    }

    /// What a type is another name of.
    fn behind(&self, id: ComponentDefinedTypeId) -> Option<ComponentDefinedTypeId> {
        match self.names.get(&id) {
            Some(named) if named.referenced != id => Some(named.referenced),
            _ => self.wasm.peel_alias(id),
        }
    }

    /// Another name of a known type: a definition of its own only where it has a comment of its own.
    fn alias(&mut self, target: TypeId, name: TypeName) -> Result<TypeId, Obstacle> {
        let Some(docs) = self.docs.of_type(name.interface.as_deref(), &name.name) else {
            return Ok(target);
        };
        if self.types.def(target).docs.as_ref() == Some(&docs) {
            return Ok(target);
        }
        Ok(self.types.push(TypeDef { name: None, docs: Some(docs), kind: Kind::Alias(target) })?)
    }

    /// A definition with its names, the first one first: it keeps that, and the comments of the first that has some.
    fn define(&mut self, id: ComponentDefinedTypeId, names: &[TypeName]) -> Result<TypeId, Obstacle> {
        let wasm = self.wasm;
        let kind = self.kind(wasm.get(id).ok_or(Obstacle::Unknown)?, names)?;
        let docs = names.iter().find_map(|n| self.docs.of_type(n.interface.as_deref(), &n.name));
        Ok(self.types.push(TypeDef { name: names.first().cloned(), docs, kind })?)
    }

    fn kind(&mut self, ty: &ComponentDefinedType, names: &[TypeName]) -> Result<Kind, Obstacle> {
        Ok(match ty {
            ComponentDefinedType::Primitive(ty) => primitive(*ty)?.1,
            ComponentDefinedType::List { element, .. } => {
                let element = self.value(element)?;
                match self.types.kind(element) {
                    Kind::U8 => Kind::Bytes,
                    _ => Kind::List(element),
                }
            }
            ComponentDefinedType::Tuple(tuple) => {
                Kind::Tuple(tuple.types.iter().map(|ty| self.value(ty)).collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Option { ty, .. } => Kind::Option(self.value(ty)?),
            ComponentDefinedType::Result { ok, err, .. } => Kind::Result {
                ok: ok.as_ref().map(|ty| self.value(ty)).transpose()?,
                err: err.as_ref().map(|ty| self.value(ty)).transpose()?,
            },
            ComponentDefinedType::Record(record) => {
                let mut fields = Vec::new();
                for (field, ty) in &record.fields {
                    fields.push(Field {
                        name: Key::from(checked(field.as_str())?),
                        ty: self.value(ty)?,
                        docs: self.item_docs(names, field.as_str()),
                    });
                }
                Kind::Record(fields)
            }
            ComponentDefinedType::Variant(variant) => {
                let mut cases = Vec::new();
                for (case, ty) in &variant.cases {
                    let ty = ty.ty.as_ref().map(|ty| self.value(ty)).transpose()?;
                    cases.push(self.case(names, case.as_str(), ty)?);
                }
                Kind::Variant(cases.into())
            }
            ComponentDefinedType::Enum(cases) => Kind::Enum(self.cases(names, cases.iter().map(|c| c.as_str()))?),
            ComponentDefinedType::Flags(cases) => Kind::Flags(self.cases(names, cases.iter().map(|c| c.as_str()))?),
            ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => return Err(Obstacle::Handle),
            ComponentDefinedType::Map { .. } => return Err(Obstacle::Kind("map")),
            ComponentDefinedType::FixedLengthList { .. } => return Err(Obstacle::Kind("list of fixed length")),
            ComponentDefinedType::Future { .. } => return Err(Obstacle::Kind("future")),
            ComponentDefinedType::Stream { .. } => return Err(Obstacle::Kind("stream")),
        })
    }

    fn cases<'n>(&self, names: &[TypeName], cases: impl Iterator<Item = &'n str>) -> Result<Cases, Obstacle> {
        let cases: Result<Vec<Case>, Obstacle> = cases.map(|case| self.case(names, case, None)).collect();
        Ok(cases?.into())
    }

    fn case(&self, names: &[TypeName], case: &str, ty: Option<TypeId>) -> Result<Case, Obstacle> {
        Ok(Case { name: checked(case)?, ty, docs: self.item_docs(names, case) })
    }

    fn item_docs(&self, names: &[TypeName], item: &str) -> Option<String> {
        names.iter().find_map(|n| self.docs.of_item(n.interface.as_deref(), &n.name, item))
    }
}

fn checked(name: &str) -> Result<String, Obstacle> {
    if name.len() > MAX_NAME {
        return Err(Obstacle::Name(name.len()));
    }
    Ok(name.to_owned())
}

fn primitive(ty: PrimitiveValType) -> Result<(&'static str, Kind), Obstacle> {
    Ok(match ty {
        PrimitiveValType::Bool => ("bool", Kind::Bool),
        PrimitiveValType::S8 => ("s8", Kind::S8),
        PrimitiveValType::U8 => ("u8", Kind::U8),
        PrimitiveValType::S16 => ("s16", Kind::S16),
        PrimitiveValType::U16 => ("u16", Kind::U16),
        PrimitiveValType::S32 => ("s32", Kind::S32),
        PrimitiveValType::U32 => ("u32", Kind::U32),
        PrimitiveValType::S64 => ("s64", Kind::S64),
        PrimitiveValType::U64 => ("u64", Kind::U64),
        PrimitiveValType::F32 => ("f32", Kind::F32),
        PrimitiveValType::F64 => ("f64", Kind::F64),
        PrimitiveValType::Char => ("char", Kind::Char),
        PrimitiveValType::String => ("string", Kind::String),
        PrimitiveValType::ErrorContext => return Err(Obstacle::Kind("error-context")),
    })
}
