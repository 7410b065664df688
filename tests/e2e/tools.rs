//! Programs from outside that some tests need, as `tests/setup` installs them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The exit code of the scripts of `tests/` that says: not installed.
const NOT_INSTALLED: i32 = 77;

/// The folder `tests`.
pub(crate) fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// The folder of the toolchains, for programs that look there. Where it lacks `part`, says so and gives `None`, as
/// [`script`] does.
pub(crate) fn toolchain(part: &str) -> Option<PathBuf> {
    let named = std::env::var_os("PORTCULLIS_TOOLS").map_or_else(|| tests().join(".tools"), PathBuf::from);
    if named.join(part).exists() {
        return Some(named);
    }
    let missing = format!("skipped: needs what `tests/setup/run` installs: {part}");
    let required = std::env::var("PORTCULLIS_REQUIRE").is_ok_and(|required| required == "all");
    assert!(!required, "{missing}");
    eprintln!("{missing}");
    None
}

/// Runs a script of `tests/`. Where what it needs is not installed, says so and gives `None`, unless
/// `PORTCULLIS_REQUIRE=all` makes that a failure.
pub(crate) fn script(name: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(tests().join(name)).args(arguments).output().expect("a script");
    if output.status.code() != Some(NOT_INSTALLED) {
        return Some(output);
    }
    let missing =
        format!("skipped: `{name}` needs what `tests/setup/run` installs: {}", String::from_utf8_lossy(&output.stderr));
    let required = std::env::var("PORTCULLIS_REQUIRE").is_ok_and(|required| required == "all");
    assert!(!required, "{missing}");
    eprintln!("{missing}");
    None
}

/// Asserts that a script succeeded, and shows all that it said where it did not.
pub(crate) fn succeeded(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}
