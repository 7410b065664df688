//! The customers: a file in a directory that is granted to be read.

use std::{fmt::Write as _, fs, process::Command};

use serde_json::json;

use crate::{
    languages::{PYTHON, built, cases, plugin, refused_without},
    raw,
    tools::toolchain,
};

const BARE: &str = "[plugins.customers]\nsource = \"customers/dist/customers.wasm\"\nprefix = \"\"\n";

#[test]
fn customers_are_found_in_the_granted_file_and_nowhere_else() {
    let Some(folder) = built("customers", PYTHON, BARE) else { return };
    refused_without(
        &folder,
        "customers",
        &["files = [{ host = \"FOLDER\", guest = \"/customers\", access = \"read\" }]"],
    );
    let grants = "[plugins.customers.grants]\nfiles = [{ host = \"customers/data\", guest = \"/customers\" }]\n";
    let config = format!("{BARE}{grants}[server]\nhttp = \"127.0.0.1:0\"\n");
    fs::write(folder.path().join("portcullis.toml"), config).expect("a configuration");
    folder.approve_all();
    let host = folder.serve();
    cases("customers", &host);

    let look = |email: &str| raw::call(&host.address, "lookup_customer", json!({ "email": email }))["result"].clone();
    let list = folder.path().join("customers/data/customers.csv");
    // Read anew by each call. Of the largest list that is looked at, the last customer is found within a call's time.
    let mut text = String::from("\u{feff}email,name,company,plan,since,notes\r\n");
    text.push_str("broken@example.com,\"never closed,,,,\r\n");
    let mut at = 0;
    while text.len() < (8 << 20) - 200 {
        writeln!(text, "c{at}@example.com,Customer {at},Company {at} Ltd.,team,2024-01-01,\"a note, with a comma\"\r")
            .expect("text");
        at += 1;
    }
    text.push_str("last@example.com,The Last\r\n");
    fs::write(&list, &text).expect("a list");
    let found = look("LAST@example.com");
    assert_eq!(found["structuredContent"]["value"]["name"], "The Last", "{found:#}");
    let damaged = look("broken@example.com");
    assert!(damaged.to_string().contains("is damaged: tell the operator"), "{damaged:#}");
    fs::write(&list, text.repeat(2)).expect("a list");
    let large = look("nobody@example.com");
    assert!(large["isError"] == true && large.to_string().contains("larger than the 8 MiB"), "{large:#}");
    fs::remove_file(&list).expect("removed");
    let gone = look("ada@example.com");
    assert!(gone["isError"] == true && gone.to_string().contains("cannot be read: tell the operator"), "{gone:#}");
    assert!(!gone.to_string().contains("customers.csv"), "no path of this machine: {gone:#}");
}

#[test]
fn the_pure_part_in_python() {
    let Some(tools) = toolchain("python/bin/python") else { return };
    let output = Command::new(tools.join("python/bin/python"))
        .args(["-m", "unittest", "discover", "-s"])
        .arg(plugin("customers").join("tests"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("Ran 10 tests"), "{said}");
}
