//! What may stand below `[plugins.NAME.grants]` and `[roles.NAME]`, for the JSON Schema alone: `policy` reads it, and says what is wrong.

#![expect(dead_code, reason = "the schema is made of the types, and nothing is read into them")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// What the calls of a plugin may reach. Empty means nothing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Written {
    /// HTTP requests: methods, scheme, host, port and path. `*` is one label or segment, `**` any number.
    /// Example: `http = ["GET https://api.example.com/v1/**"]`
    http: Option<Vec<Http>>,
    /// Requests that stay denied whatever `http` says. Example: `deny = ["GET https://api.example.com/v1/admin/**"]`
    deny: Option<Vec<String>>,
    /// Secrets that the host adds to requests; the plugin never sees them.
    secrets: Option<Vec<Secret>>,
    /// Directories.
    files: Option<Vec<Files>>,
    /// Variables of its environment. Example: `env = { UNITS = "metric" }`
    env: Option<BTreeMap<String, String>>,
    /// Buckets of the shared context.
    kv: Option<Vec<KeyValue>>,
}

/// A pattern, or a pattern with private addresses that it may lead to.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Http {
    Pattern(String),
    Private(PrivateHttp),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PrivateHttp {
    /// The pattern.
    allow: String,
    /// Networks that are not global and that the name may resolve to. Example: `private = ["10.0.0.0/8"]`
    private: Vec<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Secret {
    /// The secret: `[secrets.NAME]`.
    name: String,
    /// The header that carries it.
    header: String,
    /// The origin that gets it, and no other. Example: `to = "https://api.example.com"`
    to: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Files {
    /// The directory on this machine, relative to the configuration.
    host: String,
    /// Where the plugin finds it.
    guest: String,
    /// `read` (the default) or `read-write`.
    access: Option<Access>,
    /// Bytes that it may write. Default 16 MiB.
    quota: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct KeyValue {
    /// The bucket. `{principal}` stands for who calls, `{plugin}` for the plugin's name; with both, a `.` between them.
    /// Example: `bucket = "agent-{principal}"`
    bucket: String,
    /// What its keys begin with. Default: every key of the bucket. `{principal}` and `{plugin}` have a character behind them
    /// that no name has. Example: `prefix = "notes/{principal}/"`
    prefix: Option<String>,
    /// `read` (the default) or `read-write`.
    access: Option<Access>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Access {
    Read,
    ReadWrite,
}

/// A role. `*` in a pattern stands for any number of characters.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Role {
    /// Tools that may be called, as `TOOL` or `PLUGIN/TOOL`. Example: `allow = ["context_*", "weather/*"]`
    allow: Option<Vec<String>>,
    /// Tools that may not, whatever `allow` says. Example: `deny = ["context_delete"]`
    deny: Option<Vec<String>>,
    /// Resources that may be read; `**` goes beyond `/`, `{principal}` is the agent that asks, and keys are
    /// percent-encoded. Example: `resources = ["kv://shared/research/**"]`
    resources: Option<Vec<String>>,
}
