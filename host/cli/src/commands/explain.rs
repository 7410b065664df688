//! `explain`: what a grant says of one request, and which line of the configuration made it say so.

use std::{path::Path, process::ExitCode, sync::Arc};

use portcullis_policy::{Access, Effective, FileDecision, Grants, HttpDecision, HttpDenied, PluginName, RequestTarget};
use portcullis_trust::escaped;
use serde_json::json;

use crate::{
    args::Question,
    config::{Config, GrantLines},
    host::Host,
    render::{self, Fault},
};

/// An answer: whether it is allowed, why, the line that says so, and the line that would change it.
struct Answer {
    allowed: bool,
    reason: String,
    line: Option<usize>,
    hint: Option<String>,
}

impl Answer {
    fn allowed(reason: String, line: Option<usize>) -> Self {
        Self { allowed: true, reason, line, hint: None }
    }

    fn denied(reason: String, line: Option<usize>, hint: Option<String>) -> Self {
        Self { allowed: false, reason, line, hint }
    }
}

pub(crate) fn run(
    path: &Path,
    config: Config,
    name: &str,
    question: &Question,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let list = || Some("portcullis list".to_owned());
    let name = PluginName::new(name).map_err(|error| Fault::error(error.to_string(), list()))?;
    let Some(spec) = config.plugins.iter().find(|spec| spec.name == name) else {
        return Err(Fault::error(format!("There is no plugin `{name}` in the configuration"), list()));
    };
    let configured = Arc::clone(&spec.grants);
    let lines = GrantLines::read(path, &name)?;
    let host = Host::for_review(&config, "explain")?;
    let standing = host.catalogue.standing();
    let approval = standing.and_then(|standing| standing.accepted(&name));
    host.close();
    // Nothing of what nobody approved runs. What the configuration says of it is worth knowing all the same.
    let approved =
        approval.as_ref().map_or_else(|| Arc::clone(&configured), |approval| Arc::new(approval.grants.clone()));
    let effective = Effective::new(approved, configured);
    let answer = answer(&name, &effective, &lines, question)?;
    let shown = path.display();
    if as_json {
        render::json(&json!({
            "plugin": name,
            "allowed": answer.allowed,
            "reason": answer.reason,
            "file": shown.to_string(),
            "line": answer.line,
            "hint": answer.hint,
            "approved": approval.is_some(),
        }))?;
    } else {
        let word = if answer.allowed { "allowed" } else { "denied" };
        let place = answer.line.map(|line| format!(" ({}:{line})", escaped(&shown.to_string()))).unwrap_or_default();
        let mut text = format!("{word}: {}{place}\n", escaped(&answer.reason));
        if let Some(hint) = &answer.hint {
            text += &format!("hint: {}\n", escaped(hint));
        }
        if approval.is_none() {
            text += &format!("nobody has approved `{name}`, so nothing of it runs: portcullis inspect {name}\n");
        }
        render::data(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(name: &PluginName, grants: &Effective, lines: &GrantLines, question: &Question) -> anyhow::Result<Answer> {
    match question {
        Question::Http { method, url } => http(name, grants, lines, method, url),
        Question::Files { path, access } => Ok(files(name, grants, lines, path, (*access).into())),
        Question::Env { name: variable } => Ok(env(name, grants, lines, variable)),
    }
}

fn below(name: &PluginName, line: String) -> Option<String> {
    Some(format!("in `[plugins.{name}.grants]`: {line}"))
}

fn diff(name: &PluginName) -> Option<String> {
    Some(format!("portcullis diff {name}"))
}

fn http(name: &PluginName, grants: &Effective, lines: &GrantLines, method: &str, url: &str) -> anyhow::Result<Answer> {
    let target = RequestTarget::parse(url).map_err(|fault| {
        let hint = Some("a request whose URL can be read in two ways is refused whatever is granted".to_owned());
        Fault::error(format!("A URL {fault}: `{url}`"), hint)
    })?;
    Ok(match grants.http(method, &target) {
        HttpDecision::Allowed { by, private } => {
            let ranges: Vec<_> = private.iter().map(ToString::to_string).collect();
            let to = if ranges.is_empty() {
                "global addresses alone".to_owned()
            } else {
                ranges.join(", ") + " and global addresses"
            };
            Answer::allowed(format!("`{by}` of `http` allows it, to {to}"), lines.http(by))
        }
        HttpDecision::Denied(denied) => {
            let reason = denied.to_string();
            match denied {
                HttpDenied::Method => Answer::denied(reason, None, None),
                HttpDenied::NoEntry => {
                    Answer::denied(reason, None, below(name, format!("http = [\"{method} {target}\"]")))
                }
                HttpDenied::Entry(entry) => Answer::denied(reason, lines.deny(entry), None),
                HttpDenied::Unapproved(entry) => Answer::denied(reason, lines.http(entry), diff(name)),
            }
        }
    })
}

fn files(name: &PluginName, grants: &Effective, lines: &GrantLines, path: &str, access: Access) -> Answer {
    let line = |guest: &str, host: &str| {
        below(name, format!("files = [{{ host = \"{host}\", guest = \"{guest}\", access = \"{access}\" }}]"))
    };
    match grants.file(path, access) {
        FileDecision::Allowed(entry) => {
            Answer::allowed(format!("`{entry}` of `files` allows it"), lines.files(entry.guest()))
        }
        FileDecision::ReadOnly(entry) => {
            let place = lines.files(entry.guest());
            Answer::denied(
                format!("`{entry}` of `files` opens it to be read alone"),
                place,
                line(entry.guest(), entry.host()),
            )
        }
        FileDecision::Unapproved(entry) => {
            let place = lines.files(entry.guest());
            Answer::denied(
                format!("the entry of `files` that opens it waits for approval: `{entry}`"),
                place,
                diff(name),
            )
        }
        FileDecision::NoEntry => Answer::denied("no entry of `files` opens it".to_owned(), None, line(path, "FOLDER")),
    }
}

fn env(name: &PluginName, grants: &Effective, lines: &GrantLines, variable: &str) -> Answer {
    let value = |grants: &Grants| grants.env().get(variable).cloned();
    match (value(grants.approved()), value(grants.configured())) {
        (Some(approved), Some(configured)) if approved == configured => {
            Answer::allowed(format!("`env` gives it the value `{approved}`"), lines.env(variable))
        }
        (Some(approved), Some(configured)) => {
            let reason = format!("`env` gives it the approved value `{approved}`; `{configured}` waits for approval");
            Answer { hint: diff(name), ..Answer::allowed(reason, lines.env(variable)) }
        }
        (None, Some(_)) => {
            Answer::denied("the entry of `env` waits for approval".to_owned(), lines.env(variable), diff(name))
        }
        (_, None) => {
            let hint = below(name, format!("env = {{ {variable} = \"VALUE\" }}"));
            Answer::denied("no entry of `env` gives it".to_owned(), None, hint)
        }
    }
}
