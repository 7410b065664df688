//! `approve`, `remove`, `disable`, `diff`: an operator's word on what may run.

use std::{collections::BTreeMap, process::ExitCode, time::SystemTime};

use portcullis_catalogue::{ApprovalError, Operator};
use portcullis_policy::{Digest, PluginName};
use portcullis_trust::{Approval, Difference, DigestPrefix, Expected, LineKind, LockReview};
use serde_json::json;

use crate::{
    config::Config,
    host::Host,
    render::{self, Fault},
    review, terminal,
};

/// What `approve` is asked for.
pub(crate) struct Approve {
    pub(crate) sha256: Option<String>,
    pub(crate) review: Option<String>,
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
    // What cannot be reviewed is refused below, with its reason.
    let before = host.catalogue.review(&name).await.ok();
    let expected = expected(&host, &name, &how).await;
    let expected = expected.inspect_err(|error| host.catalogue.turned_away(Some(&name), error.as_ref(), &operator))?;
    let unreviewed = expected.review.is_none();
    let approving = host.catalogue.approve(&name, expected, how.allow_downgrade, &operator);
    let approved = render::waiting("compiling…", approving).await;
    host.close();
    let approved = approved.map_err(|error| fault(&error))?;
    if let Some(difference) = before.and_then(|review| review.difference).filter(|_| unreviewed) {
        told_wider(&difference);
    }
    let why = approved.untidied.as_deref();
    untidied("approved", why);
    let (digest, review) = (approved.approval.sha256, approved.review);
    if how.as_json {
        let before = approved.before.map(|before| before.sha256);
        render::json(&json!({
            "plugin": name,
            "approved": digest,
            "review": review,
            "before": before,
            "by": operator.name,
            "warning": why,
        }))?;
    } else {
        render::data(&format!("approved {name}, sha256 {digest}, with {} tools\n", approved.approval.tools.len()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whoever gives the digest of the bytes alone may not have seen that more than bytes are another.
fn told_wider(difference: &Difference) {
    let lines = difference.lines();
    let wider = lines.iter().filter(|line| matches!(line.kind, LineKind::Widening | LineKind::Change));
    wider.for_each(|line| render::note(&format!("than approved before: {}", line.text)));
}

/// Something went wrong after what was asked for stood.
fn untidied(what: &str, why: Option<&str>) {
    if let Some(why) = why {
        render::note(&format!("warning: {what}, and not tidied up; the next approval does that: {why}"));
    }
}

/// What the operator has looked at: by the digests that were given, or by showing it and asking.
async fn expected(host: &Host, name: &PluginName, how: &Approve) -> anyhow::Result<Expected> {
    let prefix = |option: &str, text: &str| {
        let hint = Some(format!("portcullis inspect {name}"));
        DigestPrefix::parse(text).map_err(|error| Fault::error(format!("`{option}`: {error}"), hint))
    };
    let given = how.review.as_deref().map(|text| prefix("--review", text)).transpose()?;
    if let Some(text) = &how.sha256 {
        return Ok(Expected { sha256: prefix("--sha256", text)?, review: given });
    }
    let review = host.catalogue.review(name).await.map_err(|error| fault(&error))?;
    let candidate = &review.examined.candidate;
    let shown = review::question_text(&review, name);
    ask(&shown, &format!("Approve `{name}` as it is?"), || review::approve_line(&review, name))?;
    let whole = candidate.digest().ok().map(DigestPrefix::from);
    Ok(Expected { sha256: candidate.sha256.into(), review: given.or(whole) })
}

/// `approve --lock`: takes over what a lock says that came from elsewhere.
pub(crate) async fn lock(config: Config, how: Approve) -> anyhow::Result<ExitCode> {
    let host = Host::for_review(&config, "approve")?;
    let review = host.catalogue.lock_review().map_err(|error| fault(&error))?;
    let operator = operator();
    let line = || review::accept_line(&review);
    let expected = match &how.sha256 {
        Some(text) => text
            .parse::<Digest>()
            .map_err(|error| Fault::error(format!("`--sha256`: {error}: the whole digest of the lock"), Some(line()))),
        None if review.is_empty() => {
            render::data("the lock is the one that this host has accepted\n")?;
            host.close();
            return Ok(ExitCode::SUCCESS);
        }
        None => {
            if !terminal::is_there() {
                show_lock(&review, how.as_json)?;
            }
            ask(&review::lock_text(&review), "Accept this lock?", line).map(|()| review.digest)
        }
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
        render::data(&format!("{}accepted the lock, sha256 {}\n", review::lock_text(&accepted), accepted.digest))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `diff --lock`: what `approve --lock` would accept.
pub(crate) fn diff_lock(config: &Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let host = Host::for_review(config, "diff")?;
    let review = host.catalogue.lock_review();
    host.close();
    let review = review.map_err(|error| fault(&error))?;
    if review.is_empty() && !as_json {
        render::data("the lock is the one that this host has accepted\n")?;
    } else {
        show_lock(&review, as_json)?;
        if !as_json {
            render::data(&format!("\nTo accept it: {}\n", review::accept_line(&review)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_lock(review: &LockReview, as_json: bool) -> anyhow::Result<()> {
    if as_json { render::json(&review::lock_data(review)) } else { render::data(&review::lock_text(review)) }
}

/// Shows something on a terminal and asks for a yes. Elsewhere a digest has to be named.
fn ask(shown: &str, question: &str, line: impl Fn() -> String) -> anyhow::Result<()> {
    if !terminal::is_there() {
        return Err(Fault::error("Approving without a terminal needs the digest of what was looked at", Some(line())));
    }
    if terminal::says_yes(shown, question)? { Ok(()) } else { Err(Fault::error("Nothing was approved", None)) }
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
            let mut data = json!({
                "plugin": name,
                "review": review.examined.candidate.digest().ok(),
                "differs": !difference.is_empty(),
                "needsApproval": difference.widens(),
                "difference": difference,
                "lines": lines,
                "approve": approve,
            });
            if let Some(data) = data.as_object_mut() {
                data.extend(review::against(&review));
            }
            render::json(&data)?;
        }
        Some(difference) if difference.is_empty() => {
            render::data(&format!("nothing differs from what was approved\n{}", review::against_text(&review)))?;
        }
        Some(difference) => {
            let next = if review.examined.refused.is_some() {
                "\nIt cannot be approved as it is.\n".to_owned()
            } else if difference.widens() {
                format!("\nTo approve it: {}\n", review::approve_line(&review, &name))
            } else {
                "\nNothing of it needs approval: what is narrower holds at once\n".to_owned()
            };
            let (shown, against) = (review::difference_text(difference), review::against_text(&review));
            let whole = review.examined.candidate.digest();
            let whole = whole.map(|digest| format!("\nreview {digest}, of all that would be approved\n"));
            render::data(&format!("{shown}{against}{}{next}", whole.unwrap_or_default()))?;
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
    untidied("removed", removed.untidied.as_deref());
    let digest = removed.before.as_ref().map(|approval| approval.sha256);
    if as_json {
        render::json(&json!({ "plugin": name, "removed": digest, "warning": removed.untidied }))?;
    } else {
        match digest {
            Some(digest) => render::data(&format!("removed the approval of {name}, sha256 {digest}\n"))?,
            None => render::data(&format!("nothing of {name} was approved\n"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
