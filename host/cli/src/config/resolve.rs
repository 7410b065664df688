//! From what is written to what holds: defaults filled in, paths made absolute, bounds checked.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc, time::Duration};

use ipnet::IpNet;
use portcullis_audit::Secret;
use portcullis_catalogue::{PluginSpec, ToolSpec};
use portcullis_gateway::{OAuth, Route, RouteError, RouteTable, Source};
use portcullis_policy::{
    AgentName, Allowance, AllowanceOverride, Annotations, Confirm, Limits, LimitsOverride, PluginName, SecretSource,
    Statutes, StatutesError, ToolName, snake_case,
};
use portcullis_store::{BucketPattern, Durability};
use toml::Spanned;

use crate::config::{BucketSpec, Config, DoorSpec, StoreAt, file};

/// What is wrong, by its key, and the mend.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: String,
    /// Where in the file, in bytes from its beginning, where that is known.
    pub(super) at: Option<usize>,
}

fn wrong<T>(message: String, hint: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { message, hint: hint.into(), at: None })
}

/// Most calls that wait: with as many as can compute, their sandboxes take 80 TiB of the 128 TiB of addresses that a process
/// has.
const MAX_WAITING_CALLS: u32 = 4000;

pub(super) fn resolve(file: file::File, folder: &Path) -> Result<Config, Wrong> {
    let calls = file.server.max_concurrent_calls;
    if !(1..=1000).contains(&calls) {
        return wrong(
            format!("`server.max-concurrent-calls` must be from 1 to 1000: {calls}"),
            "max-concurrent-calls = 64",
        );
    }
    let waiting = file.server.max_waiting_calls;
    if waiting > MAX_WAITING_CALLS {
        return wrong(
            format!("`server.max-waiting-calls` must be from 0 to {MAX_WAITING_CALLS}: {waiting}"),
            "max-waiting-calls = 256",
        );
    }
    if file.server.name.is_empty() || file.server.name.len() > 100 || file.server.name.chars().any(char::is_control) {
        return wrong("`server.name` must have from 1 to 100 bytes of plain text".into(), "name = \"portcullis\"");
    }
    let confirm_timeout = file.server.confirm_timeout.0;
    if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&confirm_timeout) {
        let found = humantime::format_duration(confirm_timeout);
        return wrong(format!("`server.confirm-timeout` must be from 1s to 1h: {found}"), "confirm-timeout = \"5m\"");
    }
    let door = door(&file.server, folder)?;
    let defaults = limits(&Limits::default(), &file.limits, "limits")?;
    let secrets = file.secrets.into_iter().map(|(name, written)| Ok((name.clone(), secret(&name, written, folder)?)));
    let secrets = Arc::new(secrets.collect::<Result<BTreeMap<_, _>, Wrong>>()?);
    let plugins = file.plugins.into_iter().map(|(name, written)| plugin(name, written, &defaults, &secrets, folder));
    let has_roles = !file.roles.is_empty();
    let usual = allowance(&Allowance::default(), file.agent_defaults, "agent-defaults")?;
    let own = file.agents.iter().map(|(name, agent)| Ok((name.clone(), agent_allowance(&usual, name, agent)?)));
    let own = own.collect::<Result<BTreeMap<_, _>, Wrong>>()?;
    let agents = file.agents.into_iter().map(|(name, agent)| (name, agent.role)).collect();
    let statutes = Statutes::new(file.roles, agents).map(|statutes| statutes.with_allowances(usual, own));
    let statutes = statutes.or_else(|error| {
        let hint = match &error {
            StatutesError::NoRole { role, .. } => format!("[roles.{role}]"),
            StatutesError::Alike { other, .. } => format!("another name for `{other}`"),
            StatutesError::OfTokens { agent } => format!("[agents.{}]", agent.as_str().replacen('.', "-", 1)),
            StatutesError::Long { .. } => "patterns with `*`, or a second role".to_owned(),
        };
        wrong(error.to_string(), hint)
    })?;
    let state_dir = folder.join(file.state_dir);
    let routes = routes(file.routes)?;
    Ok(Config {
        routes,
        store: store(file.store, &secrets)?,
        buckets: file.buckets.into_iter().map(|(name, written)| bucket(&name, &written)).collect::<Result<_, _>>()?,
        state_dir,
        lock: folder.join("portcullis.lock"),
        server_name: file.server.name,
        http: file.server.http,
        door,
        max_concurrent_calls: calls,
        max_waiting_calls: waiting,
        confirm_timeout,
        oauth: file.auth.oauth.map(|written| oauth(written, has_roles, folder)).transpose()?,
        statutes,
        plugins: plugins.collect::<Result<_, _>>()?,
    })
}

