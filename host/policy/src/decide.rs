//! The one decision: may this principal call this tool, and within which bounds.

use std::sync::Arc;

use crate::{Confirm, Effective, Limits, PluginName, Principal, RoleName, ToolName, ToolRules, Verdict};

/// The proof that a call was allowed. Only [`decide`] makes one, and running a call takes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Permit {
    principal: Principal,
    rules: Arc<ToolRules>,
}

impl Permit {
    /// Who calls.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The plugin that the tool belongs to.
    pub fn plugin(&self) -> &PluginName {
        &self.rules.plugin
    }

    /// The tool.
    pub fn tool(&self) -> &ToolName {
        &self.rules.tool
    }

    /// What the call may use.
    pub fn limits(&self) -> &Limits {
        &self.rules.limits
    }

    /// Whether a person has to say yes first.
    pub fn confirm(&self) -> Option<Confirm> {
        self.rules.confirm
    }

    /// What the call may reach.
    pub fn grants(&self) -> &Effective {
        &self.rules.grants
    }
}

/// Why a call was not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No rule of the configuration allows it.
    #[error("no rule of the role `{role}` allows it")]
    NotAllowed {
        /// The role.
        role: RoleName,
    },
    /// A rule forbids it. Deny beats allow.
    #[error("the rule `{rule}` in `deny` of the role `{role}` forbids it")]
    Forbidden {
        /// The role.
        role: RoleName,
        /// The pattern.
        rule: String,
    },
    /// Who asks has no role that there is.
    #[error("`{principal}` has no role")]
    NoRole {
        /// Who asks.
        principal: String,
    },
}

/// May `principal` call the tool that `rules` are about?
///
/// The operator of this machine, and whoever is on its loopback interface while there is no authentication, may call
/// every tool that is served. An agent may call what its role allows.
///
/// # Errors
/// When no rule allows it, or one forbids it.
pub fn decide(principal: &Principal, rules: &Arc<ToolRules>) -> Result<Permit, Denied> {
    match principal {
        Principal::LocalOperator | Principal::Loopback => {}
        Principal::Agent(agent) => {
            let role = agent.role().ok_or_else(|| Denied::NoRole { principal: agent.name().to_string() })?;
            match role.tool(&rules.plugin, &rules.tool) {
                Verdict::Allowed(_) => {}
                Verdict::Denied(rule) => {
                    return Err(Denied::Forbidden { role: role.name().clone(), rule: rule.to_string() });
                }
                Verdict::NotAllowed => return Err(Denied::NotAllowed { role: role.name().clone() }),
            }
        }
    }
    Ok(Permit { principal: principal.clone(), rules: Arc::clone(rules) })
}

/// May `principal` read the resource at `uri`, as resources are written canonically?
///
/// As for tools: the operator, and whoever is on the loopback interface while there is no authentication, may read
/// every resource that the configuration opens; an agent what its role allows.
pub fn may_read(principal: &Principal, uri: &str) -> bool {
    match principal {
        Principal::LocalOperator | Principal::Loopback => true,
        Principal::Agent(agent) => agent.role().is_some_and(|role| role.resource(uri, &agent.in_buckets()).is_some()),
    }
}
