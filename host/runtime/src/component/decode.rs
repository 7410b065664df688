//! One pass over the bytes of a component: validate, find its imports, exports and sections, describe them.

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ComponentInstanceTypeId, ComponentItem};
use wasmparser::types::TypesRef;
use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator, WasmFeatures};

use super::convert::{Converter, MAX_NAME};
use super::description::{Description, Function, Import, MAPPING_VERSION, Param};
use super::sections::{Sections, Warnings};

/// Largest component read, in bytes: the largest that real toolchains make have some 18 MB.
pub const MAX_COMPONENT: usize = 256 << 20;
/// Most exported functions: a list of tools that no model could use.
const MAX_FUNCTIONS: usize = 1_000;
/// Most imports and exports, those of instances included, since types of instances can be shared without end. A
/// Python component has some 700.
const MAX_ITEMS: usize = 100_000;
/// Most text of names of imports and functions, in bytes.
const MAX_TEXT: usize = 4 << 20;
/// Longest message of the validator handed on, in characters.
const MAX_MESSAGE: usize = 300;
const MAGIC: &[u8] = b"\0asm";
/// The stray instance that componentize-py exports; its own tools stand beside it.
const STRAY_INSTANCE: &str = "exports";

/// Why bytes are no component that can be described. Each says what the file is instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// There are no bytes.
    #[error("the file is empty, expected a WebAssembly component")]
    Empty,
    /// There are more bytes than are read.
    #[error("the file has {size} bytes, expected a component of at most {MAX_COMPONENT}")]
    TooLarge {
        /// How many there are.
        size: usize,
    },
    /// WebAssembly in its text format.
    #[error("the file is WebAssembly text, expected a binary component (`wasm-tools parse FILE -o OUT` makes one)")]
    WebAssemblyText,
    /// Some other text.
    #[error("the file is text, expected a WebAssembly component")]
    Text,
    /// Some other bytes.
    #[error("the file is not WebAssembly, expected a component")]
    NotWebAssembly,
    /// A core module.
    #[error("the file is a core module, not a component: build it for the target `wasm32-wasip2`")]
    CoreModule,
    /// A WIT package in its binary format.
    #[error("the file is a WIT package, expected a component that implements one")]
    WitPackage,
    /// The file ends too early.
    #[error("the component is cut off after {size} bytes")]
    CutOff {
        /// The length of the file.
        size: usize,
    },
    /// It is not valid.
    #[error("the component is invalid at byte {offset}: {message}")]
    Invalid {
        /// Where.
        offset: usize,
        /// What the validator says.
        message: String,
    },
    /// It has more of something than is read.
    #[error("the component has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

/// Describes a component. Nothing of it is compiled or run; the code in it is not validated, which compiling does.
///
/// # Errors
/// When the bytes are no valid component or exceed a bound.
pub fn describe(bytes: &[u8]) -> Result<Description, DescribeError> {
    check_kind(bytes)?;
    let mut warnings = Warnings::default();
    let mut sections = Sections::default();
    let mut names = Names::default();
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut depth: usize = 0;
    let mut types = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| unreadable(&error, bytes.len()))?;
        match validator.payload(&payload).map_err(|error| invalid(&error))? {
            ValidPayload::End(end) if depth == 0 => types = Some(end),
            _ => {}
        }
        match payload {
            Payload::Version { encoding, .. } if depth == 0 && encoding == Encoding::Module => {
                return Err(DescribeError::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(|error| invalid(&error))?;
                    names.imports.push(import.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(|error| invalid(&error))?;
                    names.exports.push(export.name.name);
                }
            }
            Payload::CustomSection(section) if depth == 0 => {
                sections.keep(section.name(), section.data(), &mut warnings);
            }
            _ => {}
        }
    }
    let types = types.ok_or(DescribeError::CutOff { size: bytes.len() })?;
    let types = types.as_ref();
    if is_wit_package(types, &names) {
        return Err(DescribeError::WitPackage);
    }
    let mut docs = sections.docs(&mut warnings);
    let requests = sections.requests(&mut warnings);
    let mut reader = Reader {
        types,
        bounds: Bounds::default(),
        converter: Converter::new(types, &mut docs),
        functions: Vec::new(),
        imports: Vec::new(),
    };
    names.imports.iter().try_for_each(|name| reader.import(name))?;
    names.exports.iter().try_for_each(|name| reader.name_types(name))?;
    names.exports.iter().try_for_each(|name| reader.export(name))?;
    let (functions, imports, types) = (reader.functions, reader.imports, reader.converter.into_types());
    docs.warn_of_rest(&mut warnings);
    Ok(Description { mapping: MAPPING_VERSION, types, functions, imports, requests, warnings: warnings.into_vec() })
}

