//! Components made from WIT text.

use wasm_encoder::{
    CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{ManglingAndAbi, Resolve, WasmExport, WasmExportKind, WorldId, WorldItem, WorldKey};

use portcullis_runtime::component::{Description, describe};

/// The component of the only world in `wit`. A function of which parameters and result have the same type and are
/// passed in memory returns its arguments; any other one traps.
pub(crate) fn component(wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap_or_else(|e| panic!("{e:?}\n{wit}"));
    let world = resolve.select_world(&[package], None).expect("one world");
    let mut module = echo_module(&resolve, world);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .expect("a module")
        .encode()
        .unwrap_or_else(|e| panic!("{e:?}\n{wit}"))
}

/// The component of a world that exports one interface with this body.
pub(crate) fn interface(body: &str) -> Vec<u8> {
    component(&format!("package test:made@1.0.0; interface tools {{ {body} }} world made {{ export tools; }}"))
}

pub(crate) fn described(component: &[u8]) -> Description {
    let description = describe(component).expect("a component");
    // What the parent reads is what the child wrote.
    let json = serde_json::to_vec(&description).expect("JSON");
    let read: Description = serde_json::from_slice(&json).expect("a description");
    assert_eq!(read, description);
    description
}

/// With a custom section at its end.
pub(crate) fn with_section(mut component: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    use wasm_encoder::Encode as _;
    component.push(0);
    let mut section = Vec::new();
    name.encode(&mut section);
    section.extend(data);
    section.encode(&mut component);
    component
}

fn echo_module(resolve: &Resolve, world: WorldId) -> Vec<u8> {
    let (mut types, mut functions, mut exports, mut code) =
        (TypeSection::new(), FunctionSection::new(), ExportSection::new(), CodeSection::new());
    let mut add = |name: &str, params: &[ValType], results: &[ValType], body: Function| {
        let index = functions.len();
        types.ty().function(params.iter().copied(), results.iter().copied());
        functions.function(index);
        exports.export(name, ExportKind::Func, index);
        code.function(&body);
    };
    add("cabi_realloc", &[ValType::I32; 4], &[ValType::I32], bump());
    for (key, item) in &resolve.worlds[world].exports {
        let of_interface: Vec<(Option<&WorldKey>, &wit_parser::Function)> = match item {
            WorldItem::Function(function) => vec![(None, function)],
            WorldItem::Interface { id, .. } => {
                resolve.interfaces[*id].functions.values().map(|f| (Some(key), f)).collect()
            }
            WorldItem::Type { .. } => vec![],
        };
        for (interface, func) in of_interface {
            let name = resolve.wasm_export_name(
                ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync),
                WasmExport::Func { interface, func, kind: WasmExportKind::Normal },
            );
            let signature = resolve.wasm_signature(AbiVariant::GuestExport, func);
            let params: Vec<ValType> = signature.params.iter().map(val_type).collect();
            let results: Vec<ValType> = signature.results.iter().map(val_type).collect();
            let mut body = Function::new([]);
            if signature.indirect_params && signature.retptr {
                body.instructions().local_get(0).end();
            } else {
                body.instructions().unreachable().end();
            }
            add(&name, &params, &results, body);
        }
    }
    exports.export("memory", ExportKind::Memory, 0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 64, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut globals = GlobalSection::new();
    globals.global(GlobalType { val_type: ValType::I32, mutable: true, shared: false }, &ConstExpr::i32_const(16));
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports).section(&code);
    module.finish()
}

/// `cabi_realloc` that never frees: the next place with the alignment asked for.
fn bump() -> Function {
    let mut body = Function::new([(1, ValType::I32)]);
    body.instructions()
        .global_get(0)
        .local_get(2)
        .i32_add()
        .i32_const(1)
        .i32_sub()
        .i32_const(0)
        .local_get(2)
        .i32_sub()
        .i32_and()
        .local_tee(4)
        .local_get(3)
        .i32_add()
        .global_set(0)
        .local_get(4)
        .end();
    body
}

fn val_type(ty: &WasmType) -> ValType {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
        WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
        WasmType::F32 => ValType::F32,
        WasmType::F64 => ValType::F64,
    }
}
