//! `key`: the keys that agents come in by.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portcullis_audit::Event;
use portcullis_gateway::{ApiKey, KeyFileError};
use portcullis_policy::AgentName;
use portcullis_trust::escaped;
use serde_json::json;

use crate::{
    args::Key,
    commands::approve::operator,
    config::Config,
    host::{Host, key_file},
    render::{self, Fault},
};

fn fault(error: &KeyFileError) -> anyhow::Error {
    render::fault(error, error.hint())
}

pub(crate) fn run(config: &Config, what: Key, as_json: bool) -> anyhow::Result<ExitCode> {
    let host = Host::for_review(config, "key")?;
    let done = match what {
        Key::New { agent, expires } => new(config, &host, &agent, expires, as_json),
        Key::List => list(config, &host, as_json),
        Key::Revoke { id } => revoke(&host, &id, as_json),
    };
    host.close();
    done.map(|()| ExitCode::SUCCESS)
}

fn new(config: &Config, host: &Host, agent: &str, expires: Option<Duration>, as_json: bool) -> anyhow::Result<()> {
    let name = AgentName::new(agent).ok().filter(|name| config.statutes.agent(name).is_some());
    let name = name.ok_or_else(|| {
        let hint = format!("in the configuration: [agents.{}] with a `role`", escaped(agent));
        Fault::error(format!("There is no agent `{agent}` in the configuration"), Some(hint))
    })?;
    let (key, text) = key_file(&host.state).make(name, expires, SystemTime::now()).map_err(|error| fault(&error))?;
    let made = Event::KeyMade { id: &key.id, agent: key.agent.as_str(), by: &operator().name };
    if let Err(error) = host.ledger.append(&made) {
        // A key that nobody would find in the audit log opens nothing.
        key_file(&host.state).revoke(&key.id, SystemTime::now()).map_err(|error| fault(&error))?;
        return Err(render::fault(&error, None));
    }
    if as_json {
        return render::json(
            &json!({ "key": text.expose(), "id": key.id, "agent": key.agent, "expires": key.expires.map(at) }),
        );
    }
    let until =
        key.expires.map_or_else(|| "until it is revoked".to_owned(), |expires| format!("until {}", at(expires)));
    render::note(&format!("The key `{}` of `{}`, good {until}. It is shown this once:", key.id, key.agent));
    render::data(text.expose())
}

fn list(config: &Config, host: &Host, as_json: bool) -> anyhow::Result<()> {
    let ring = key_file(&host.state).read().map_err(|error| fault(&error))?;
    let state = |key: &ApiKey| match (key.revoked, key.expires) {
        (Some(_), _) => "revoked",
        (None, Some(expires)) if UNIX_EPOCH + Duration::from_secs(expires) <= SystemTime::now() => "expired",
        _ if config.statutes.agent(&key.agent).is_none() => "no such agent",
        _ => "good",
    };
    if as_json {
        let keys = ring.keys().iter().map(|key| {
            json!({
                "id": key.id, "agent": key.agent, "state": state(key), "created": at(key.created),
                "expires": key.expires.map(at), "revoked": key.revoked.map(at),
            })
        });
        return render::json(&keys.collect::<Vec<_>>());
    }
    let mut rows = vec![["KEY", "AGENT", "STATE", "CREATED", "EXPIRES"].map(String::from).to_vec()];
    rows.extend(ring.keys().iter().map(|key| {
        let expires = key.expires.map(at).unwrap_or_default();
        vec![key.id.clone(), key.agent.to_string(), state(key).to_owned(), at(key.created), expires]
    }));
    render::data(&render::table(&rows))
}

fn revoke(host: &Host, id: &str, as_json: bool) -> anyhow::Result<()> {
    let key = key_file(&host.state).revoke(id, SystemTime::now()).map_err(|error| fault(&error))?;
    let revoked = Event::KeyRevoked { id: &key.id, agent: key.agent.as_str(), by: &operator().name };
    host.ledger.append(&revoked).map_err(|error| render::fault(&error, None))?;
    if as_json {
        return render::json(&json!({ "revoked": key.id, "agent": key.agent }));
    }
    render::data(&format!("revoked the key {} of {}\n", key.id, key.agent))
}

fn at(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}
