//! Names that are taken for another plugin's: P14.

use super::{
    called, configure, digest, done, events, house, listed,
    made::{answering, answers},
    put, quarantined, refused, status, tools,
};
use crate::{host::Folder, raw};

/// `first` with a tool of this name beside `other` with `other_answer`.
fn pair(prefix: &str, function: &str) -> Folder {
    let folder = quarantined("");
    put(&folder, "first.wasm", &answers(&[(function, 1)]));
    configure(&folder, &configured(&format!("prefix = '{prefix}'")));
    folder
}

fn configured(first: &str) -> String {
    super::both(first)
}

#[test]
fn p14_names_that_are_taken_for_anothers_are_refused() {
    for (prefix, function, tool) in [("", "other-answer", "other_answer"), ("Other_", "answer", "Other_answer")] {
        let folder = pair(prefix, function);
        refused(&folder, &["serve", "--stdio"], &["`first`", "`other`", tool, "hint: in `[plugins.", "prefix = \""]);
        let sha256 = digest(&folder);
        let other = status(&folder, "other")["digest"].as_str().expect("a digest").to_owned();
        done(&folder, &["approve", "other", "--sha256", &other]);
        let expected = ["`first`", "`other`", tool, "hint: in `[plugins.first]`: "];
        let said = refused(&folder, &["approve", "first", "--sha256", &sha256], &expected);
        assert_eq!(events(&folder, "approval.refused").len(), 1);
        refused(&folder, &["serve", "--stdio"], &expected);
        // The line of the hint mends it, and what was approved keeps its name.
        let line = said.lines().find_map(|line| line.strip_prefix("hint: in `[plugins.first]`: ")).expect("a hint");
        configure(&folder, &configured(line));
        done(&folder, &["approve", "first", "--sha256", &sha256]);
        let host = folder.serve();
        let names = tools(&host);
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!((called(&host, &names[0]), called(&host, "other_answer")), (1.into(), 2.into()));
    }
}

#[test]
fn p14_names_that_look_alike_are_refused() {
    let folder = quarantined("");
    // `rn` looks like `m`, and `l` like `1`.
    put(&folder, "first.wasm", &answers(&[("forrnat-1ist", 1)]));
    put(&folder, "other.wasm", &answers(&[("format-list", 2)]));
    configure(
        &folder,
        "[plugins.other]\nsource = 'other.wasm'\nprefix = ''\n[plugins.first]\nsource = 'first.wasm'\nprefix = ''\n",
    );
    refused(
        &folder,
        &["serve", "--stdio"],
        &["`forrnat_1ist` of `first` and `format_list` of `other` look the same", "prefix = "],
    );
    refused(&folder, &["list"], &["look the same"]);
}

#[test]
fn p14_a_collision_takes_nothing_from_what_runs() {
    let folder = house();
    let host = folder.serve();
    put(&folder, "third.wasm", &answers(&[("first-answer", 9)]));
    let third = "[plugins.third]\nsource = \"third.wasm\"\nprefix = ''\n";
    configure(&folder, &format!("{}{third}", configured("")));
    host.logged("the configuration was applied in part");
    assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()));
    let sha256 = status(&folder, "third")["digest"].as_str().expect("a digest").to_owned();
    refused(
        &folder,
        &["approve", "third", "--sha256", &sha256],
        &["`first` and `third` both have a tool `first_answer`"],
    );
    assert_eq!(called(&host, "first_answer"), 1);
    assert_eq!(listed(&host).len(), 2);
}

#[test]
fn p14_near_names_warn() {
    let folder = quarantined("");
    put(&folder, "first.wasm", &answering(1));
    configure(&folder, &configured("prefix = 'othre_'"));
    folder.approve_all();
    let warnings = status(&folder, "first")["warnings"].to_string();
    assert!(warnings.contains("`othre_answer`") && warnings.contains("`other_answer` of `other`"), "{warnings}");
    let doctor = folder.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("plugin `first` warns: ") && said.contains("differ by two characters"), "{said}");
    let host = folder.serve();
    assert_eq!((called(&host, "othre_answer"), called(&host, "other_answer")), (1.into(), 2.into()));
    let ready = raw::answer(raw::open(&host.address, "GET", "/readyz", &[], b""));
    assert_eq!(ready.status, 200);
}
