//! `approve`, `remove`, `disable`, `diff`: an operator's word on what may run.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
    time::SystemTime,
};

use portcullis_catalogue::{ApprovalError, Operator};
use portcullis_policy::{Digest, PluginName};
use portcullis_trust::{Approval, DigestPrefix, LockReview};
use serde_json::json;

use crate::{
    config::Config,
    host::Host,
    render::{self, Fault},
    review,
};

/// What `approve` is asked for.
pub(crate) struct Approve {
    pub(crate) sha256: Option<String>,
    pub(crate) allow_downgrade: bool,
    pub(crate) as_json: bool,
}

fn fault(error: &ApprovalError) -> anyhow::Error {
    render::fault(error, error.hint())
}

/// The plugin's name, as it was written.
fn named(name: &str) -> anyhow::Result<PluginName> {
    PluginName::new(name).map_err(|error| Fault::error(error.to_string(), Some("portcullis list".into())))
}

/// Who runs this command: the name that the operating system has for the user, whatever the environment says.
pub(crate) fn operator() -> Operator {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    let name = user.map_or_else(|| format!("uid {uid}"), |user| user.name);
    Operator { name, at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string() }
}

/// A house in which the plugins were looked at.
async fn looked(config: Config, command: &str) -> anyhow::Result<Host> {
    let host = Host::for_review(&config, command)?;
    for error in host.catalogue.apply(config.plugins).await.err().unwrap_or_default() {
        tracing::warn!(%error, "the configuration is not in order");
    }
    Ok(host)
}

