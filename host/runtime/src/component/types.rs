//! The types of a component's functions: an arena in which a definition refers only to earlier ones, so that it has no
//! cycle, whoever wrote it, and what the component shares is stored once.

use portcullis_policy::snake_case;
use serde::{Deserialize, Serialize};

/// Most definitions in an arena: a thousand functions with a hundred types each of their own would be more than any.
const MAX_TYPES: usize = 65_536;
/// Deepest nesting of a type. A value nests at most as deep in JSON, and `serde_json` reads 128 levels, of which the
/// protocol's envelope needs some.
pub(super) const MAX_NESTING: u8 = 64;
/// Most types, fields and cases of a definition when everything shared is written out: a bound on every walk along a
/// type, since a few dozen definitions that share can stand for an exponential number.
pub(super) const MAX_EXPANDED: u32 = 10_000;

/// A definition in a [`Types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TypeId(u32);

/// The types that a [`Description`](super::Description) refers to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Vec<TypeDef>")]
pub struct Types {
    defs: Vec<TypeDef>,
    facts: Vec<Facts>,
}

/// One definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypeDef {
    /// The name that the component exports or imports the type by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<TypeName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) docs: Option<String>,
    pub(crate) kind: Kind,
}

/// The name of a type and the interface that it stands in; none for a type of the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypeName {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interface: Option<String>,
    pub(crate) name: String,
}

/// What a type is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Bool,
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F32,
    F64,
    Char,
    String,
    /// `list<u8>`, also where the element is an alias of `u8`.
    Bytes,
    List(TypeId),
    Tuple(Vec<TypeId>),
    Record(Vec<Field>),
    Variant(Cases),
    Enum(Cases),
    Flags(Cases),
    Option(TypeId),
    Result {
        ok: Option<TypeId>,
        err: Option<TypeId>,
    },
    /// Another name of a type, kept where it has a doc comment of its own.
    Alias(TypeId),
}

impl Kind {
    /// What WIT calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::S8 => "s8",
            Self::U16 => "u16",
            Self::S16 => "s16",
            Self::U32 => "u32",
            Self::S32 => "s32",
            Self::U64 => "u64",
            Self::S64 => "s64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::String => "string",
            Self::Bytes => "list<u8>",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Record(_) => "record",
            Self::Variant(_) => "variant",
            Self::Enum(_) => "enum",
            Self::Flags(_) => "flags",
            Self::Option(_) => "option",
            Self::Result { .. } => "result",
            Self::Alias(_) => "alias",
        }
    }
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    pub(crate) name: Key,
    pub(crate) ty: TypeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) docs: Option<String>,
}

/// A case of a variant or an enum, or one of a set of flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ty: Option<TypeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) docs: Option<String>,
}

/// A WIT name that becomes a key of a JSON object: both spellings, so that no call makes the second one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) struct Key {
    wit: String,
    json: String,
}

impl Key {
    pub(crate) fn wit(&self) -> &str {
        &self.wit
    }

    pub(crate) fn json(&self) -> &str {
        &self.json
    }
}

impl From<String> for Key {
    fn from(wit: String) -> Self {
        let json = snake_case(&wit);
        Self { wit, json }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.wit
    }
}

/// Cases in the order of the WIT file, with an index by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Case>", into = "Vec<Case>")]
pub(crate) struct Cases {
    cases: Vec<Case>,
    by_name: Vec<usize>,
}

impl Cases {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Case> {
        self.cases.iter()
    }

    /// The position and the case of this name.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Case)> {
        let found =
            self.by_name.binary_search_by(|i| self.cases.get(*i).map(|c| c.name.as_str()).cmp(&Some(name))).ok()?;
        let position = *self.by_name.get(found)?;
        Some((position, self.cases.get(position)?))
    }
}

impl From<Vec<Case>> for Cases {
    fn from(cases: Vec<Case>) -> Self {
        let mut by_name: Vec<usize> = (0..cases.len()).collect();
        by_name.sort_by_key(|i| cases.get(*i).map(|c| c.name.as_str()));
        Self { cases, by_name }
    }
}

impl From<Cases> for Vec<Case> {
    fn from(cases: Cases) -> Self {
        cases.cases
    }
}

