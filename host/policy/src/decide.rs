//! The one decision: may this principal call this tool, and within which bounds.

use std::sync::Arc;

use crate::{Effective, Limits, PluginName, Principal, ToolName, ToolRules};

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

    /// What the call may reach.
    pub fn grants(&self) -> &Effective {
        &self.rules.grants
    }
}

/// Why a call was not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No rule of the configuration allows it.
    #[error("no rule allows `{principal}` to call `{tool}`")]
    NotAllowed {
        /// Who asked.
        principal: String,
        /// For what.
        tool: ToolName,
    },
}

/// May `principal` call the tool that `rules` are about?
///
/// Without authentication both principals are the operator of this machine, and may call every tool that is served.
/// Roles come with authentication, and change the body of this function only.
///
/// # Errors
/// When no rule allows it.
pub fn decide(principal: &Principal, rules: &Arc<ToolRules>) -> Result<Permit, Denied> {
    match principal {
        Principal::LocalOperator | Principal::Loopback => {
            Ok(Permit { principal: principal.clone(), rules: Arc::clone(rules) })
        }
    }
}