/// The routes, each fault at its place in the file.
fn routes(written: Vec<Spanned<file::Route>>) -> Result<Arc<RouteTable>, Wrong> {
    let places: Vec<_> = written.iter().map(|route| route.span().start).collect();
    let at = |at: usize, error: RouteError| {
        let message = format!("`routes` no. {}: {error}", at + 1);
        Wrong { message, hint: error.hint, at: places.get(at).copied() }
    };
    let read = written.into_iter().enumerate().map(|(number, written)| {
        let file::Route { method, path, tool, arguments, description } = written.into_inner();
        let arguments = arguments.into_iter().map(|(name, argument)| source(name, argument)).collect::<Result<_, _>>();
        let route = arguments.and_then(|arguments| Route::new(&method, &path, &tool, arguments, description));
        route.map_err(|error| at(number, error))
    });
    let table = RouteTable::new(read.collect::<Result<_, _>>()?);
    table.map(Arc::new).map_err(|(number, error)| at(number, error))
}

fn source(name: String, argument: file::Argument) -> Result<(String, Source), RouteError> {
    let wrong = |why: String, hint: String| Err(RouteError { key: "arguments", why, hint });
    match argument {
        file::Argument::From(written) => match Source::read(&written) {
            Ok(source) => Ok((name, source)),
            Err(why) => {
                let constant = serde_json::Value::from(written);
                wrong(
                    format!("`{}`: {why}", name.escape_debug()),
                    format!("for a constant: {name} = {{ value = {constant} }}"),
                )
            }
        },
        file::Argument::Fixed(file::Fixed { value }) if value.is_null() => wrong(
            format!("`{}`: a constant is a text, a number, a list or a table", name.escape_debug()),
            "value = \"shared\"".into(),
        ),
        file::Argument::Fixed(file::Fixed { value }) => Ok((name, Source::Constant(value))),
    }
}

fn oauth(written: file::OAuth, has_roles: bool, folder: &Path) -> Result<OAuth, Wrong> {
    if !has_roles {
        return wrong("`auth.oauth` has no role that a token could name".into(), "[roles.reader]");
    }
    let file::OAuth { issuer, audience, role_claim, scopes, jwks, ca } = written;
    let jwks = jwks.map(|file| folder.join(file));
    let settings = OAuth::new(issuer, audience, role_claim, scopes, jwks);
    let settings = match ca.map(|file| folder.join(file)) {
        Some(ca) => settings.and_then(|settings| settings.with_ca(ca)),
        None => settings,
    };
    settings.or_else(|error| wrong(error.to_string(), error.hint))
}

/// Most connections that may be configured: more than that no process has descriptors for by default anywhere.
const MAX_CONNECTIONS: u32 = 100_000;

fn door(written: &file::Server, folder: &Path) -> Result<DoorSpec, Wrong> {
    let count = |key: &str, found: u32, default: u32| {
        if (1..=MAX_CONNECTIONS).contains(&found) {
            return Ok(found as usize);
        }
        wrong(format!("`server.{key}` must be from 1 to {MAX_CONNECTIONS}: {found}"), format!("{key} = {default}"))
    };
    // A name, with a port or without, as it stands in a `Host` header.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if let Some(host) = written.public_hosts.iter().find(|host| host.is_empty() || !host.chars().all(plain)) {
        let shown = host.escape_debug();
        return wrong(
            format!("`server.public-hosts` must have names: `{shown}`"),
            "public-hosts = [\"tools.example\"]",
        );
    }
    Ok(DoorSpec {
        tls: written.tls.as_ref().map(|tls| (folder.join(&tls.cert), folder.join(&tls.key))),
        trusted_proxies: written.trusted_proxies.iter().map(|text| network(text)).collect::<Result<_, _>>()?,
        public_hosts: written.public_hosts.clone(),
        connections: (
            count("max-connections", written.max_connections, 1024)?,
            count("max-connections-per-address", written.max_connections_per_address, 512)?,
        ),
    })
}

