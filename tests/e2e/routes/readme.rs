//! The README's lines for the routes, as they stand.

use std::{fs, path::Path, process::Command};

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
        assert_eq!(printed.trim_end(), expected.trim_end(), "{command}\n{}", String::from_utf8_lossy(&run.stderr));
    }
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