fn check_kind(bytes: &[u8]) -> Result<(), DescribeError> {
    if bytes.is_empty() {
        return Err(DescribeError::Empty);
    }
    if bytes.len() > MAX_COMPONENT {
        return Err(DescribeError::TooLarge { size: bytes.len() });
    }
    if bytes.starts_with(MAGIC) {
        return Ok(());
    }
    if MAGIC.starts_with(bytes) {
        return Err(DescribeError::CutOff { size: bytes.len() });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if ["(component", "(module"].iter().any(|word| text.trim_start().starts_with(word)) => {
            Err(DescribeError::WebAssemblyText)
        }
        Ok(text) if !text.contains('\0') => Err(DescribeError::Text),
        _ => Err(DescribeError::NotWebAssembly),
    }
}

/// What the parser does not read: where the bytes end within something, they are cut off; a damaged length looks the
/// same.
fn unreadable(error: &wasmparser::Error, size: usize) -> DescribeError {
    if error.message().starts_with("unexpected end") {
        return DescribeError::CutOff { size };
    }
    invalid(error)
}

fn invalid(error: &wasmparser::Error) -> DescribeError {
    DescribeError::Invalid {
        offset: error.offset(),
        // The message can quote names of the component.
        message: error.message().escape_debug().take(MAX_MESSAGE).collect(),
    }
}

#[derive(Default)]
struct Names<'a> {
    imports: Vec<&'a str>,
    exports: Vec<&'a str>,
}

/// A WIT package is a component of which each export is the type of a component, and there is nothing else.
fn is_wit_package(types: TypesRef<'_>, names: &Names<'_>) -> bool {
    let is_component_type = |name: &&str| {
        types.component_item_for_export(name).is_some_and(|item| {
            matches!(item.ty, ComponentEntityType::Type { created: ComponentAnyTypeId::Component(_), .. })
        })
    };
    names.imports.is_empty() && !names.exports.is_empty() && names.exports.iter().all(is_component_type)
}

/// What has been read so far, against the bounds.
#[derive(Default)]
struct Bounds {
    items: usize,
    text: usize,
}

impl Bounds {
    fn item(&mut self, name: &str) -> Result<(), DescribeError> {
        self.items = self.items.saturating_add(1);
        if self.items > MAX_ITEMS {
            return Err(DescribeError::TooMany { what: "imports and exports", limit: MAX_ITEMS });
        }
        if name.len() > MAX_NAME {
            return Err(DescribeError::TooMany { what: "bytes in a name", limit: MAX_NAME });
        }
        self.text = self.text.saturating_add(name.len());
        if self.text > MAX_TEXT {
            return Err(DescribeError::TooMany { what: "bytes of names", limit: MAX_TEXT });
        }
        Ok(())
    }
}

struct Reader<'a> {
    types: TypesRef<'a>,
    bounds: Bounds,
    converter: Converter<'a>,
    functions: Vec<Function>,
    imports: Vec<Import>,
}