/// `10.0.0.0/8`, or one address.
fn network(text: &str) -> Result<IpNet, Wrong> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(one).map_or_else(
        || {
            let shown = text.escape_debug();
            wrong(
                format!("`server.trusted-proxies` must have networks: `{shown}`"),
                "trusted-proxies = [\"10.0.0.0/8\"]",
            )
        },
        Ok,
    )
}

fn agent_allowance(usual: &Allowance, name: &AgentName, agent: &file::Agent) -> Result<Allowance, Wrong> {
    let file::Agent { role: _, concurrency, calls_per_minute, fuel_per_day } = agent;
    let (concurrency, calls_per_minute, fuel_per_day) = (*concurrency, *calls_per_minute, *fuel_per_day);
    allowance(usual, file::Allowance { concurrency, calls_per_minute, fuel_per_day }, &format!("agents.{name}"))
}

fn allowance(before: &Allowance, written: file::Allowance, key: &str) -> Result<Allowance, Wrong> {
    let file::Allowance { concurrency, calls_per_minute, fuel_per_day } = written;
    let over = AllowanceOverride { concurrency, calls_per_minute, fuel_per_day: fuel_per_day.map(|fuel| fuel.0) };
    before.with(&over).or_else(|error| {
        let default = match error.limit {
            "concurrency" => "concurrency = 16",
            "calls-per-minute" => "calls-per-minute = 600",
            _ => "fuel-per-day = \"off\"",
        };
        wrong(format!("`{key}.{}` must be {}: {}", error.limit, error.range, error.found), default)
    })
}

fn store(written: file::Store, secrets: &BTreeMap<String, SecretSource>) -> Result<StoreAt, Wrong> {
    let file::Store { url, durability, user, password } = written;
    if url == "embedded" {
        if user.is_some() || password.is_some() {
            return wrong("`store.user` and `store.password` are a server's".into(), "url = \"redis://HOST:6379\"");
        }
        return Ok(StoreAt::Embedded(match durability {
            file::Durability::Always => Durability::Always,
            file::Durability::Relaxed => Durability::Relaxed,
        }));
    }
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        let expected = "`store.url` must be `embedded`, `redis://HOST:PORT` or `rediss://HOST:PORT`";
        return wrong(expected.into(), "url = \"embedded\"");
    }
    let source = |name: String| match secrets.get(&name) {
        Some(source) => Ok(source.clone()),
        None => wrong(
            format!("`store.password` names the secret `{name}`, which is not in `[secrets]`"),
            format!("[secrets.{name}]"),
        ),
    };
    Ok(StoreAt::Redis { url: Secret::new(url), user, password: password.map(source).transpose()? })
}

/// Most bytes of a bucket, and most entries: what no bucket of agents has, so that a slip of the pen is found.
const MAX_BUCKET_BYTES: u64 = 1 << 40;
const MAX_BUCKET_ENTRIES: u64 = 1_000_000_000;

fn bucket(name: &str, written: &file::Bucket) -> Result<BucketSpec, Wrong> {
    let pattern = BucketPattern::new(name)
        .or_else(|error| wrong(format!("`buckets.{}`: {error}", name.escape_debug()), "[buckets.shared]"))?;
    let default = portcullis_store::Limits::default();
    let max_bytes = written.max_bytes.map_or(default.max_bytes, |bytes| bytes.0);
    let max_entries = written.max_entries.unwrap_or(default.max_entries);
    if !(1..=MAX_BUCKET_BYTES).contains(&max_bytes) {
        return wrong(format!("`buckets.{name}.max-bytes` must be from 1 to 1TiB"), "max-bytes = \"64MiB\"");
    }
    if !(1..=MAX_BUCKET_ENTRIES).contains(&max_entries) {
        return wrong(format!("`buckets.{name}.max-entries` must be from 1 to 1e9"), "max-entries = 100_000");
    }
    let limits = portcullis_store::Limits { max_bytes, max_entries, ..default };
    Ok(BucketSpec { pattern, limits, resources: written.resources })
}

fn secret(name: &str, written: file::Secret, folder: &Path) -> Result<SecretSource, Wrong> {
    match (written.env, written.file, written.command) {
        (Some(variable), None, None) if !variable.is_empty() => Ok(SecretSource::Env(variable)),
        (None, Some(file), None) if !file.as_os_str().is_empty() => Ok(SecretSource::File(folder.join(file))),
        (None, None, Some(command)) if command.first().is_some_and(|program| !program.is_empty()) => {
            Ok(SecretSource::Command(command))
        }
        _ => wrong(
            format!("`secrets.{name}` must have one of `env`, `file` and `command`"),
            format!("env = \"{}\"", snake_case(name).to_ascii_uppercase()),
        ),
    }
}

