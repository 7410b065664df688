//! The doc comments of a plugin's WIT, for the component that was made from it.
//!
//! The component says what there is, the WIT package says what it is for. Only what is in both is described:
//! `wit_component::decode` fails on a component that describes what it does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{
    Function, FunctionKind, Interface, InterfaceId, PackageId, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner,
    World, WorldId, WorldItem, WorldKey,
};

use crate::reading;

/// The longest description that a tool may have (`THREATS.md`, "Definitions and bytes"), in bytes.
const MAX_DESCRIPTION: usize = 4 << 10;
/// The instance that componentize-py exports beside those of the WIT; the host makes no tools of it.
const STRAY_INSTANCE: &str = "exports";
/// How many names a warning lists: the rest is counted.
const NAMES_IN_WARNING: usize = 5;

/// The texts of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FunctionDocs {
    docs: String,
}

/// The texts of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TypeDocs {
    #[serde(skip_serializing_if = "Option::is_none")]
    docs: Option<String>,
    /// By record field, variant or enum case, or flag.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    items: BTreeMap<String, String>,
}

/// The texts of what the component's world holds itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RootDocs {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    func_exports: BTreeMap<String, FunctionDocs>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    types: BTreeMap<String, TypeDocs>,
}

/// The texts of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct InterfaceDocs {
    #[serde(skip_serializing_if = "Option::is_none")]
    docs: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    funcs: BTreeMap<String, FunctionDocs>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    types: BTreeMap<String, TypeDocs>,
}

/// All texts for one component, sorted, so that the same WIT gives the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Descriptions {
    pub(crate) root: RootDocs,
    /// By full id (`ns:package/interface@1.0.0`), or by the name of the export for an interface written in the world.
    pub(crate) interfaces: BTreeMap<String, InterfaceDocs>,
}

impl RootDocs {
    pub(crate) fn is_empty(&self) -> bool {
        self.func_exports.is_empty() && self.types.is_empty()
    }
}

impl Descriptions {
    /// The content of the section `package-docs`: a component decodes as the world `root` of a package.
    pub(crate) fn package_docs(&self) -> impl Serialize {
        BTreeMap::from([("worlds", BTreeMap::from([("root", &self.root)]))])
    }

    /// The content of the section `portcullis:docs`.
    pub(crate) fn docs(&self) -> impl Serialize {
        BTreeMap::from([("interfaces", &self.interfaces)])
    }
}

/// Bytes that do not decode as a component, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotDecoded(String);

/// The texts for `component` in the WIT package at `wit` (a folder with its `deps`, or a file), and what is odd.
///
/// # Errors
/// When the bytes are no component. WIT that cannot be read or does not fit is a warning: without descriptions the
/// component runs all the same.
pub(crate) fn describe(component: &[u8], wit: &Path) -> Result<(Descriptions, Vec<String>), NotDecoded> {
    let (built, root) = decode_component(component)?;
    if !wit.exists() {
        let warning = format!("the tools have no descriptions: there is no `{}`", wit.display());
        return Ok((Descriptions::default(), vec![warning]));
    }
    let (source, package) = match reading::wit(wit) {
        Ok(read) => read,
        Err(reason) => {
            let warning = format!("the tools have no descriptions, since the WIT cannot be read: {reason}");
            return Ok((Descriptions::default(), vec![warning]));
        }
    };
    let Some(root) = built.worlds.get(root) else {
        return Ok(Default::default());
    };
    let mut matching = Matching {
        built: &built,
        world: likeliest_world(&source, package, &built, root),
        named: source.interfaces.iter().filter_map(|(id, interface)| Some((source.id_of(id)?, interface))).collect(),
        source: &source,
        undescribed: Vec::new(),
        warnings: Vec::new(),
    };
    let descriptions = Descriptions { root: matching.root(root), interfaces: matching.interfaces(root) };
    Ok((descriptions, matching.warnings()))
}

