//! The custom sections that describe a component: doc comments and requests. One that does not fit is a warning, never a
//! refusal, since doc comments decide nothing, and the requests of a plugin are what its author says they are.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Doc comments of the world, in the format of WIT packages (`wit-parser`'s `PackageMetadata`).
const PACKAGE_DOCS: &str = "package-docs";
/// The same for exported interfaces, by full id, for which the other has no place in a component.
const INTERFACE_DOCS: &str = "portcullis:docs";
/// What the plugin needs, with reasons.
const REQUESTS: &str = "portcullis:requests";
/// Largest section read: every doc comment of a component, many times over.
const MAX_SECTION: usize = 1 << 20;
/// Versions of the format of doc comments that are read: `wit-parser` writes 1 and reads 0 too.
const DOCS_VERSIONS: [u8; 2] = [0, 1];
/// The world's name, where a component has none (`wit_component::decode` gives it).
const ROOT: &str = "root";
/// Most warnings kept: they are for people.
const MAX_WARNINGS: usize = 32;
/// Longest piece of a section quoted in a warning, in characters.
const MAX_QUOTE: usize = 120;

/// Warnings, a bounded number of them.
#[derive(Default)]
pub(super) struct Warnings(Vec<String>);

impl Warnings {
    pub(super) fn add(&mut self, warning: String) {
        if self.0.len() < MAX_WARNINGS {
            self.0.push(warning);
        }
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// What the sections hold.
#[derive(Default)]
pub(super) struct Sections<'a> {
    package_docs: Option<&'a [u8]>,
    interface_docs: Option<&'a [u8]>,
    requests: Option<&'a [u8]>,
}

impl<'a> Sections<'a> {
    /// Keeps a section of the component itself if it is one of those; the first of a name counts.
    pub(super) fn keep(&mut self, name: &str, data: &'a [u8], warnings: &mut Warnings) {
        let place = match name {
            PACKAGE_DOCS => &mut self.package_docs,
            INTERFACE_DOCS => &mut self.interface_docs,
            REQUESTS => &mut self.requests,
            _ => return,
        };
        if data.len() > MAX_SECTION {
            warnings.add(format!(
                "the section `{name}` has {} bytes and is ignored, expected at most {MAX_SECTION}",
                data.len()
            ));
        } else if place.is_some() {
            warnings.add(format!("there is more than one section `{name}`, and only the first counts"));
        } else {
            *place = Some(data);
        }
    }

    pub(super) fn requests(&self, warnings: &mut Warnings) -> Option<Value> {
        // The byte before the JSON is the version that the other sections have too; JSON cannot begin with it.
        let data = self.requests?;
        let json = data.strip_prefix(&[1]).unwrap_or(data);
        match serde_json::from_slice(json) {
            Ok(value) => Some(value),
            Err(error) => {
                warnings.add(damaged(REQUESTS, &error));
                None
            }
        }
    }

