//! The file as it is written: every struct denies what it does not know.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use portcullis_policy::{AgentName, Grants, PluginName, RoleName, RoleRules};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::{
    grants,
    units::{Bytes, Fuel, Time},
};

/// The configuration of Portcullis, `portcullis.toml`. Relative paths are relative to the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct File {
    /// Where the host keeps its key, its audit log and its caches; made with mode 0700. Example: `state-dir = ".portcullis"`
    #[serde(default = "state_dir")]
    pub(crate) state_dir: PathBuf,
    /// How the host serves.
    #[serde(default)]
    pub(crate) server: Server,
    /// What each call may use, where its plugin and its tool say nothing else.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// The plugins, by name: `[plugins.NAME]`. A name has letters, digits, `-` and `_`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Plugin>")]
    pub(crate) plugins: BTreeMap<PluginName, Plugin>,
    /// Secrets that the host puts into requests of plugins that are granted them, by name: `[secrets.NAME]`.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Where shared context is kept.
    #[serde(default)]
    pub(crate) store: Store,
    /// How much the buckets of shared context may hold, by name: `[buckets.NAME]`. A name may have one `{principal}` or
    /// `{plugin}`, as in a grant, and then stands for all buckets of that kind. The others have the defaults.
    #[serde(default)]
    pub(crate) buckets: BTreeMap<String, Bucket>,
    /// What agents may call and read, by role: `[roles.NAME]`. Without a rule that allows it, nothing.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, grants::Role>")]
    pub(crate) roles: BTreeMap<RoleName, RoleRules>,
    /// The agents: `[agents.NAME]`. As soon as there is one, callers over HTTP have to say who they are.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Agent>")]
    pub(crate) agents: BTreeMap<AgentName, Agent>,
    /// How much each agent may ask of the host, where `[agents.NAME]` says nothing else. It bounds agents alone: the operator
    /// owns the machine, and clients without authentication are bounded by what bounds the host.
    #[serde(default)]
    pub(crate) agent_defaults: Allowance,
    /// Who else may say who calls.
    #[serde(default)]
    pub(crate) auth: Auth,
    /// Methods and paths of HTTP that call tools, for who speaks no MCP: `[[routes]]`, at most 256. Under the same
    /// authentication, policy, limits and audit as `/mcp`; `/openapi.json` describes them.
    #[serde(default)]
    #[schemars(with = "Vec<Route>")]
    pub(crate) routes: Vec<Spanned<Route>>,
}

/// One route. Arguments of its tool that it does not set come from the query and, of `POST`, `PUT` and `PATCH`, from the
/// fields of a JSON body, by their own names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Route {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`. `HEAD` is answered where `GET` is. Example: `method = "GET"`
    pub(crate) method: String,
    /// Segments, of which `{NAME}` is a parameter; one that `arguments` does not use goes to the argument of its name. At most
    /// 512 bytes and 16 segments, of which the first is no parameter. Example: `path = "/context/{agent_id}"`
    pub(crate) path: String,
    /// The name of the tool, as clients call it. While it is not served, the route answers 404. Example: `tool = "read_context"`
    pub(crate) tool: String,
    /// Where arguments of the tool come from that have another name in the request, or that the request is not to give.
    /// Default none. Example: `arguments = { key = "path.agent_id", scope = { value = "shared" } }`
    #[serde(default)]
    pub(crate) arguments: BTreeMap<String, Argument>,
    /// What the route is for, in its description. Default: the tool's own. Example: `description = "What an agent has noted."`
    #[serde(default)]
    pub(crate) description: Option<String>,
}

/// Where an argument comes from: `"path.NAME"`, `"query.NAME"`, `"body.NAME"`, `"body"` for the whole of it, or a constant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected `\"path.NAME\"`, `\"query.NAME\"`, `\"body.NAME\"`, `\"body\"` or `{ value = CONSTANT }`"
)]
pub(crate) enum Argument {
    /// A place in the request.
    From(String),
    /// A constant.
    Fixed(Fixed),
}