impl Reader<'_> {
    fn import(&mut self, name: &str) -> Result<(), DescribeError> {
        self.bounds.item(name)?;
        let types = self.types;
        let Some(item) = types.component_item_for_import(name) else {
            return Ok(());
        };
        let mut functions = Vec::new();
        match item.ty {
            ComponentEntityType::Instance(id) => {
                for (inner, item) in exports(types, id) {
                    self.bounds.item(inner)?;
                    match item.ty {
                        ComponentEntityType::Type { created, referenced } => {
                            self.converter.name_type(created, referenced, Some(name), inner);
                        }
                        ComponentEntityType::Func(_) => functions.push(inner.clone()),
                        ComponentEntityType::Module(_)
                        | ComponentEntityType::Value(_)
                        | ComponentEntityType::Instance(_)
                        | ComponentEntityType::Component(_) => {}
                    }
                }
            }
            ComponentEntityType::Type { created, referenced } => {
                self.converter.name_type(created, referenced, None, name);
                // A type of the world is nothing that the host would have to provide, a resource is.
                if matches!(created, ComponentAnyTypeId::Defined(_)) {
                    return Ok(());
                }
            }
            ComponentEntityType::Func(_)
            | ComponentEntityType::Module(_)
            | ComponentEntityType::Value(_)
            | ComponentEntityType::Component(_) => {}
        }
        self.imports.push(Import { name: name.to_owned(), functions });
        Ok(())
    }

    /// Notes the names of exported types before any function is read, which may refer to those of a later export.
    fn name_types(&mut self, name: &str) -> Result<(), DescribeError> {
        self.bounds.item(name)?;
        let types = self.types;
        let Some(item) = types.component_item_for_export(name) else {
            return Ok(());
        };
        match item.ty {
            ComponentEntityType::Instance(id) => {
                for (inner, item) in exports(types, id) {
                    self.bounds.item(inner)?;
                    if let ComponentEntityType::Type { created, referenced } = item.ty {
                        self.converter.name_type(created, referenced, Some(name), inner);
                    }
                }
            }
            ComponentEntityType::Type { created, referenced } => {
                self.converter.name_type(created, referenced, None, name)
            }
            ComponentEntityType::Func(_)
            | ComponentEntityType::Module(_)
            | ComponentEntityType::Value(_)
            | ComponentEntityType::Component(_) => {}
        }
        Ok(())
    }

    fn export(&mut self, name: &str) -> Result<(), DescribeError> {
        if name == STRAY_INSTANCE || name.starts_with("wasi:") {
            return Ok(());
        }
        let types = self.types;
        let Some(item) = types.component_item_for_export(name) else {
            return Ok(());
        };
        match item.ty {
            ComponentEntityType::Func(_) => self.function(None, name, item.ty),
            ComponentEntityType::Instance(id) => {
                exports(types, id).try_for_each(|(inner, item)| self.function(Some(name), inner, item.ty))
            }
            ComponentEntityType::Type { .. }
            | ComponentEntityType::Module(_)
            | ComponentEntityType::Value(_)
            | ComponentEntityType::Component(_) => Ok(()),
        }
    }

    fn function(&mut self, interface: Option<&str>, name: &str, ty: ComponentEntityType) -> Result<(), DescribeError> {
        let ComponentEntityType::Func(id) = ty else {
            return Ok(());
        };
        if self.functions.len() >= MAX_FUNCTIONS {
            return Err(DescribeError::TooMany { what: "exported functions", limit: MAX_FUNCTIONS });
        }
        let docs = self.converter.docs().function(interface, name);
        let types = self.types;
        let Some(ty) = types.get(id) else {
            return Ok(());
        };
        let (params, result, obstacle) = match self.converter.signature(name, ty) {
            Ok(signature) => {
                let params = signature.params.into_iter().map(|(name, ty)| Param { name, ty });
                (params.collect(), signature.result, None)
            }
            Err(obstacle) => (Vec::new(), None, Some(obstacle.to_string())),
        };
        self.functions.push(Function {
            interface: interface.map(str::to_owned),
            name: name.to_owned(),
            docs,
            params,
            result,
            obstacle,
        });
        Ok(())
    }
}

fn exports(types: TypesRef<'_>, instance: ComponentInstanceTypeId) -> impl Iterator<Item = (&String, &ComponentItem)> {
    types.get(instance).into_iter().flat_map(|instance| &instance.exports)
}
