//! What an agent may call, see and read: roles, and who has which.

mod pattern;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Deserialize;

pub use self::pattern::{PatternError, ResourcePattern, ToolPattern};
use crate::{AgentName, Allowance, PluginName, RoleName, Subject, ToolName};

/// Most patterns of one list of a role: an operator reads them, and a call is compared with all.
pub const MAX_PATTERNS: usize = 256;

/// `[roles.NAME]`. Empty means nothing: once there is authentication, who is allowed nothing may do nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RoleRules {
    /// The tools that may be called.
    pub allow: Vec<ToolPattern>,
    /// The tools that may not, whatever `allow` says.
    pub deny: Vec<ToolPattern>,
    /// The resources that may be read.
    pub resources: Vec<ResourcePattern>,
}

/// A role, with its name.
#[derive(Clone, PartialEq, Eq)]
pub struct Role {
    name: RoleName,
    rules: RoleRules,
}

/// What a role says of a tool, and the rule that made it say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It may be called.
    Allowed(&'a ToolPattern),
    /// A pattern of `deny` matches. Deny beats allow.
    Denied(&'a ToolPattern),
    /// Nothing allows it.
    NotAllowed,
}

impl Role {
    /// A role with these rules.
    pub fn new(name: RoleName, rules: RoleRules) -> Self {
        Self { name, rules }
    }

    /// Its name.
    pub fn name(&self) -> &RoleName {
        &self.name
    }

    /// May a tool of this plugin be called?
    pub fn tool(&self, plugin: &PluginName, tool: &ToolName) -> Verdict<'_> {
        let matching = |patterns: &'_ [ToolPattern]| patterns.iter().position(|pattern| pattern.matches(plugin, tool));
        if let Some(denying) = matching(&self.rules.deny).and_then(|at| self.rules.deny.get(at)) {
            return Verdict::Denied(denying);
        }
        let allowing = matching(&self.rules.allow).and_then(|at| self.rules.allow.get(at));
        allowing.map_or(Verdict::NotAllowed, Verdict::Allowed)
    }

    /// The pattern that lets an agent read a resource, by its [name in buckets](Agent::in_buckets).
    pub fn resource(&self, uri: &str, agent: &str) -> Option<&ResourcePattern> {
        self.rules.resources.iter().find(|pattern| pattern.matches(uri, agent))
    }

    /// The resources that may be read.
    pub fn resources(&self) -> &[ResourcePattern] {
        &self.rules.resources
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Role").field(&self.name).finish()
    }
}

/// An agent as a door has made sure of it, with the role that it has at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    name: AgentName,
    role: Option<Arc<Role>>,
    /// Whether a token says that it has this role, and not the configuration.
    vouched: bool,
    allowance: Allowance,
}

impl Agent {
    /// The name in records.
    pub fn name(&self) -> &AgentName {
        &self.name
    }

    /// The patterns of its role over resources; none without a role.
    pub fn resources(&self) -> &[ResourcePattern] {
        self.role.as_deref().map_or(&[], Role::resources)
    }

    /// Whether it is one that a token names, so that its role is the token's to say.
    pub fn is_vouched(&self) -> bool {
        self.vouched
    }

    /// How much it may ask of the host at this moment.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Its role. Without one it may do nothing.
    pub fn role(&self) -> Option<&Arc<Role>> {
        self.role.as_ref()
    }
}

/// The roles and agents of a configuration, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statutes {
    roles: BTreeMap<RoleName, Arc<Role>>,
    agents: BTreeMap<AgentName, RoleName>,
    /// How much agents may ask of the host, where they have no allowance of their own.
    usual: Allowance,
    allowances: BTreeMap<AgentName, Allowance>,
}

