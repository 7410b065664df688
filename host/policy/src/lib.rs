//! The statute book: principals, limits, the plain types and the one decision.
//!
//! Pure: no I/O, nothing async, no knowledge of wasmtime or MCP. What "allowed" means is known here and nowhere else.

#![forbid(unsafe_code)]

mod allowance;
mod change;
mod confirm;
mod decide;
mod digest;
mod grant;
mod limits;
mod names;
mod need;
mod principal;
mod reach;
mod role;
mod secret_source;
mod size;
mod subject;
mod tool;

pub use allowance::{Allowance, AllowanceOverride, MAX_AGENT_CONCURRENCY, MAX_CALLS_PER_MINUTE, MAX_FUEL_PER_DAY};
pub use change::{Change, ChangeKind};
pub use confirm::Confirm;
pub use decide::{Denied, Permit, decide, may_read};
pub use digest::{Digest, DigestError, hex};
pub use grant::{
    Access, BucketKeys, Buckets, DEFAULT_QUOTA, Effective, FileDecision, FileGrant, GrantError, Grants, Host,
    HttpDecision, HttpDenied, HttpGrant, HttpPattern, IpRange, KvDecision, KvGrant, MAX_ENTRIES, MAX_PATTERN,
    MAX_QUOTA, RequestTarget, Scheme, SecretGrant, UrlFault, is_global,
};
pub use limits::{
    Limits, LimitsError, LimitsOverride, MAX_CONCURRENCY, MAX_DEADLINE, MAX_FUEL, MAX_MEMORY, MAX_OUTPUT,
};
pub use names::{
    AgentName, MAX_AGENT_NAME, MAX_PLUGIN_NAME, MAX_TOOL_NAME, NameError, PluginName, RoleName, ToolName, snake_case,
};
pub use need::{Need, Needs};
pub use principal::Principal;
pub use reach::Reach;
pub use role::{
    Agent, MAX_PATTERNS, PatternError, ResourcePattern, Role, RoleRules, Statutes, StatutesError, ToolPattern, Verdict,
};
pub use secret_source::SecretSource;
pub use subject::{MAX_SUBJECT, Subject, SubjectError};
pub use tool::{Annotations, AnnotationsError, ToolDefinition, ToolRules};
