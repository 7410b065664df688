//! `dev`, `build`, `call --dev` and `list --dev` with several languages and a configuration.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    host::{Folder, PATIENCE, Served, eventually, stderr},
    languages::{JAVASCRIPT, PYTHON, command, copy, plugin},
    raw,
    tools::{tests, toolchain},
};

fn write(folder: &Folder, path: &str, text: &str) {
    let path = folder.path().join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("written");
}

fn names(host: &Served) -> Vec<String> {
    let tools = raw::modern(&host.address, "tools/list", json!({})).message()["result"]["tools"].clone();
    let names = tools.as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str());
    names.map(str::to_owned).collect()
}

/// A machine with Rust alone: what needs another toolchain is left out, with what would mend it. The configuration gives names,
/// and its changes are taken up.
#[test]
fn without_a_toolchain_the_rest_is_served_as_the_configuration_says() {
    let folder = Folder::unapproved("");
    for name in ["hello", "weather", "customers"] {
        copy(&plugin(name), &folder.path().join("plugins").join(name));
    }
    let config = |prefix: &str| {
        format!(
            "[plugins.hello]\nsource = \"hello/dist/hello.wasm\"\nprefix = \"{prefix}\"\ntools = [\"greet\"]\n\
             [plugins.elsewhere]\nsource = \"elsewhere.wasm\"\n[agents.alice]\nrole = \"reader\"\n\
             [roles.reader]\nallow = []\n[server]\nhttp = \"0.0.0.0:1\"\n[store]\nurl = \"redis://127.0.0.1:1\"\n"
        )
    };
    write(&folder, "plugins/portcullis.toml", &config("say_"));
    let mut dev = command(&folder, None, &["dev", "plugins", "--http", "127.0.0.1:0"]);
    // Node may be there or not: its package is not.
    dev.stdout(Stdio::null());
    let host = Served::start(dev, "Serving 1 tools at ");
    assert_eq!(names(&host), ["say_greet"], "no key is asked for, and the role of an agent is no matter");
    let listed = command(&folder, None, &["list", "--dev", "plugins", "--json"]).output().expect("a run");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(
        (listed[0]["name"].as_str(), listed[0]["state"].as_str()),
        (Some("hello"), Some("approved")),
        "{listed:#}"
    );

    write(&folder, "plugins/portcullis.toml", "[plugins.hello]\nsource = 1\n");
    host.logged("is not valid");
    assert_eq!(names(&host), ["say_greet"], "what was in order goes on");
    write(&folder, "plugins/portcullis.toml", &config(""));
    host.logged("the configuration changed");
    assert_eq!(names(&host), ["greet"]);
    assert_eq!(host.stop().code(), Some(0));
    assert!(
        !folder.path().join("plugins/portcullis.lock").exists() && !folder.path().join("plugins/.portcullis").exists()
    );

    // By itself a command finds the same, and says what is left out.
    let called =
        command(&folder, None, &["call", "--dev", "plugins", "greet", r#"{"name":"Ada"}"#]).output().expect("a run");
    let told = stderr(&called);
    assert!(called.status.success() && String::from_utf8_lossy(&called.stdout).contains("Hello, Ada!"), "{told}");
    for line in [
        "left out: weather: ",
        "`@bytecodealliance/componentize-js` is not installed",
        "hint: npm install --prefix ",
        "left out: customers: ",
        "`componentize-py` is not installed",
        "/bin/pip install componentize-py==",
        "left out: elsewhere of `plugins/portcullis.toml`: `elsewhere.wasm` is not built from these folders",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    // Where nothing can be built, that is a fault, with the mend.
    let built = command(&folder, None, &["dev", "plugins/weather", "--http", "127.0.0.1:0"]).output().expect("a run");
    assert_eq!(built.status.code(), Some(1), "{}", stderr(&built));
    assert!(stderr(&built).contains("hint: npm install --prefix "), "{}", stderr(&built));
    write(&folder, "other/portcullis.toml", "");
    let two = command(&folder, None, &["dev", "plugins", "other", "--http", "127.0.0.1:0"]).output().expect("a run");
    assert!(
        two.status.code() == Some(1) && stderr(&two).contains("Several folders have a configuration"),
        "{}",
        stderr(&two)
    );
}

/// Grants, buckets and secrets of the configuration, in both languages, and a change of each source.
#[test]
fn javascript_and_python_are_served_with_their_grants_and_built_again() {
    let (Some(tools), Some(_)) = (toolchain(JAVASCRIPT), toolchain(PYTHON)) else { return };
    let folder = Folder::unapproved("");
    for name in ["weather", "customers"] {
        copy(&plugin(name), &folder.path().join("plugins").join(name));
    }
    copy(&tests().join("components/js-keyvalue"), &folder.path().join("plugins/notes"));
    write(
        &folder,
        "plugins/notes/package.json",
        r#"{"name": "@test/notes", "type": "module", "main": "notes.js", "portcullis": {"features": ["stdio"]}}"#,
    );
    write(
        &folder,
        "plugins/portcullis.toml",
        "[plugins.customers]\nsource = \"customers/dist/customers.wasm\"\nprefix = \"\"\n\
         [plugins.customers.grants]\nfiles = [{ host = \"customers/data\", guest = \"/customers\" }]\n\
         [plugins.weather]\nsource = \"weather/dist/weather.wasm\"\nprefix = \"\"\n[plugins.weather.grants]\n\
         http = [\"GET https://api.openweathermap.org/data/2.5/weather\"]\nenv = { BASE_URL = \"https://api.openweathermap.org\" }\n\
         secrets = [{ name = \"openweather\", header = \"x-api-key\", to = \"https://api.openweathermap.org\" }]\n\
         [secrets.openweather]\nenv = \"OPENWEATHER_KEY\"\n\
         [plugins.notes]\nsource = \"notes/dist/notes.wasm\"\n[plugins.notes.grants]\n\
         kv = [{ bucket = \"agent-{principal}\", access = \"read-write\" }]\n[buckets.\"agent-{principal}\"]\nmax-entries = 1\n",
    );
    let mut dev = command(&folder, Some(&tools), &["dev", "plugins", "--http", "127.0.0.1:0"]);
    dev.stdout(Stdio::null()).env_remove("OPENWEATHER_KEY");
    let host = Served::start(dev, "Serving ");
    let served = names(&host);
    assert!(served.contains(&"lookup_customer".to_owned()) && served.contains(&"notes_write".to_owned()), "{served:?}");
    assert!(!served.contains(&"get_weather".to_owned()), "its key is not there: {served:?}");

    let call = |tool: &str, arguments: Value| raw::call(&host.address, tool, arguments)["result"].clone();
    let found = call("lookup_customer", json!({ "email": "ada@example.com" }));
    assert_eq!(found["structuredContent"]["value"]["name"], "Ada Lovelace", "{found:#}");
    // Who calls is nobody but `loopback`, and the bucket has the bounds of the configuration.
    let note = |key: &str| call("notes_write", json!({ "bucket": "agent-{principal}", "key": key, "text": "kept" }));
    let first = note("a");
    assert_eq!(first["isError"], false, "{first:#}");
    let second = note("b");
    assert_eq!(second["isError"], true, "one entry and no more: {second:#}");
    let read = call("notes_read", json!({ "bucket": "agent-{principal}", "key": "a" }));
    assert_eq!(read["structuredContent"]["result"], "kept", "{read:#}");

    let python = folder.path().join("plugins/customers/lookup.py");
    let text = fs::read_to_string(&python).expect("a source");
    fs::write(&python, text.replace("expected an e-mail address", "expected such an address")).expect("a source");
    host.logged("rebuilt");
    let refused = call("lookup_customer", json!({ "email": "x" }));
    assert!(refused.to_string().contains("expected such an address"), "{refused:#}");
    // One that does not build leaves what was served in place, and is quoted.
    let script = folder.path().join("plugins/notes/notes.js");
    let text = fs::read_to_string(&script).expect("a source");
    fs::write(&script, "export const notes = {").expect("a source");
    host.logged("is not built");
    assert_eq!(
        call("notes_read", json!({ "bucket": "agent-{principal}", "key": "a" }))["structuredContent"]["result"],
        "kept"
    );
    fs::write(&script, text.replace("? undefined : decode(bytes)", "? undefined : `${decode(bytes)}!`"))
        .expect("a source");
    host.logged("rebuilt");
    let read = call("notes_read", json!({ "bucket": "agent-{principal}", "key": "a" }));
    assert_eq!(read["structuredContent"]["result"], "kept!", "and shared context is as it was: {read:#}");
}

/// What a source does when it is loaded runs while it is built. It may go on for ever, and nobody has to wait for that.
#[test]
fn a_build_that_never_ends_can_be_stopped_and_leaves_nothing() {
    let Some(tools) = toolchain(JAVASCRIPT) else { return };
    let folder = Folder::unapproved("");
    write(&folder, "stuck/package.json", r#"{"name": "stuck", "type": "module", "portcullis": {}}"#);
    write(&folder, "stuck/index.js", "for (;;) {}\nexport const run = () => {};\n");
    write(&folder, "stuck/wit/stuck.wit", "package a:b;\nworld stuck { export run: func(); }\n");
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    let mut build = command(&folder, Some(&tools), &["build", "stuck"]);
    build.env("TMPDIR", &temporary).stderr(Stdio::null()).stdout(Stdio::null());
    let mut child = build.spawn().expect("a build");
    let made = || fs::read_dir(&temporary).expect("a folder").count();
    eventually(|| made() == 1);
    // The wizer of componentize-js runs the source now, or soon; a group of its own takes both along.
    let running = || processes(&temporary);
    eventually(|| running() > 0);
    crate::host::interrupt(&child);
    let began = Instant::now();
    assert_eq!(child.wait().expect("an end").code(), Some(1));
    assert!(began.elapsed() < PATIENCE);
    eventually(|| running() == 0);
    assert_eq!(made(), 0, "nothing is left of it");
    assert!(!folder.path().join("stuck/dist").exists());
}

/// Processes that name this folder on their command line.
fn processes(folder: &Path) -> usize {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&*folder.to_string_lossy())).count()
}

/// One whose secret this machine has not got is left out, with the line to do.
#[test]
fn without_the_variable_of_a_secret_the_line_to_do_is_told() {
    let folder = Folder::unapproved("");
    copy(&plugin("hello"), &folder.path().join("plugins/hello"));
    write(
        &folder,
        "plugins/portcullis.toml",
        "[plugins.hello]\nsource = \"hello/dist/hello.wasm\"\n[plugins.hello.grants]\nhttp = [\"GET https://api.example.com/**\"]\n\
         secrets = [{ name = \"weather\", header = \"x-api-key\", to = \"https://api.example.com\" }]\n\
         [secrets.weather]\nenv = \"PORTCULLIS_TEST_KEY\"\n",
    );
    let mut dev = command(&folder, None, &["dev", "plugins", "--http", "127.0.0.1:0"]);
    dev.env_remove("PORTCULLIS_TEST_KEY").stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = dev.spawn().expect("a host");
    let mut seen = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok) {
        let is_last = line.starts_with("Serving 0 tools");
        seen.push(line);
        if is_last {
            break;
        }
    }
    crate::host::interrupt(&child);
    child.wait().expect("an end");
    let at = seen.iter().position(|line| line.starts_with("left out: hello: ")).unwrap_or_else(|| panic!("{seen:#?}"));
    assert_eq!(
        seen[at..at + 2],
        [
            "left out: hello: the secret `weather` of its grants cannot be had: the host has no variable `PORTCULLIS_TEST_KEY` in its \
             environment",
            "    hint: start the host with `PORTCULLIS_TEST_KEY` set"
        ],
        "{seen:#?}"
    );
}

/// A source that never ends while it is built: what was served goes on, and a better one does not wait for it.
#[test]
fn a_change_that_never_ends_to_build_holds_nobody_up() {
    let Some(tools) = toolchain(JAVASCRIPT) else { return };
    let folder = Folder::unapproved("");
    write(&folder, "plugins/say/package.json", r#"{"name": "say", "type": "module", "portcullis": {}}"#);
    write(&folder, "plugins/say/index.js", "export const say = () => \"one\";\n");
    write(
        &folder,
        "plugins/say/wit/say.wit",
        "package a:b;\nworld w {\n  /// Says.\n  export say: func() -> string;\n}\n",
    );
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    let mut dev = command(&folder, Some(&tools), &["dev", "plugins", "--http", "127.0.0.1:0"]);
    dev.env("TMPDIR", &temporary);
    let host = Served::start(dev, "Serving 1 tools at ");
    let said = || raw::call(&host.address, "say_say", json!({}))["result"]["structuredContent"]["result"].clone();
    assert_eq!(said(), "one");
    write(&folder, "plugins/say/index.js", "for (;;) {}\nexport const say = () => \"two\";\n");
    eventually(|| processes(&temporary) > 0);
    assert_eq!(said(), "one");
    let began = Instant::now();
    write(&folder, "plugins/say/index.js", "export const say = () => \"three\";\n");
    host.logged("rebuilt");
    // Long before the five minutes of a build are over.
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(said(), "three");
    // Nor does what cannot be built at all.
    fs::remove_file(folder.path().join("plugins/say/index.js")).expect("removed");
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("plugins/say/index.js")).expect("a link");
    host.logged("leads out of the plugin's folder");
    assert_eq!(said(), "three");
    assert_eq!(host.stop().code(), Some(0));
    eventually(|| processes(&temporary) == 0);
}
