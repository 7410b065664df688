//! The README's lines for the routes, as they stand.

use std::{fs, path::Path, process::Command};

use portcullis_artifacts::PLUGINS;

use crate::host::{Folder, Served};

/// What stands in a fenced block of the README behind the comment `<!-- MARK -->`.
fn block(mark: &str) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).expect("the README");
    let (_, after) = readme.split_once(&format!("<!-- {mark} -->\n```")).unwrap_or_else(|| panic!("no block {mark:?}"));
    let (_, after) = after.split_once('\n').expect("a fence");
    after.split_once("```").expect("the end of the fence").0.to_owned()
}

/// A command behind `$ `, with what it prints below.
fn commands(block: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            // A command goes on behind a backslash.
            (None, Some((command, printed))) if printed.is_empty() && command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line);
            }
            (None, Some((_, printed))) => printed.push_str(&format!("{line}\n")),
            (None, None) => panic!("no command: {line}"),
        }
    }
    commands
}

/// Runs the lines of a block against a host, whatever port it has: curl is told where 127.0.0.1:8080 is.
pub(crate) fn run_block(mark: &str, host: &Served, folder: &Path, environment: &[(&str, &str)]) {
    if Command::new("curl").arg("--version").output().is_err() {
        let required = std::env::var("PORTCULLIS_REQUIRE").is_ok_and(|required| required == "all");
        assert!(!required, "the README's lines need curl");
        eprintln!("skipped: the README's lines need curl");
        return;
    }
    let connect = format!("connect-to = \"127.0.0.1:8080:{}\"\nnoproxy = \"*\"\nsilent\n", host.address);
    fs::write(folder.join(".curlrc"), connect).expect("a file");
    let commands = commands(&block(mark));
    assert!(!commands.is_empty(), "nothing to run behind {mark:?}");
    for (command, expected) in commands {
        let run = Command::new("sh")
            .args(["-c", &command])
            .current_dir(folder)
            .env("CURL_HOME", folder)
            .envs(environment.iter().copied())
            .output()
            .expect("a shell");
        let printed = String::from_utf8_lossy(&run.stdout);
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(is(printed.trim_end(), expected.trim_end()), "{command}\n{printed}\n{expected}\n{errors}");
    }
}

/// Whether it is what is expected, in which `…` stands for whatever there is.
fn is(printed: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| printed.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// The routes of the bundled plugins, without the agents of their teams: as `dev` has them.
#[test]
fn the_lines_for_the_bundled_plugins_run_as_they_stand() {
    let bundled = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/portcullis.toml"));
    let mut config: toml::Table = bundled.expect("the configuration").parse().expect("TOML");
    for part in ["roles", "agents", "server"] {
        config.remove(part).expect(part);
    }
    let plugins = config.get_mut("plugins").and_then(toml::Value::as_table_mut).expect("plugins");
    plugins.retain(|name, _| PLUGINS.iter().any(|(built, _)| *built == name));
    for (name, path) in PLUGINS.iter().filter(|(name, _)| *name != "hello") {
        let source = plugins.get_mut(*name).and_then(|plugin| plugin.get_mut("source")).expect(name);
        *source = (*path).into();
    }
    let folder = Folder::new(&config.to_string());
    run_block("routes: bundled", &folder.serve(), folder.path(), &[]);
}

#[test]
fn the_lines_of_the_readme_run_as_they_stand() {
    let folder = Folder::unapproved(&block("routes: portcullis.toml"));
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/hello");
    let to = folder.path().join("plugins/hello");
    for part in ["Cargo.toml", "Cargo.lock", "src/lib.rs", "wit/hello.wit"] {
        fs::create_dir_all(to.join(part).parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(part), to.join(part)).expect("a copy");
    }
    let built =
        folder.command(&["build", "plugins/hello"]).env("CARGO_TARGET_DIR", folder.path().join("target")).output();
    assert!(built.expect("a build").status.success());
    folder.approve_all();
    let host = folder.serve();
    run_block("routes: curl", &host, folder.path(), &[]);
}