    pub(super) fn docs(&self, warnings: &mut Warnings) -> Docs {
        let mut docs = Docs::default();
        for (name, data) in [(PACKAGE_DOCS, self.package_docs), (INTERFACE_DOCS, self.interface_docs)] {
            let Some(data) = data else { continue };
            match parse(data) {
                Ok(section) => docs.add(section),
                Err(error) => warnings.add(damaged(name, &error)),
            }
        }
        docs
    }
}

fn damaged(section: &str, error: &dyn std::fmt::Display) -> String {
    let error: String = error.to_string().escape_debug().take(MAX_QUOTE).collect();
    format!("the section `{section}` is damaged and ignored: {error}")
}

#[derive(Debug, thiserror::Error)]
enum ParseError {
    #[error("it is empty")]
    Empty,
    #[error("its format has version {0}, expected 1")]
    Version(u8),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn parse(data: &[u8]) -> Result<Section, ParseError> {
    let (version, json) = data.split_first().ok_or(ParseError::Empty)?;
    if !DOCS_VERSIONS.contains(version) {
        return Err(ParseError::Version(*version));
    }
    Ok(serde_json::from_slice(json)?)
}

// Unknown fields are allowed here, against the rule of the house: the format is `wit-parser`'s, which grows, and
// nothing in it widens access.

#[derive(Default, Deserialize)]
#[serde(default)]
struct Section {
    worlds: BTreeMap<String, World>,
    interfaces: BTreeMap<String, Interface>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct World {
    funcs: BTreeMap<String, Text>,
    func_exports: BTreeMap<String, Text>,
    types: BTreeMap<String, TypeDocs>,
    interfaces: BTreeMap<String, Interface>,
    interface_exports: BTreeMap<String, Interface>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Interface {
    funcs: BTreeMap<String, Text>,
    types: BTreeMap<String, TypeDocs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TypeDocs {
    docs: Option<String>,
    items: BTreeMap<String, Text>,
}

/// A doc comment, which stands by itself in version 0 of the format and for fields and cases.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(Option<String>),
    Described {
        #[serde(default)]
        docs: Option<String>,
    },
}

impl Text {
    fn into_docs(self) -> Option<String> {
        match self {
            Self::Plain(docs) | Self::Described { docs } => docs,
        }
    }
}

/// The doc comments of a component, by what they stand at. Those of functions are taken out as
/// they are used, and what is left over describes nothing.
#[derive(Default)]
pub(super) struct Docs {
    functions: BTreeMap<(Option<String>, String), String>,
    types: BTreeMap<(Option<String>, String), String>,
    items: BTreeMap<(Option<String>, String), BTreeMap<String, String>>,
}

impl Docs {
    fn add(&mut self, section: Section) {
        for (name, world) in section.worlds {
            if name == ROOT {
                self.add_scope(None, world.funcs.into_iter().chain(world.func_exports), world.types);
                for (name, interface) in world.interfaces.into_iter().chain(world.interface_exports) {
                    self.add_scope(Some(name), interface.funcs.into_iter(), interface.types);
                }
            }
        }
        for (name, interface) in section.interfaces {
            self.add_scope(Some(name), interface.funcs.into_iter(), interface.types);
        }
    }

    fn add_scope(
        &mut self,
        scope: Option<String>,
        funcs: impl Iterator<Item = (String, Text)>,
        types: BTreeMap<String, TypeDocs>,
    ) {
        for (name, text) in funcs {
            if let Some(docs) = text.into_docs() {
                self.functions.insert((scope.clone(), name), docs);
            }
        }
        for (name, described) in types {
            let key = (scope.clone(), name);
            let items: BTreeMap<String, String> =
                described.items.into_iter().filter_map(|(name, text)| Some((name, text.into_docs()?))).collect();
            if !items.is_empty() {
                self.items.insert(key.clone(), items);
            }
            if let Some(docs) = described.docs {
                self.types.insert(key, docs);
            }
        }
    }

    /// The comment of an exported function.
    pub(super) fn function(&mut self, interface: Option<&str>, name: &str) -> Option<String> {
        self.functions.remove(&key(interface, name)).filter(|docs| !docs.is_empty())
    }

    /// The comment of a type.
    pub(super) fn of_type(&self, interface: Option<&str>, name: &str) -> Option<String> {
        self.types.get(&key(interface, name)).filter(|docs| !docs.is_empty()).cloned()
    }

    /// The comment of a field or a case of a type.
    pub(super) fn of_item(&self, interface: Option<&str>, name: &str, item: &str) -> Option<String> {
        self.items.get(&key(interface, name))?.get(item).filter(|docs| !docs.is_empty()).cloned()
    }

    /// Warns of comments on functions that the component does not export. Those on types are silent: a type that no
    /// tool uses is not read.
    pub(super) fn warn_of_rest(&self, warnings: &mut Warnings) {
        for (interface, name) in self.functions.keys() {
            let full: String = match interface {
                Some(interface) => format!("{interface}.{name}"),
                None => name.clone(),
            };
            let full: String = full.escape_debug().take(MAX_QUOTE).collect();
            warnings.add(format!("there is a doc comment for `{full}`, which is no exported function"));
        }
    }
}

fn key(interface: Option<&str>, name: &str) -> (Option<String>, String) {
    (interface.map(str::to_owned), name.to_owned())
}
