//! `explain`: what a grant says of one request, or a role of one tool or resource, and which line of the configuration made
//! it say so.

use std::{path::Path, process::ExitCode, sync::Arc};

use portcullis_gateway::Address;
use portcullis_policy::{
    Access, Agent, AgentName, Effective, FileDecision, Grants, HttpDecision, HttpDenied, KvDecision, KvGrant,
    PluginName, Principal, RequestTarget, Subject, Verdict,
};
use portcullis_store::{BucketName, Key};
use portcullis_trust::escaped;
use serde_json::json;

use crate::{
    args::Question,
    config::{Config, GrantLines, RoleLines},
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
    fn text(&self, path: &Path) -> String {
        let word = if self.allowed { "allowed" } else { "denied" };
        let file = path.display().to_string();
        let place = self.line.map(|line| format!(" ({}:{line})", escaped(&file))).unwrap_or_default();
        let hint = self.hint.as_ref().map(|hint| format!("hint: {}\n", escaped(hint))).unwrap_or_default();
        format!("{word}: {}{place}\n{hint}", escaped(&self.reason))
    }

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
    let answer = answer(&config, &name, &effective, &lines, question)?;
    if as_json {
        render::json(&json!({
            "plugin": name,
            "allowed": answer.allowed,
            "reason": answer.reason,
            "file": path.display().to_string(),
            "line": answer.line,
            "hint": answer.hint,
            "approved": approval.is_some(),
        }))?;
    } else {
        let mut text = answer.text(path);
        if approval.is_none() {
            text += &format!("nobody has approved `{name}`, so nothing of it runs: portcullis inspect {name}\n");
        }
        render::data(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// May this agent call this tool, or read this resource? As the rules stand now, of tools that are served or wait for
/// approval.
pub(crate) async fn agent(
    path: &Path,
    config: Config,
    agent: &str,
    role: Option<&str>,
    what: &str,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let agent = named(&config, agent, role)?;
    let name = agent.name();
    let (kind, answer) = if what.starts_with("kv://") {
        ("resource", resource(path, &config, &agent, what)?)
    } else {
        ("tool", tool(path, &config, &agent, what).await?)
    };
    if as_json {
        render::json(&json!({
            "agent": name,
            (kind): what,
            "allowed": answer.allowed,
            "reason": answer.reason,
            "file": path.display().to_string(),
            "line": answer.line,
            "hint": answer.hint,
        }))?;
    } else {
        render::data(&answer.text(path))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The agent of the configuration, or whom a token names: whose role a token says, and here the operator.
fn named(config: &Config, agent: &str, role: Option<&str>) -> anyhow::Result<Agent> {
    let name = AgentName::new(agent).ok();
    if let Some(found) = name.as_ref().and_then(|name| config.statutes.agent(name)) {
        return match role {
            None => Ok(found),
            Some(_) => {
                let hint = Some(format!("portcullis explain --agent {agent} TOOL"));
                Err(Fault::error(format!("The role of `{agent}` stands in the configuration"), hint))
            }
        };
    }
    let of_token = name.filter(|name| config.oauth.is_some() && name.as_str().starts_with(Subject::MARK));
    let Some(name) = of_token else {
        let known: Vec<_> = config.statutes.agents().map(ToString::to_string).collect();
        let hint = format!("the configuration has the agents: {}", known.join(", "));
        return Err(Fault::error(format!("There is no agent `{agent}` in the configuration"), Some(hint)));
    };
    let role = role.ok_or_else(|| {
        let hint = Some("add `--role ROLE`, one of `[roles]`".to_owned());
        Fault::error(format!("The role of `{name}` is what its token says"), hint)
    })?;
    let found = config.statutes.vouched(name, Some(role));
    if found.role().is_none() {
        let hint = Some(format!("[roles.{}]", escaped(role)));
        return Err(Fault::error(format!("There is no role `{}` in the configuration", escaped(role)), hint));
    }
    Ok(found)
}

/// May it read what stands at this address? Whether anything does is another question.
fn resource(path: &Path, config: &Config, agent: &Agent, uri: &str) -> anyhow::Result<Answer> {
    let Some(address) = Address::parse(uri) else {
        let meant = uri.strip_prefix("kv://").and_then(|rest| rest.split_once('/')).and_then(|(bucket, key)| {
            let (bucket, key) = (BucketName::new(bucket).ok()?, Key::new(key).ok()?);
            Some(format!("the entry of this key has the address {}", Address::new(bucket, key)?))
        });
        return Ok(Answer::denied("it is no address of a resource: each has one spelling".to_owned(), None, meant));
    };
    let bucket = address.bucket();
    let fitting = config.buckets.iter().filter(|spec| spec.pattern.fits(bucket.as_str()));
    if !fitting.max_by_key(|spec| spec.pattern.exactness()).is_some_and(|spec| spec.resources) {
        let hint = format!("in `[buckets.{bucket}]`: resources = true");
        return Ok(Answer::denied(format!("the bucket `{bucket}` is not open to clients"), None, Some(hint)));
    }
    let Some(role) = agent.role() else {
        return Ok(Answer::denied(format!("`{}` has no role", agent.name()), None, None));
    };
    Ok(match role.resource(uri, &agent.in_buckets()) {
        Some(pattern) => {
            let line = RoleLines::read(path)?.resource(role.name(), pattern);
            Answer::allowed(format!("`{pattern}` in `resources` of the role `{}` allows it", role.name()), line)
        }
        None => {
            let hint = format!("in `[roles.{}]`: resources = [\"{uri}\"]", role.name());
            Answer::denied(format!("no pattern of the role `{}` allows it", role.name()), None, Some(hint))
        }
    })
}

async fn tool(path: &Path, config: &Config, agent: &Agent, tool: &str) -> anyhow::Result<Answer> {
    let host = Host::for_review(config, "explain")?;
    for error in host.catalogue.apply(config.plugins.clone()).await.err().unwrap_or_default() {
        tracing::warn!(%error, "the configuration is not in order");
    }
    let snapshot = host.catalogue.snapshot();
    host.close();
    let Some(found) = snapshot.tool(tool) else {
        return Err(Fault::error(format!("There is no tool `{tool}`"), Some("portcullis list".to_owned())));
    };
    let lines = RoleLines::read(path)?;
    let asks = if found.rules().confirm.is_some() { ", once a person says yes (`confirm`)" } else { "" };
    Ok(match agent.role().map(|role| (role, role.tool(&found.rules().plugin, &found.rules().tool))) {
        None => Answer::denied(format!("`{}` has no role", agent.name()), None, None),
        Some((role, Verdict::Allowed(rule))) => {
            let line = lines.allow(role.name(), rule);
            Answer::allowed(format!("`{rule}` in `allow` of the role `{}` allows it{asks}", role.name()), line)
        }
        Some((role, Verdict::Denied(rule))) => {
            let line = lines.deny(role.name(), rule);
            Answer::denied(format!("`{rule}` in `deny` of the role `{}` forbids it", role.name()), line, None)
        }
        Some((role, Verdict::NotAllowed)) => {
            let hint = format!("in `[roles.{}]`: allow = [\"{tool}\"]", role.name());
            Answer::denied(format!("no rule of the role `{}` allows it", role.name()), None, Some(hint))
        }
    })
}

fn answer(
    config: &Config,
    name: &PluginName,
    grants: &Effective,
    lines: &GrantLines,
    question: &Question,
) -> anyhow::Result<Answer> {
    match question {
        Question::Http { method, url } => http(name, grants, lines, method, url),
        Question::Files { path, access } => Ok(files(name, grants, lines, path, (*access).into())),
        Question::Env { name: variable } => Ok(env(name, grants, lines, variable)),
        Question::Kv { bucket, key, access, caller } => {
            let caller = match caller.as_str() {
                "local-operator" => Principal::LocalOperator,
                "loopback" => Principal::Loopback,
                agent => Principal::Agent(Arc::new(named(config, agent, None)?)),
            };
            Ok(entry(name, grants, lines, &caller, bucket, key, (*access).into()))
        }
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

fn entry(
    name: &PluginName,
    grants: &Effective,
    lines: &GrantLines,
    caller: &Principal,
    bucket: &str,
    key: &str,
    access: Access,
) -> Answer {
    match grants.kv_entry(caller, name, bucket, key, access) {
        KvDecision::Allowed(entry) => {
            Answer::allowed(format!("`{entry}` of `kv` allows it, called by `{caller}`"), lines.kv(&entry))
        }
        KvDecision::ReadOnly(entry) => {
            let hint = below(name, KvGrant::line(entry.bucket(), entry.prefix(), access));
            Answer::denied(format!("`{entry}` of `kv` opens it to be read alone"), lines.kv(&entry), hint)
        }
        KvDecision::Unapproved(entry) => {
            let reason = format!("the entry of `kv` that opens it waits for approval: `{entry}`");
            Answer::denied(reason, lines.kv(&entry), diff(name))
        }
        KvDecision::NoEntry => {
            let reason = format!("no entry of `kv` opens it, called by `{caller}`: it is as if absent");
            Answer::denied(reason, None, below(name, KvGrant::line(bucket, "", access)))
        }
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