/// Roles and agents that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatutesError {
    /// An agent has a role that is none.
    #[error("the agent `{agent}` has the role `{role}`, which is none")]
    NoRole {
        /// The agent.
        agent: AgentName,
        /// The role.
        role: RoleName,
    },
    /// Two agents are told apart by case alone (../shared/THREATS.md, A5).
    #[error("the agents `{one}` and `{other}` differ by case alone")]
    Alike {
        /// One of them.
        one: AgentName,
        /// The other.
        other: AgentName,
    },
    /// An agent has a name that is kept for those whom tokens name.
    #[error("the agent `{agent}` has a name of those that tokens name: they begin with `{}`", Subject::MARK)]
    OfTokens {
        /// The agent.
        agent: AgentName,
    },
    /// A role has more patterns than anybody reads.
    #[error("the role `{role}` has more than {MAX_PATTERNS} patterns in one list")]
    Long {
        /// The role.
        role: RoleName,
    },
}

impl Statutes {
    /// Puts roles and agents together.
    ///
    /// # Errors
    /// When an agent has no role that there is, two agents differ by case alone, one has a name that only tokens
    /// give, or a role is too long.
    pub fn new(
        roles: BTreeMap<RoleName, RoleRules>,
        agents: BTreeMap<AgentName, RoleName>,
    ) -> Result<Self, StatutesError> {
        for (role, rules) in &roles {
            if [rules.allow.len(), rules.deny.len(), rules.resources.len()].into_iter().any(|len| len > MAX_PATTERNS) {
                return Err(StatutesError::Long { role: role.clone() });
            }
        }
        let mut seen = BTreeMap::new();
        for (agent, role) in &agents {
            if !roles.contains_key(role) {
                return Err(StatutesError::NoRole { agent: agent.clone(), role: role.clone() });
            }
            if Subject::is_name(agent) {
                return Err(StatutesError::OfTokens { agent: agent.clone() });
            }
            if let Some(one) = seen.insert(agent.as_str().to_ascii_lowercase(), agent) {
                return Err(StatutesError::Alike { one: one.clone(), other: agent.clone() });
            }
        }
        let role = |(name, rules): (RoleName, RoleRules)| (name.clone(), Arc::new(Role::new(name, rules)));
        Ok(Self { roles: roles.into_iter().map(role).collect(), agents, ..Self::default() })
    }

    /// These statutes with what agents may ask of the host: the `usual`, and for some their own.
    #[must_use]
    pub fn with_allowances(self, usual: Allowance, own: BTreeMap<AgentName, Allowance>) -> Self {
        Self { usual, allowances: own, ..self }
    }

    /// Whether there are agents, so that callers have to say who they are.
    pub fn has_agents(&self) -> bool {
        !self.agents.is_empty()
    }

    /// The agent of this name, with the role that it has now.
    pub fn agent(&self, name: &AgentName) -> Option<Agent> {
        let role = self.agents.get(name)?;
        Some(self.with_role(name.clone(), self.roles.get(role).cloned(), false))
    }

    /// Whom a token names, with the role that the token says; nobody where there is no such role now.
    pub fn subject(&self, subject: &Subject, role: &str) -> Option<Agent> {
        let role = Arc::clone(self.roles.get(role)?);
        Some(self.with_role(subject.name().clone(), Some(role), true))
    }

    /// The same agent with what its role says now; nobody where the configuration has it, or its role, no more.
    pub fn again(&self, agent: &Agent) -> Option<Agent> {
        if !agent.vouched {
            return self.agent(&agent.name);
        }
        let role = Arc::clone(self.roles.get(agent.role.as_ref()?.name())?);
        Some(Agent { role: Some(role), ..agent.clone() })
    }

    /// An agent that a token names, with the role that the token gives it. A role that there is not is none.
    pub fn vouched(&self, name: AgentName, role: Option<&str>) -> Agent {
        self.with_role(name, role.and_then(|role| self.roles.get(role)).cloned(), true)
    }

    fn with_role(&self, name: AgentName, role: Option<Arc<Role>>, vouched: bool) -> Agent {
        let allowance = *self.allowances.get(&name).unwrap_or(&self.usual);
        Agent { name, role, vouched, allowance }
    }

    /// The names of the agents.
    pub fn agents(&self) -> impl Iterator<Item = &AgentName> {
        self.agents.keys()
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }
}
