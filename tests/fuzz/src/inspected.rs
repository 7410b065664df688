//! The component inspector: it ends, with a description that crosses to the parent process or with an error.

use arbitrary::Unstructured;

use crate::component::{DescribeError, Description, describe};

/// Most functions of a description, as `decode.rs` bounds them.
const MAX_FUNCTIONS: usize = 1_000;

/// Bytes in the place of a component.
pub fn inspected(bytes: &[u8]) {
    _ = check(bytes);
}

/// A component and a module by wasm-smith, the module by itself and inside a component.
pub fn generated(seed: &[u8]) {
    if let Ok(made) = wasm_smith::Component::new(wasm_smith::Config::default(), &mut Unstructured::new(seed)) {
        known(&check(&made.to_bytes()));
    }
    if let Ok(made) = wasm_smith::Module::new(wasm_smith::Config::default(), &mut Unstructured::new(seed)) {
        let bytes = made.to_bytes();
        assert!(matches!(check(&bytes), Err(DescribeError::CoreModule)));
        let mut component = wasm_encoder::Component::new();
        component.section(&wasm_encoder::RawSection {
            id: wasm_encoder::ComponentSectionId::CoreModule.into(),
            data: &bytes,
        });
        // Not every core module may stand in a component: names of imports that repeat may not.
        match check(&component.finish()) {
            Ok(described) => assert!(described.functions.is_empty() && described.imports.is_empty()),
            Err(error) => assert!(matches!(error, DescribeError::Invalid { .. }), "{error:?}"),
        }
    }
}

/// It is known for a component. wasm-smith makes some that are not valid, with tuples of nothing.
fn known(result: &Result<Description, DescribeError>) {
    let known = matches!(result, Ok(_) | Err(DescribeError::TooMany { .. } | DescribeError::Invalid { .. }));
    assert!(known, "{result:?}");
}

fn check(bytes: &[u8]) -> Result<Description, DescribeError> {
    let described = describe(bytes)?;
    assert!(described.functions.len() <= MAX_FUNCTIONS);
    let json = serde_json::to_vec(&described).expect("JSON");
    let read: Description = serde_json::from_slice(&json).expect("what is written is believed");
    assert_eq!(read, described);
    Ok(described)
}
