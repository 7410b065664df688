//! Components that compile in a moment, from WebAssembly text.

/// A component from its text.
pub(super) fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// One function `answer`, which returns this number. Two of them differ by a byte.
pub(super) fn answering(value: u8) -> Vec<u8> {
    answers(&[("answer", value)])
}

/// Functions without parameters, and what each returns.
pub(super) fn answers(functions: &[(&str, u8)]) -> Vec<u8> {
    let core: String = functions.iter().map(|(name, value)| core(name, &format!("i32.const {value}"))).collect();
    let lifted: String = functions.iter().map(|(name, _)| lifted(name)).collect();
    component(&format!("(component (core module $m {core}) (core instance $i (instantiate $m)) {lifted})"))
}

/// One function `answer` that never returns.
pub(super) fn spinning() -> Vec<u8> {
    let (core, lifted) = (core("answer", "(loop (br 0)) unreachable"), lifted("answer"));
    component(&format!("(component (core module $m {core}) (core instance $i (instantiate $m)) {lifted})"))
}

/// One function `answer` that returns this number, and imports that nothing uses.
pub(super) fn importing(value: u8, imports: &[&str]) -> Vec<u8> {
    let imports: String = imports.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    let (core, lifted) = (core("answer", &format!("i32.const {value}")), lifted("answer"));
    component(&format!("(component {imports} (core module $m {core}) (core instance $i (instantiate $m)) {lifted})"))
}

fn core(name: &str, body: &str) -> String {
    format!("(func (export \"{name}\") (result i32) {body})")
}

fn lifted(name: &str) -> String {
    format!("(func (export \"{name}\") (result u32) (canon lift (core func $i \"{name}\")))")
}

/// With doc comments of its functions.
pub(super) fn documented(component: Vec<u8>, docs: &[(&str, &str)]) -> Vec<u8> {
    let of = |(name, text): &(&str, &str)| ((*name).to_owned(), serde_json::json!({ "docs": text }));
    let functions: serde_json::Map<_, _> = docs.iter().map(of).collect();
    let json = serde_json::json!({ "worlds": { "root": { "func_exports": functions } } });
    with_section(component, "package-docs", format!("\u{1}{json}").as_bytes())
}

/// With a custom section at its end, which changes nothing that runs.
pub(super) fn with_section(mut component: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    let mut section = length(name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(data);
    component.push(0);
    component.extend(length(section.len()));
    component.extend(section);
    component
}

fn length(mut rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}