/// What is known of a definition from those that it refers to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Facts {
    nesting: u8,
    expanded: u32,
}

/// A definition that an arena does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TypeError {
    #[error("its types are nested more than {MAX_NESTING} deep")]
    Nesting,
    #[error("its types have more than {MAX_EXPANDED} parts")]
    Expanded,
    #[error("the component has more than {MAX_TYPES} types")]
    Count,
    #[error("a type refers to one that does not come before it")]
    Order,
}

impl Types {
    /// Adds a definition, which may refer only to those that are there.
    pub(super) fn push(&mut self, def: TypeDef) -> Result<TypeId, TypeError> {
        if self.defs.len() >= MAX_TYPES {
            return Err(TypeError::Count);
        }
        let id = u32::try_from(self.defs.len()).map_err(|_| TypeError::Count)?;
        let mut own: usize = 1;
        let mut nesting: u8 = 0;
        let mut expanded: u32 = 0;
        let mut refer = |child: TypeId| -> Result<(), TypeError> {
            let facts = self.facts.get(child.0 as usize).ok_or(TypeError::Order)?;
            nesting = nesting.max(facts.nesting);
            expanded = expanded.saturating_add(facts.expanded);
            Ok(())
        };
        match &def.kind {
            Kind::List(t) | Kind::Option(t) | Kind::Alias(t) => refer(*t)?,
            Kind::Tuple(ts) => ts.iter().try_for_each(|t| refer(*t))?,
            Kind::Record(fields) => fields.iter().try_for_each(|f| refer(f.ty))?,
            Kind::Variant(cases) | Kind::Enum(cases) | Kind::Flags(cases) => {
                own = own.saturating_add(cases.iter().len());
                cases.iter().filter_map(|c| c.ty).try_for_each(refer)?;
            }
            Kind::Result { ok, err } => ok.iter().chain(err).try_for_each(|t| refer(*t))?,
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
        let nesting = nesting.saturating_add(1);
        let expanded = expanded.saturating_add(u32::try_from(own).unwrap_or(u32::MAX));
        if nesting > MAX_NESTING {
            return Err(TypeError::Nesting);
        }
        if expanded > MAX_EXPANDED {
            return Err(TypeError::Expanded);
        }
        self.defs.push(def);
        self.facts.push(Facts { nesting, expanded });
        Ok(TypeId(id))
    }

    /// The definition of `id`, which must be of this arena.
    #[expect(
        clippy::indexing_slicing,
        reason = "ids are made by `push`, and those of a description are checked as it is read"
    )]
    pub(crate) fn def(&self, id: TypeId) -> &TypeDef {
        &self.defs[id.0 as usize]
    }

    /// What the type is, behind aliases.
    pub(crate) fn kind(&self, id: TypeId) -> &Kind {
        let mut kind = &self.def(id).kind;
        while let Kind::Alias(target) = kind {
            kind = &self.def(*target).kind;
        }
        kind
    }

    /// Whether `null` is a value of the type in JSON, so that an option of it needs a wrapping.
    pub(crate) fn nullable(&self, id: TypeId) -> bool {
        matches!(self.kind(id), Kind::Option(_))
    }

    /// The parts of the type when everything shared is written out.
    pub(super) fn expanded(&self, id: TypeId) -> u32 {
        self.facts.get(id.0 as usize).map_or(u32::MAX, |f| f.expanded)
    }

    pub(super) fn contains(&self, id: TypeId) -> bool {
        (id.0 as usize) < self.defs.len()
    }

    pub(super) fn len(&self) -> usize {
        self.defs.len()
    }

    /// Takes the definitions after the first `len` back.
    pub(super) fn truncate(&mut self, len: usize) {
        self.defs.truncate(len);
        self.facts.truncate(len);
    }
}

impl Serialize for Types {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.defs.serialize(serializer)
    }
}

impl TryFrom<Vec<TypeDef>> for Types {
    type Error = TypeError;
    fn try_from(defs: Vec<TypeDef>) -> Result<Self, TypeError> {
        let mut types = Self::default();
        for def in defs {
            types.push(def)?;
        }
        Ok(types)
    }
}