/// A constant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixed {
    /// What the tool gets, whatever the request says. Example: `value = "shared"`
    pub(crate) value: serde_json::Value,
}

/// How callers over HTTP say who they are, beside the keys of agents.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Auth {
    /// An issuer of OAuth 2.1 whose tokens open, as its JWTs say: `[auth.oauth]`. With it, callers over HTTP have to say
    /// who they are.
    pub(crate) oauth: Option<OAuth>,
}

/// An issuer, and what of its tokens is looked at. RS256, ES256 and EdDSA are verified.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OAuth {
    /// What tokens have in `iss`, letter for letter; with https, or http on this machine. Its keys are found by discovery,
    /// unless `jwks` names a file. Example: `issuer = "https://id.example"`
    pub(crate) issuer: String,
    /// What tokens must have in `aud`: the address that clients have of this host. Example: `audience = "https://tools.example/mcp"`
    pub(crate) audience: String,
    /// The claim that names a role of `[roles]`: a text, or a list in which one is such a role. Example: `role-claim = "portcullis_role"`
    pub(crate) role_claim: String,
    /// Scopes that a token must have all of. Default none. Example: `scopes = ["tools"]`
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// A JSON Web Key Set of the issuer, for a site that cannot reach it; read again when it changes. Example: `jwks = "issuer.json"`
    #[serde(default)]
    pub(crate) jwks: Option<PathBuf>,
    /// Certificates in PEM of the authorities that are trusted for the issuer, in place of the system's: for a site with an
    /// authority of its own. Example: `ca = "tls/ca.pem"`
    #[serde(default)]
    pub(crate) ca: Option<PathBuf>,
}

/// One agent. Its keys are made by `portcullis key new NAME`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Agent {
    /// A role of `[roles]`. Example: `role = "researcher"`
    #[schemars(with = "String")]
    pub(crate) role: RoleName,
    /// Its calls at one time, those that wait included, from 1 to 5000. One more is refused. Default 16, a quarter of what a
    /// host computes at one time. Example: `concurrency = 4`
    #[schemars(range(min = 1, max = 5000))]
    pub(crate) concurrency: Option<u32>,
    /// Its calls a minute, from 1 to 1e7; a minute's worth may come at once, and comes back evenly. Default 600.
    /// Example: `calls-per-minute = 120`
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) calls_per_minute: Option<u32>,
    /// Units of computing of all its calls from midnight to midnight, UTC, or `"off"`, the default. A call that begins within
    /// it runs to its end. A restart forgets nothing of it. Example: `fuel-per-day = 5_000_000_000_000`
    pub(crate) fuel_per_day: Option<Fuel>,
}

/// How much agents may ask of the host, all their calls together.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Allowance {
    /// Calls of an agent at one time, those that wait included, from 1 to 5000. Default 16. Example: `concurrency = 4`
    #[schemars(range(min = 1, max = 5000))]
    pub(crate) concurrency: Option<u32>,
    /// Calls of an agent a minute, from 1 to 1e7. Default 600. Example: `calls-per-minute = 120`
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) calls_per_minute: Option<u32>,
    /// Units of computing of an agent from midnight to midnight, UTC, or `"off"`, the default.
    /// Example: `fuel-per-day = 5_000_000_000_000`
    pub(crate) fuel_per_day: Option<Fuel>,
}

/// Where shared context is kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Store {
    /// `"embedded"`, a file in the state directory, for one host; or `"redis://HOST:PORT"`, `"rediss://…"` with TLS, a Redis 7
    /// or Valkey for many hosts. Example: `url = "embedded"`
    pub(crate) url: String,
    /// When a write to the file is acknowledged: `"always"`, once it is on the disk, or `"relaxed"`, at once, and on the disk
    /// within a quarter of a second. Of a server, its own settings decide. Example: `durability = "always"`
    pub(crate) durability: Durability,
    /// The user, where the server has several. Example: `user = "portcullis"`
    pub(crate) user: Option<String>,
    /// The name of the secret, of `[secrets]`, that is the server's password. Example: `password = "redis"`
    pub(crate) password: Option<String>,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "embedded".into(), durability: Durability::Always, user: None, password: None }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Durability {
    /// Once it is on the disk.
    Always,
    /// At once.
    Relaxed,
}

