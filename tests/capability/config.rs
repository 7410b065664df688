//! Bad configuration: each fault names the file, the line or key, and the mend, and nothing is started.

use std::process::Stdio;

use portcullis_artifacts as guests;

use crate::binary::Folder;

/// A configuration, and what standard error must hold of its fault.
fn check(config: &str, expected: &[&str]) {
    // `check` is what an operator runs, and the others must refuse to start.
    for command in [&["check"][..], &["serve", "--stdio"], &["serve"]] {
        let folder = Folder::new(config);
        folder.write("echo.wasm", std::fs::read(guests::ECHO).expect("a guest"));
        let output = folder.command(command).stdout(Stdio::piped()).output().expect("a run");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command:?} of\n{config}\n{told}");
        assert!(
            output.stdout.is_empty(),
            "{command:?} of\n{config}\nprinted {:?}",
            String::from_utf8_lossy(&output.stdout)
        );
        for text in expected {
            assert!(told.contains(text), "{command:?} of\n{config}\nno {text:?} in:\n{told}");
        }
        assert!(told.contains("error: "), "{told}");
        assert!(!told.contains("serving at"), "{told}");
    }
}

/// `echo`, then more.
fn echo(more: &str) -> String {
    format!("[server]\nhttp = \"127.0.0.1:0\"\n[plugins.echo]\nsource = \"echo.wasm\"\n{more}")
}

#[test]
fn faults_of_the_text_name_the_line() {
    const FILE: &str = "The configuration `portcullis.toml` is not valid";
    for (config, expected) in [
        ("[server", &["line 1"][..]),
        ("state-dir = 1", &["line 1", "expected path string"]),
        ("sever = 1\n[server]\n", &["line 1", "unknown field `sever`", "server"]),
        ("[server]\nport = 1", &["line 2", "unknown field `port`"]),
        ("[server]\nhttp = \"localhost\"", &["line 2", "invalid socket address"]),
        ("[server]\nmax-concurrent-calls = \"many\"", &["line 2", "invalid type"]),
        ("[limits]\ndeadline = 15", &["line 2", "a duration has a unit"]),
        ("[limits]\ndeadline = \"soon\"", &["line 2", "`soon` is no duration"]),
        ("[limits]\nmemory = \"much\"", &["line 2", "`much` is no size"]),
        ("[limits]\nmemory = -1", &["line 2", "a size is not negative"]),
        ("[limits]\nfuel = \"on\"", &["line 2", "\"off\""]),
        ("[limits]\nfeul = 1", &["line 2", "unknown field `feul`", "`fuel`"]),
        ("[plugins.echo]", &["missing field `source`"]),
        ("[plugins.echo]\nsource = 1", &["line 2", "invalid type"]),
        ("[plugins.\"e cho\"]\nsource = \"echo.wasm\"", &["e cho"]),
        ("[plugins.echo]\nsource = \"echo.wasm\"\n[plugins.echo]\n", &["line 3", "duplicate key", "hint: keep one"]),
        ("[plugins.echo]\nsource = \"a\"\nsource = \"b\"\n", &["line 3", "duplicate key", "hint: keep one"]),
        (
            "[plugins.echo]\nsource = \"echo.wasm\"\ngrants = { htp = [] }",
            &["line 3", "unknown field `htp`", "write `http`"],
        ),
        (
            "[plugins.echo]\nsource = \"echo.wasm\"\n[plugins.echo.grants]\nhttp = [\"GET https://ok@evil.example/\"]",
            &["line 4", "https://ok@evil.example/"],
        ),
        (
            "[plugins.echo.tool.echo]\nconfrim = true\n[plugins.echo]\nsource = \"echo.wasm\"",
            &["unknown field `confrim`", "`confirm`"],
        ),
    ] {
        let expected: Vec<_> = expected.iter().copied().chain([FILE, "\nhint: "]).collect();
        check(config, &expected);
    }
}