/// Whether `wit_parser`, and so every tool that builds on it, takes the component with the sections that it has.
pub(crate) fn decode_component(component: &[u8]) -> Result<(Resolve, WorldId), NotDecoded> {
    match decode(component) {
        Ok(DecodedWasm::Component(resolve, world)) => Ok((resolve, world)),
        Ok(DecodedWasm::WitPackage(..)) => Err(NotDecoded("a WIT package, not a component".into())),
        Err(error) => Err(NotDecoded(format!("{error:#}"))),
    }
}

/// The world of the package that the component was made from, so far as its exports tell; a component does not say.
fn likeliest_world<'a>(source: &'a Resolve, package: PackageId, built: &Resolve, root: &World) -> Option<&'a World> {
    let wanted: BTreeSet<String> = root.exports.keys().map(|key| built.name_world_key(key)).collect();
    let worlds = source.packages.get(package)?.worlds.values();
    let counted = worlds.filter_map(|id| source.worlds.get(*id)).map(|world| {
        let exports = world.exports.keys().map(|key| source.name_world_key(key));
        (exports.filter(|name| wanted.contains(name)).count(), world)
    });
    // The first of the best: a package lists its worlds in the order of the text.
    counted.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, world)| world)
}

/// A component and the WIT that it was made from.
struct Matching<'a> {
    built: &'a Resolve,
    source: &'a Resolve,
    world: Option<&'a World>,
    /// The interfaces of the WIT by full id.
    named: BTreeMap<String, &'a Interface>,
    undescribed: Vec<String>,
    warnings: Vec<String>,
}

impl<'a> Matching<'a> {
    fn root(&mut self, root: &World) -> RootDocs {
        let mut docs = RootDocs::default();
        let Some(world) = self.world else {
            return docs;
        };
        for (key, item) in &root.exports {
            if let (WorldKey::Name(name), WorldItem::Function(_)) = (key, item) {
                match world.exports.get(key) {
                    Some(WorldItem::Function(function)) => {
                        docs.func_exports.extend(self.function(function, name));
                    }
                    _ => self.undescribed.push(name.clone()),
                }
            }
        }
        // Types of a world are imports of it, in WIT as in a component.
        for (key, item) in &root.imports {
            if let (WorldKey::Name(name), WorldItem::Type { id, .. }) = (key, item)
                && let Some(WorldItem::Type { id: source, .. }) = world.imports.get(key)
                && let Some(found) = self.type_docs(*source, *id)
            {
                docs.types.insert(name.clone(), found);
            }
        }
        docs
    }

    /// The exported interfaces, and those that they have types from, however far.
    fn interfaces(&mut self, root: &World) -> BTreeMap<String, InterfaceDocs> {
        let built = self.built;
        let mut found = BTreeMap::new();
        let mut open: Vec<(String, InterfaceId, bool)> = Vec::new();
        for (key, item) in &root.exports {
            let name = built.name_world_key(key);
            if let WorldItem::Interface { id, .. } = item
                && !name.starts_with("wasi:")
            {
                open.push((name, *id, true));
            }
        }
        for (_, item) in &root.imports {
            if let WorldItem::Type { id, .. } = item {
                open.extend(self.origin(*id).map(|(name, id)| (name, id, false)));
            }
        }
        let mut seen = BTreeSet::new();
        while let Some((name, id, exported)) = open.pop() {
            let Some(interface) = built.interfaces.get(id) else {
                continue;
            };
            // An exported interface that others use types from is met twice; the way of the export says more.
            if !seen.insert((name.clone(), exported)) {
                continue;
            }
            for type_id in interface.types.values() {
                open.extend(self.origin(*type_id).map(|(name, id)| (name, id, false)));
            }
            let docs = self.interface(&name, interface, exported);
            if docs != InterfaceDocs::default() && (exported || !found.contains_key(&name)) {
                found.insert(name, docs);
            }
        }
        found
    }

    /// The interface that a type was taken from with `use`.
    fn origin(&self, id: TypeId) -> Option<(String, InterfaceId)> {
        let TypeDefKind::Type(Type::Id(of)) = self.built.types.get(id)?.kind else {
            return None;
        };
        let TypeOwner::Interface(interface) = self.built.types.get(of)?.owner else {
            return None;
        };
        Some((self.built.id_of(interface)?, interface))
    }