/// A bucket, or all buckets of a kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Bucket {
    /// Bytes of keys and values together; from 1 to 1TiB. Default 64 MiB. Example: `max-bytes = "64MiB"`
    pub(crate) max_bytes: Option<Bytes>,
    /// Entries; from 1 to 1e9. Default 100,000. Example: `max-entries = 100_000`
    pub(crate) max_entries: Option<u64>,
    /// Whether clients may read it as MCP resources, `kv://BUCKET/KEY`, as far as their role allows. Default false.
    /// Example: `resources = true`
    pub(crate) resources: bool,
}

/// Where a secret is. Exactly one of the three; its value stands in no log, error or record.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Secret {
    /// A variable of the host's environment. Example: `env = "OPENWEATHER_KEY"`
    pub(crate) env: Option<String>,
    /// A file; a line feed at its end is no part of the secret. Example: `file = "keys/openweather"`
    pub(crate) file: Option<PathBuf>,
    /// A program and its arguments, whose output is the secret; it has ten seconds. Example: `command = ["pass", "openweather"]`
    pub(crate) command: Option<Vec<String>>,
}

/// How the host serves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Server {
    /// What the host calls itself to clients. Example: `name = "portcullis"`
    pub(crate) name: String,
    /// Where `serve` listens; an address of this machine alone. Example: `http = "127.0.0.1:8080"`
    #[schemars(with = "String")]
    pub(crate) http: SocketAddr,
    /// Calls that compute at one time, from 1 to 1000; the pool of sandboxes is sized by it. Example: `max-concurrent-calls = 64`
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) max_concurrent_calls: u32,
    /// Calls that wait for a change of shared context at one time, beside those that compute, from 0 to 4000. Each keeps its
    /// sandbox, with the memory that it has reached. Example: `max-waiting-calls = 256`
    #[schemars(range(max = 4000))]
    pub(crate) max_waiting_calls: u32,
    /// Connections over HTTP at one time, from 1 to 100000; one more is closed at once. Each takes a descriptor and some tens of
    /// kilobytes. Example: `max-connections = 1024`
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) max_connections: u32,
    /// The same of one address, or of one /64 of IPv6; for a client behind a trusted proxy, its requests at one time. Half of all
    /// by default, so that nobody has all of them. Example: `max-connections-per-address = 512`
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) max_connections_per_address: u32,
    /// How long a person has to say whether a call of a tool with `confirm` may run, from `"1s"` to `"1h"`; the call's own
    /// deadline begins after it. Clients that give up on a request sooner need less. Example: `confirm-timeout = "5m"`
    #[schemars(with = "String")]
    pub(crate) confirm_timeout: Time,
    /// The certificate of this host, where it speaks TLS itself: `[server.tls]`.
    pub(crate) tls: Option<Tls>,
    /// Networks of proxies in front of this host. What they write in `Forwarded` or `X-Forwarded-For` is believed, for limits and
    /// in the audit log; of anybody else it is not looked at. Example: `trusted-proxies = ["10.0.0.0/8"]`
    pub(crate) trusted_proxies: Vec<String>,
    /// Names, with a port or without, by which clients reach this host, beside those of this machine.
    /// Example: `public-hosts = ["tools.example"]`
    pub(crate) public_hosts: Vec<String>,
}