#[test]
fn faults_of_the_values_name_the_key() {
    for (config, expected) in [
        (
            "[server]\nmax-concurrent-calls = 0".into(),
            &["`server.max-concurrent-calls` must be from 1 to 1000: 0", "hint: max-concurrent-calls = 64"][..],
        ),
        (
            "[server]\nmax-waiting-calls = 4001".into(),
            &["`server.max-waiting-calls` must be from 0 to 4000: 4001", "hint: max-waiting-calls = 256"],
        ),
        (
            echo("[plugins.echo.grants]\nkv = [{ bucket = \"b\", prefix = \"of/{principal}\" }]"),
            &["an entry of `kv` must have a `prefix`", "each with a character behind it that no name has"],
        ),
        ("[server]\nname = \"\"".into(), &["`server.name`", "hint: name = "]),
        ("[limits]\ndeadline = \"0s\"".into(), &["`limits.deadline` must be", "hint: deadline = \"15s\""]),
        ("[limits]\ndeadline = \"2days\"".into(), &["`limits.deadline` must be", "hint: deadline = \"15s\""]),
        ("[limits]\nfuel = 0".into(), &["`limits.fuel` must be", "hint: fuel = "]),
        ("[limits]\nmemory = \"1KiB\"".into(), &["`limits.memory` must be", "hint: memory = \"64MiB\""]),
        ("[limits]\nmemory = \"5GiB\"".into(), &["`limits.memory` must be", "hint: memory = \"64MiB\""]),
        ("[limits]\noutput = \"65MiB\"".into(), &["`limits.output` must be", "hint: output = \"1MiB\""]),
        ("[limits]\nconcurrency = 1001".into(), &["`limits.concurrency` must be", "hint: concurrency = 16"]),
        (echo("[plugins.echo.limits]\nmemory = 1"), &["`plugins.echo.limits.memory` must be"]),
        (
            echo("[plugins.echo.tool.echo.limits]\ndeadline = \"0s\""),
            &["`plugins.echo.tool.echo.limits.deadline` must be"],
        ),
        (
            echo("[plugins.echo.tool.echo.limits]\nconcurrency = 2"),
            &["`plugins.echo.tool.echo.limits.concurrency`", "hint: in `[plugins.echo.limits]`"],
        ),
        (echo("prefix = \"no space \""), &["`plugins.echo.prefix`", "hint: prefix = \"echo_\""]),
        ("[plugins.echo]\nsource = \"\"".into(), &["`plugins.echo.source` is empty", "hint: source = "]),
        (
            "[server]\nhttp = \"127.0.0.1:0\"\n[plugins.gone]\nsource = \"gone.wasm\"".into(),
            &["plugin `gone`", "gone.wasm", "hint: build it"],
        ),
        (
            echo("[plugins.echo.tool.shout]\ndescription = \"x\""),
            &["no function `shout`", "[plugins.echo.tool.shout]", "hint: `portcullis inspect echo`"],
        ),
        (
            echo("prefix = \"\"\n[plugins.two]\nsource = \"echo.wasm\"\nprefix = \"\""),
            &["`echo` and `two` both have a tool `echo`", "hint: in `[plugins.two]`: prefix = \"two_\""],
        ),
        (
            echo("[plugins.two]\nsource = \"echo.wasm\"\nprefix = \"echo_\""),
            &["both have a tool `echo_echo`", "hint: in `[plugins.two]`"],
        ),
    ] {
        check(&config, expected);
    }
}

#[test]
fn other_machines_are_not_let_in_by_mistake() {
    let folder = Folder::new("[server]\nhttp = \"0.0.0.0:0\"\n");
    for arguments in [
        &["serve"][..],
        &["serve", "--http", "0.0.0.0:0"],
        &["serve", "--http", "[::]:0"],
        &["serve", "--http", "192.0.2.1:0"],
    ] {
        let output = folder.run(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains("reachable from other machines") && told.contains("hint: "), "{arguments:?}: {told}");
    }
    let output = folder.run(&["serve", "--http", "everywhere"]);
    assert_eq!(output.status.code(), Some(1));
    let missing = folder.run(&["--config", "none.toml", "serve", "--stdio"]);
    let told = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(1));
    assert!(told.contains("`none.toml`") && told.contains("hint: "), "{told}");
    assert!(!folder.path().join("none.toml").exists());
}
