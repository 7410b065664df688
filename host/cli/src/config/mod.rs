//! `portcullis.toml`: what the operator writes. Read here and nowhere else.

mod file;
mod grants;
mod lines;
mod resolve;
mod units;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use portcullis_audit::Secret;
use portcullis_catalogue::PluginSpec;
use portcullis_gateway::{OAuth, RouteTable};
use portcullis_policy::{SecretSource, Statutes};
use portcullis_store::{BucketPattern, Durability, Limits};

pub(crate) use self::lines::{GrantLines, RoleLines};
use crate::render::Fault;

/// The configuration, checked, with nothing left to fill in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// The state directory.
    pub(crate) state_dir: PathBuf,
    /// The lock, beside the file.
    pub(crate) lock: PathBuf,
    /// What the host calls itself to clients.
    pub(crate) server_name: String,
    /// Where `serve` listens without an argument.
    pub(crate) http: std::net::SocketAddr,
    /// How many connections there may be, from where, and by which names.
    pub(crate) door: DoorSpec,
    /// Calls that compute at one time.
    pub(crate) max_concurrent_calls: u32,
    /// Calls that wait for a change at one time.
    pub(crate) max_waiting_calls: u32,
    /// How long persons have to say whether a call may run.
    pub(crate) confirm_timeout: Duration,
    /// Where shared context is kept.
    pub(crate) store: StoreAt,
    /// What buckets may hold, and who may look.
    pub(crate) buckets: Vec<BucketSpec>,
    /// Roles and agents.
    pub(crate) statutes: Statutes,
    /// Whose tokens open, where any do.
    pub(crate) oauth: Option<OAuth>,
    /// The plugins, by name.
    pub(crate) plugins: Vec<PluginSpec>,
    /// The routes, for [`Gateway::replace_routes`](portcullis_gateway::Gateway::replace_routes).
    pub(crate) routes: Arc<RouteTable>,
}

/// The door of HTTP, but for its address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DoorSpec {
    /// The certificate and its key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Whose word on their clients is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Names of this host beside those of this machine.
    pub(crate) public_hosts: Vec<String>,
    /// Connections at one time, in all and of one address.
    pub(crate) connections: (usize, usize),
}

/// Where shared context is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StoreAt {
    /// In a file in the state directory.
    Embedded(Durability),
    /// At a server.
    Redis {
        /// Its address. It may hold a password: not for any log.
        url: Secret<String>,
        /// The user.
        user: Option<String>,
        /// Where the password is.
        password: Option<SecretSource>,
    },
}

/// A bucket, or all of a kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BucketSpec {
    /// Which.
    pub(crate) pattern: BucketPattern,
    /// How much each may hold.
    pub(crate) limits: Limits,
    /// Whether clients may read it.
    pub(crate) resources: bool,
}

impl Config {
    /// Reads the file at `path`. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// A fault that names the file, the line or key, and the mend.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let invalid = || format!("The configuration `{shown}` is not valid");
        let text = std::fs::read_to_string(path).map_err(|error| {
            let hint = (error.kind() == std::io::ErrorKind::NotFound)
                .then(|| "name another file with `--config FILE`, or try `portcullis dev DIR` without one".to_owned());
            Fault::of_lines([format!("Could not read the configuration `{shown}`"), format!("cause: {error}")], hint)
        })?;
        let file: file::File = toml::from_str(&text).map_err(|error| {
            let message = error.message().to_owned();
            let place = error.span().map(|span| place(&text, span.start)).unwrap_or_default();
            Fault::of_lines([invalid(), format!("{place}{message}")], Some(mend(&message)))
        })?;
        // A bare file name has an empty parent, which is the current folder.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        resolve::resolve(file, folder).map_err(|wrong| {
            let place = wrong.at.map(|at| place(&text, at)).unwrap_or_default();
            Fault::of_lines([invalid(), format!("{place}{}", wrong.message)], Some(wrong.hint))
        })
    }

    /// This configuration with the plugins, routes, roles and agents of another.
    pub(crate) fn with_plugins_of(&self, other: &Self) -> Self {
        let routes = Arc::clone(&other.routes);
        Self { plugins: other.plugins.clone(), statutes: other.statutes.clone(), routes, ..self.clone() }
    }

    /// The folder of the file, in which relative paths begin.
    pub(crate) fn folder(&self) -> &Path {
        self.lock.parent().unwrap_or(Path::new(""))
    }

    /// Whether callers over HTTP have to say who they are.
    pub(crate) fn asks(&self) -> bool {
        self.statutes.has_agents() || self.oauth.is_some()
    }

    /// Whether a plugin is granted a bucket of the shared context.
    pub(crate) fn shares(&self) -> bool {
        self.plugins.iter().any(|plugin| !plugin.grants.kv().is_empty())
    }

    /// The JSON Schema of the file.
    pub(crate) fn schema() -> schemars::Schema {
        schemars::schema_for!(file::File)
    }
}

/// `line 3, column 7: `.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("line {line}, column {column}: ")
}

/// What to write instead, as far as the parser's words tell.
fn mend(message: &str) -> String {
    if message.contains("duplicate key") {
        return "keep one of the two".into();
    }
    nearest(message).unwrap_or_else(|| "`portcullis check --schema` prints what may stand there".into())
}

/// For "unknown field `x`, expected one of `a`, `b`": which one was most likely meant.
fn nearest(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().filter(|_| message.starts_with("unknown"))?;
    let best = quoted.max_by(|a, b| strsim::jaro(unknown, a).total_cmp(&strsim::jaro(unknown, b)))?;
    (strsim::jaro(unknown, best) > 0.7).then(|| format!("write `{best}`"))
}
