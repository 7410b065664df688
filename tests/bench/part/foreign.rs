//! The components of foreign toolchains, which `tests/setup` installs.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The component of a foreign toolchain, where `tests/setup` has put it; the newest.
#[expect(clippy::print_stderr, reason = "standard output is the report's")]
pub(super) fn component(prefix: &str) -> anyhow::Result<Option<String>> {
    let tools = std::env::var_os("PORTCULLIS_TOOLS").map(PathBuf::from);
    let tools = tools.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools"));
    let folder = tools.join("components");
    let mut newest = None;
    for entry in fs::read_dir(&folder).into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        // Behind the name is a digest; `js-keyvalue-…` is another.
        let digest = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".wasm"));
        if digest.is_some_and(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            newest = newest.max(Some((entry.metadata()?.modified()?, entry.path().canonicalize()?)));
        }
    }
    if newest.is_none() {
        eprintln!("no `{prefix}*.wasm` in {}: run `tests/setup/run --components`", folder.display());
    }
    Ok(newest.and_then(|(_, path)| path.into_os_string().into_string().ok()))
}