pub(crate) async fn plugin(config: Config, name: &str, how: Approve) -> anyhow::Result<ExitCode> {
    let name = named(name)?;
    let host = looked(config, "approve").await?;
    let operator = operator();
    let expected = expected(&host, &name, how.sha256.as_deref()).await;
    let expected = expected.inspect_err(|error| host.catalogue.turned_away(Some(&name), error.as_ref(), &operator))?;
    let approving = host.catalogue.approve(&name, expected, how.allow_downgrade, &operator);
    let approved = render::waiting("compiling…", approving).await;
    host.close();
    let approved = approved.map_err(|error| fault(&error))?;
    let digest = approved.approval.sha256;
    if how.as_json {
        let before = approved.before.map(|before| before.sha256);
        render::json(&json!({ "plugin": name, "approved": digest, "before": before, "by": operator.name }))?;
    } else {
        render::data(&format!("approved {name}, sha256 {digest}, with {} tools\n", approved.approval.tools.len()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The bytes that the operator has looked at: by the digest that was given, or by showing them and asking.
async fn expected(host: &Host, name: &PluginName, sha256: Option<&str>) -> anyhow::Result<DigestPrefix> {
    if let Some(text) = sha256 {
        let hint = Some(format!("portcullis inspect {name}"));
        return DigestPrefix::parse(text).map_err(|error| Fault::error(format!("`--sha256`: {error}"), hint));
    }
    let review = host.catalogue.review(name).await.map_err(|error| fault(&error))?;
    let shown = match &review.difference {
        Some(difference) => review::difference_text(difference),
        None => review::as_text(&review, Some(name)),
    };
    ask(&shown, &format!("Approve `{name}` with these bytes?"), || review::approve_line(&review, name))?;
    Ok(review.examined.candidate.sha256.into())
}

/// `approve --lock`: takes over what a lock says that came from elsewhere.
pub(crate) async fn lock(config: Config, how: Approve) -> anyhow::Result<ExitCode> {
    let host = Host::for_review(&config, "approve")?;
    let review = host.catalogue.lock_review().map_err(|error| fault(&error))?;
    let operator = operator();
    let line = || format!("portcullis approve --lock --sha256 {}", review.digest);
    let expected = match &how.sha256 {
        Some(text) => text
            .parse::<Digest>()
            .map_err(|error| Fault::error(format!("`--sha256`: {error}: the whole digest of the lock"), Some(line()))),
        None if review.is_empty() => {
            render::data("the lock is the one that this host has accepted\n")?;
            host.close();
            return Ok(ExitCode::SUCCESS);
        }
        None => ask(&lock_text(&review), "Accept this lock?", line).map(|()| review.digest),
    };
    let expected = expected.inspect_err(|error| host.catalogue.turned_away(None, error.as_ref(), &operator))?;
    let accepted = host.catalogue.accept_lock(expected, how.allow_downgrade, &operator);
    host.close();
    let accepted = accepted.map_err(|error| fault(&error))?;
    if how.as_json {
        let names = |plugins: &BTreeMap<PluginName, Approval>| plugins.keys().cloned().collect::<Vec<_>>();
        render::json(&json!({
            "accepted": accepted.digest,
            "added": names(&accepted.added),
            "changed": accepted.changed.keys().collect::<Vec<_>>(),
            "removed": names(&accepted.removed),
            "startedOver": accepted.starts_over.is_some(),
        }))?;
    } else {
        render::data(&format!("{}accepted the lock, sha256 {}\n", lock_text(&accepted), accepted.digest))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What accepting a lock changes, plugin by plugin.
fn lock_text(review: &LockReview) -> String {
    let mut text = String::new();
    if let Some(why) = &review.starts_over {
        text += &format!("nothing counts as accepted: {}\n", render::escape(&why.to_string()));
    }
    for (plugin, block) in &review.added {
        text += &format!("+ {plugin}: {}\n", block_text(block));
    }
    for (plugin, (old, new)) in &review.changed {
        let back = if review.downgrades.contains(plugin) { ", a downgrade" } else { "" };
        text += &format!("~ {plugin}: {}\n    instead of {}{back}\n", block_text(new), block_text(old));
        let (wider, limits) = (new.grants.widened_over(&old.grants), new.limits.widened_over(&old.limits));
        for change in wider.iter().chain(&limits) {
            text += &format!("    + {}\n", render::escape(&change.to_string()));
        }
        let imports = new.imports.difference(&old.imports);
        imports.for_each(|import| text += &format!("    + import: {}\n", render::escape(import)));
    }
    for (plugin, block) in &review.removed {
        text += &format!("- {plugin}: {}\n", block_text(block));
    }
    text
}

fn block_text(block: &Approval) -> String {
    let tools: Vec<_> = block.tools.keys().map(|tool| tool.as_str()).collect();
    let grants = serde_json::to_string(&block.grants).unwrap_or_default();
    render::escape(&format!(
        "{} sha256 {}, tools {}, grants {grants}, approved by {} at {}",
        block.source,
        block.sha256,
        tools.join(" "),
        block.approved_by,
        block.approved_at
    ))
}

/// Shows something on a terminal and asks for a yes. Elsewhere a digest has to be named.
fn ask(shown: &str, question: &str, line: impl Fn() -> String) -> anyhow::Result<()> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Fault::error("Approving without a terminal needs the digest of what was looked at", Some(line())));
    }
    let mut out = io::stderr().lock();
    write!(out, "{shown}\n{question} [yes/no] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Fault::error("Nothing was approved", None)) }
}

pub(crate) async fn diff(config: Config, name: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let name = named(name)?;
    let host = looked(config, "diff").await?;
    let review = host.catalogue.review(&name).await;
    host.close();
    let review = review.map_err(|error| fault(&error))?;
    match &review.difference {
        None => {
            let hint = Some(format!("portcullis inspect {name}"));
            return Err(Fault::error(format!("Nothing of `{name}` was ever approved on this host"), hint));
        }
        Some(difference) if as_json => {
            let lines: Vec<_> = difference.lines().iter().map(|line| line.text.clone()).collect();
            let approve = difference.widens().then(|| review::approve_line(&review, &name));
            render::json(&json!({
                "plugin": name,
                "differs": !difference.is_empty(),
                "needsApproval": difference.widens(),
                "difference": difference,
                "lines": lines,
                "approve": approve,
            }))?;
        }
        Some(difference) if difference.is_empty() => render::data("nothing differs from what was approved\n")?,
        Some(difference) => {
            let next = if difference.widens() {
                format!("\nTo approve it: {}\n", review::approve_line(&review, &name))
            } else {
                "\nNothing of it needs approval: what is narrower holds at once\n".to_owned()
            };
            render::data(&format!("{}{next}", review::difference_text(difference)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn disable(config: Config, name: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let name = named(name)?;
    let known = config.plugins.iter().any(|plugin| plugin.name == name);
    let host = Host::for_review(&config, "disable")?;
    let was_on = host.catalogue.disable(&name, &operator());
    host.close();
    let was_on = was_on.map_err(|error| fault(&error))?;
    if !known {
        render::note(&format!("note: the configuration has no plugin `{name}`; it would be disabled if it had"));
    }
    if as_json {
        render::json(&json!({ "plugin": name, "disabled": true, "wasOn": was_on }))?;
    } else {
        let already = if was_on { "" } else { ", as it was" };
        render::data(&format!("disabled {name}{already}; to switch it on: portcullis approve {name}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn remove(config: Config, name: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let name = named(name)?;
    let host = looked(config, "remove").await?;
    let removed = host.catalogue.remove(&name, &operator()).await;
    host.close();
    let removed = removed.map_err(|error| fault(&error))?;
    let digest = removed.as_ref().map(|approval| approval.sha256);
    if as_json {
        render::json(&json!({ "plugin": name, "removed": digest }))?;
    } else {
        match digest {
            Some(digest) => render::data(&format!("removed the approval of {name}, sha256 {digest}\n"))?,
            None => render::data(&format!("nothing of {name} was approved\n"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
