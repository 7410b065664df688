//! The operator's own command asks on the terminal.

use super::{ASKS, asked, folder, outcomes, said};
use crate::{
    approval::terminal::typed,
    host::{Folder, stderr},
};

const CALL: [&str; 3] = ["call", "echo_echo", r#"{"text":"hi"}"#];

fn check(folder: &Folder) {
    let refused = folder.run(&CALL);
    let told = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("no terminal") && told.contains("hint: ") && told.contains("--yes"), "{told}");
    assert!(told.contains("echo_echo") && told.contains("\"text\": \"hi\""), "{told}");
    for answer in ["no", "", "y"] {
        let (shown, code) = typed(folder, answer, &CALL);
        assert!(code == Some(1) && shown.contains("Run it?") && shown.contains("\"text\": \"hi\""), "{shown}");
    }
    assert!(!outcomes(folder).contains(&"ok".to_owned()));
    assert_eq!(typed(folder, "yes", &CALL).1, Some(0));
    let ran = folder.json(&[CALL[0], CALL[1], CALL[2], "--yes", "--json"]);
    assert_eq!(ran["result"]["result"], "hi", "{ran:#}");
    let answers = asked(folder);
    assert_eq!(said(&answers), ["asked", "asked", "asked", "asked", "asked", "yes", "unseen"]);
}

#[test]
fn a_command_asks_on_the_terminal() {
    check(&folder(ASKS));
}

#[test]
fn a_command_at_a_running_host_asks_on_the_terminal() {
    let folder = folder(ASKS);
    let _host = folder.serve();
    check(&folder);
}
