//! The custom sections that `build` adds to a component: bytes in, bytes out. What is in them is others' matter.

use std::borrow::Cow;

use serde::Serialize;
use wasm_encoder::{Component, ComponentSection as _, CustomSection, RawSection};
use wasmparser::{Parser, Payload};

use crate::descriptions::Descriptions;
use crate::requests::Requests;

/// The doc comments of world-level functions and types. The name, the version byte and the JSON are those of
/// `wit_parser`'s `PackageMetadata`, so that every tool that decodes components finds them.
pub const PACKAGE_DOCS: &str = "package-docs";
/// The doc comments of exported interfaces, for which `package-docs` of a component has no place: the same form, with
/// the interfaces by their full id.
pub const DOCS: &str = "portcullis:docs";
/// What the plugin asks to be granted, as JSON.
pub const REQUESTS: &str = "portcullis:requests";

/// The largest section that the host reads.
const MAX_SECTION: usize = 1 << 20;
/// The version of the two sections with doc comments.
const DOCS_VERSION: u8 = 1;

/// Why a component got no sections.
#[derive(Debug, thiserror::Error)]
pub enum SectionsError {
    /// The bytes cannot be read.
    #[error("not a component")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// They are a core module.
    #[error("a core module, not a component")]
    CoreModule,
    /// There is more text than the host reads.
    #[error("the section `{name}` would have {size} bytes, more than the {MAX_SECTION} that the host reads")]
    TooLarge {
        /// The section.
        name: &'static str,
        /// Its size.
        size: usize,
    },
    /// The text has no JSON.
    #[error("cannot write the section `{name}`")]
    Json {
        /// The section.
        name: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The component with these descriptions and requests in place of those that it had.
///
/// Sections with nothing to say are left out. The same input gives the same bytes, and what comes out goes in again
/// unchanged.
pub(crate) fn write(
    component: &[u8],
    descriptions: &Descriptions,
    requests: &Requests,
) -> Result<Vec<u8>, SectionsError> {
    let mut out = without_ours(component)?;
    if !descriptions.root.is_empty() {
        append(&mut out, PACKAGE_DOCS, Some(DOCS_VERSION), &descriptions.package_docs())?;
    }
    if !descriptions.interfaces.is_empty() {
        append(&mut out, DOCS, Some(DOCS_VERSION), &descriptions.docs())?;
    }
    if !requests.is_empty() {
        append(&mut out, REQUESTS, None, requests)?;
    }
    Ok(out)
}

/// The component without the sections named here. Every other byte of a section stays as it was.
fn without_ours(component: &[u8]) -> Result<Vec<u8>, SectionsError> {
    let mut out = Component::new();
    // How many nested modules and components are open: their sections belong to the one that holds them.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        let section = if depth == 0 { payload.as_section() } else { None };
        match &payload {
            Payload::Version { encoding: wasmparser::Encoding::Module, .. } if depth == 0 => {
                return Err(SectionsError::CoreModule);
            }
            Payload::CustomSection(custom) if depth == 0 && [PACKAGE_DOCS, DOCS, REQUESTS].contains(&custom.name()) => {
                continue;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some((id, range)) = section {
            let data = component.get(range).unwrap_or_default();
            out.section(&RawSection { id, data });
        }
    }
    Ok(out.finish())
}

fn append(
    out: &mut Vec<u8>,
    name: &'static str,
    version: Option<u8>,
    json: &impl Serialize,
) -> Result<(), SectionsError> {
    let mut data = Vec::from_iter(version);
    serde_json::to_writer(&mut data, json).map_err(|source| SectionsError::Json { name, source })?;
    if data.len() > MAX_SECTION {
        return Err(SectionsError::TooLarge { name, size: data.len() });
    }
    CustomSection { name: name.into(), data: Cow::Owned(data) }.append_to_component(out);
    Ok(())
}