fn plugin(
    name: PluginName,
    written: file::Plugin,
    defaults: &Limits,
    secrets: &Arc<BTreeMap<String, SecretSource>>,
    folder: &Path,
) -> Result<PluginSpec, Wrong> {
    let key = format!("plugins.{name}");
    let prefix = written.prefix.unwrap_or_else(|| format!("{}_", snake_case(name.as_str())));
    // A prefix is part of a name, so it holds what a name may hold.
    if let Err(error) = ToolName::new(format!("{prefix}x")) {
        return wrong(format!("`{key}.prefix`: {error}"), format!("prefix = \"{}_\"", snake_case(name.as_str())));
    }
    if written.source.as_os_str().is_empty() {
        return wrong(format!("`{key}.source` is empty"), format!("source = \"{name}/dist/{name}.wasm\""));
    }
    let own = limits(defaults, &written.limits, &format!("{key}.limits"))?;
    let grants = Arc::new(written.grants);
    let mut settings = BTreeMap::new();
    for (function, tool) in written.tool {
        let key = format!("{key}.tool.{function}");
        if tool.limits.concurrency.is_some() {
            return wrong(
                format!("`{key}.limits.concurrency`: a tool's calls count towards its plugin's"),
                format!("in `[plugins.{name}.limits]`: concurrency = …"),
            );
        }
        let limits = limits(&own, &tool.limits, &format!("{key}.limits"))?;
        let file::Annotations { read_only_hint, destructive_hint, idempotent_hint, open_world_hint } = tool.annotations;
        let written = Annotations { read_only_hint, destructive_hint, idempotent_hint, open_world_hint };
        let annotations = match Annotations::of(&grants).stricter(written) {
            Ok(annotations) => annotations,
            Err(error) => {
                let hint = as_written(error.hint);
                return wrong(format!("`{key}.annotations`: {error}"), format!("leave `{hint}` out"));
            }
        };
        let confirm = confirm(tool.confirm, tool.remember, &key)?;
        settings.insert(function, ToolSpec { limits, description: tool.description, annotations, confirm });
    }
    Ok(PluginSpec {
        written_source: written.source.to_string_lossy().into_owned(),
        source: folder.join(written.source),
        prefix,
        tools: written.tools,
        enabled: written.enabled,
        limits: own,
        grants,
        secrets: Arc::clone(secrets),
        settings,
        name,
    })
}

fn confirm(confirm: bool, remember: Option<file::Remember>, key: &str) -> Result<Option<Confirm>, Wrong> {
    match (confirm, remember) {
        (false, None) => Ok(None),
        (true, None) => Ok(Some(Confirm::EachCall)),
        (true, Some(file::Remember::Session)) => Ok(Some(Confirm::OncePerSession)),
        (false, Some(_)) => wrong(format!("`{key}.remember` is of no use without `confirm`"), "confirm = true"),
    }
}

/// The key of a hint that MCP writes `readOnlyHint`.
fn as_written(hint: &str) -> String {
    let dashed = |c: char| if c.is_ascii_uppercase() { format!("-{}", c.to_ascii_lowercase()) } else { c.to_string() };
    hint.chars().map(dashed).collect()
}

fn limits(before: &Limits, written: &file::Limits, key: &str) -> Result<Limits, Wrong> {
    let over = LimitsOverride {
        deadline: written.deadline.map(|time| time.0),
        fuel: written.fuel.map(|fuel| fuel.0),
        memory: written.memory.map(|bytes| bytes.0),
        output: written.output.map(|bytes| bytes.0),
        concurrency: written.concurrency,
    };
    before.with(&over).or_else(|error| {
        let default = match error.limit {
            "deadline" => "deadline = \"15s\"",
            "fuel" => "fuel = 50_000_000_000",
            "memory" => "memory = \"64MiB\"",
            "output" => "output = \"1MiB\"",
            _ => "concurrency = 16",
        };
        let bare = error.to_string();
        wrong(format!("`{key}.{}`{}", error.limit, bare.trim_start_matches(&format!("`{}`", error.limit))), default)
    })
}