    fn interface(&mut self, name: &str, built: &Interface, exported: bool) -> InterfaceDocs {
        let mut docs = InterfaceDocs::default();
        let Some(source) = self.source_interface(name) else {
            if exported && name != STRAY_INSTANCE {
                self.warnings
                    .push(format!("the tools of `{name}` have no descriptions: the WIT has no such interface"));
            }
            return docs;
        };
        docs.docs.clone_from(&source.docs.contents);
        if exported {
            for (function, _) in &built.functions {
                if let Some(found) = source.functions.get(function) {
                    let described = self.function(found, &format!("{name}#{function}"));
                    docs.funcs.extend(described.map(|(_, docs)| (function.clone(), docs)));
                }
            }
        }
        for (type_name, id) in &built.types {
            if let Some(source) = source.types.get(type_name)
                && let Some(found) = self.type_docs(*source, *id)
            {
                docs.types.insert(type_name.clone(), found);
            }
        }
        docs
    }

    fn source_interface(&self, name: &str) -> Option<&'a Interface> {
        if let Some(interface) = self.named.get(name) {
            return Some(interface);
        }
        match self.world?.exports.get(&WorldKey::Name(name.into()))? {
            WorldItem::Interface { id, .. } => self.source.interfaces.get(*id),
            WorldItem::Function(_) | WorldItem::Type { .. } => None,
        }
    }

    /// The name and the texts of a function that can be a tool; methods of resources cannot.
    fn function(&mut self, function: &Function, shown: &str) -> Option<(String, FunctionDocs)> {
        if !matches!(function.kind, FunctionKind::Freestanding | FunctionKind::AsyncFreestanding) {
            return None;
        }
        let Some(docs) = function.docs.contents.clone() else {
            self.undescribed.push(shown.into());
            return None;
        };
        if docs.len() > MAX_DESCRIPTION {
            self.warnings.push(format!(
                "the doc comment of `{shown}` has {} bytes, and the host refuses more than {MAX_DESCRIPTION}",
                docs.len()
            ));
        }
        Some((function.name.clone(), FunctionDocs { docs }))
    }

    /// The texts of a type, if there are any: the items that it has both in the WIT and in the component.
    fn type_docs(&self, source: TypeId, built: TypeId) -> Option<TypeDocs> {
        let (source, built) = (self.source.types.get(source)?, self.built.types.get(built)?);
        let mut docs = TypeDocs {
            docs: source.docs.contents.clone(),
            items: items(source)
                .into_iter()
                .filter_map(|(name, docs)| Some((name.to_owned(), docs?.to_owned())))
                .collect(),
        };
        let there: BTreeSet<&str> = items(built).into_iter().map(|(name, _)| name).collect();
        docs.items.retain(|name, _| there.contains(name.as_str()));
        (docs != TypeDocs::default()).then_some(docs)
    }

    fn warnings(self) -> Vec<String> {
        let mut warnings = self.warnings;
        if !self.undescribed.is_empty() {
            let shown: Vec<String> =
                self.undescribed.iter().take(NAMES_IN_WARNING).map(|name| format!("`{name}`")).collect();
            let more = match self.undescribed.len().saturating_sub(NAMES_IN_WARNING) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            warnings.push(format!(
                "a model sees only the name of a function without a doc comment: {}{more}",
                shown.join(", ")
            ));
        }
        warnings
    }
}

/// The parts of a type that have names and doc comments.
fn items(of: &TypeDef) -> Vec<(&str, Option<&str>)> {
    macro_rules! named {
        ($items:expr) => {
            $items.iter().map(|item| (item.name.as_str(), item.docs.contents.as_deref())).collect()
        };
    }
    match &of.kind {
        TypeDefKind::Record(record) => named!(record.fields),
        TypeDefKind::Variant(variant) => named!(variant.cases),
        TypeDefKind::Enum(r#enum) => named!(r#enum.cases),
        TypeDefKind::Flags(flags) => named!(flags.flags),
        _ => Vec::new(),
    }
}