/// TLS 1.2 and 1.3, spoken by the host itself. Both files are read again when they change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Tls {
    /// The chain in PEM, the host's own certificate first. Example: `cert = "tls/chain.pem"`
    pub(crate) cert: PathBuf,
    /// Its key in PEM, readable by its owner alone. Example: `key = "tls/key.pem"`
    pub(crate) key: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: "portcullis".into(),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_concurrent_calls: 64,
            max_waiting_calls: 256,
            max_connections: 1024,
            max_connections_per_address: 512,
            confirm_timeout: Time(Duration::from_secs(5 * 60)),
            tls: None,
            trusted_proxies: Vec::new(),
            public_hosts: Vec::new(),
        }
    }
}

/// What a call may use. Each limit is named in the error that it causes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Limits {
    /// Wall time from the request to the reply, waiting included; at most a day. Default 15 s. Example: `deadline = "15s"`
    pub(crate) deadline: Option<Time>,
    /// Units of computing, about one an instruction, or `"off"`. Default 50e9, about 4 s. Example: `fuel = 50_000_000_000`
    pub(crate) fuel: Option<Fuel>,
    /// Linear memory of a call, summed; from 64KiB to 4GiB. Default 64 MiB. Example: `memory = "64MiB"`
    pub(crate) memory: Option<Bytes>,
    /// The result as JSON; at most 64MiB. Default 1 MiB. Example: `output = "1MiB"`
    pub(crate) output: Option<Bytes>,
    /// Calls of one plugin that compute at one time, from 1 to 1000. Default 16. Example: `concurrency = 16`
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) concurrency: Option<u32>,
}

/// One plugin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Plugin {
    /// The component's file. Example: `source = "hello/dist/hello.wasm"`
    pub(crate) source: PathBuf,
    /// What the names of its tools begin with. Default: the plugin's name and `_`. Example: `prefix = ""`
    pub(crate) prefix: Option<String>,
    /// The functions that are tools, by WIT name. Default: every exported function that can be one. Example: `tools = ["greet"]`
    pub(crate) tools: Option<Vec<String>>,
    /// Whether it is served. Default true. Example: `enabled = false`
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    /// What its calls may use.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// What its calls may reach, once it is approved with that: `[plugins.NAME.grants]`. Default: nothing.
    #[serde(default)]
    #[schemars(with = "grants::Written")]
    pub(crate) grants: Grants,
    /// Settings for single functions: `[plugins.NAME.tool.FUNCTION]`, by WIT name.
    #[serde(default)]
    pub(crate) tool: BTreeMap<String, Tool>,
}

/// The settings of one function.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Tool {
    /// What its calls may use. Its calls count towards the `concurrency` of its plugin; it has none of its own.
    pub(crate) limits: Limits,
    /// A description, used where the component has none. Example: `description = "Greets somebody by name."`
    pub(crate) description: Option<String>,
    /// Hints to clients that are stricter than the grants make them. Example: `annotations = { read-only-hint = false }`
    pub(crate) annotations: Annotations,
    /// Whether the person behind the client is asked before it runs; a client that cannot ask is refused. Taking it away waits
    /// for approval. Default false. Example: `confirm = true`
    pub(crate) confirm: bool,
    /// With `confirm`, how long a yes counts: `"session"`, for the session of that client. Default: for one call.
    /// Example: `remember = "session"`
    pub(crate) remember: Option<Remember>,
}

/// How long a yes counts.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Remember {
    /// For the session of the client.
    Session,
}

/// Hints to clients, as MCP's `ToolAnnotations`. The grants make them; here they can only become stricter.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Annotations {
    /// False: the tool may change something. Example: `read-only-hint = false`
    pub(crate) read_only_hint: Option<bool>,
    /// True: the tool may destroy something. Example: `destructive-hint = true`
    pub(crate) destructive_hint: Option<bool>,
    /// False: a second call may change something further. Example: `idempotent-hint = false`
    pub(crate) idempotent_hint: Option<bool>,
    /// True: the tool may reach what is outside the host. Example: `open-world-hint = true`
    pub(crate) open_world_hint: Option<bool>,
}

fn state_dir() -> PathBuf {
    ".portcullis".into()
}

fn yes() -> bool {
    true
}
