//! What doors read: the tools that are served, and the state of each plugin.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_audit::CallNotes;
use portcullis_policy::{Digest, Permit, PluginName, ToolDefinition, ToolName, ToolRules};
use portcullis_runtime::{CallEnd, CallError, CallRequest, Plugin, Progress};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

/// The tools and plugins of one moment. Immutable, shared, numbered.
#[derive(Debug, Default)]
pub struct Snapshot {
    generation: u64,
    tools: Vec<Tool>,
    by_name: HashMap<ToolName, usize>,
    plugins: Vec<PluginStatus>,
    trouble: Option<Trouble>,
}

/// What is wrong with the lock, and the command that mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What.
    pub what: String,
    /// The command.
    pub hint: Option<String>,
}

/// A tool that is served.
#[derive(Clone, Debug)]
pub struct Tool {
    pub(crate) definition: Arc<ToolDefinition>,
    pub(crate) rules: Arc<ToolRules>,
    pub(crate) function: usize,
    pub(crate) digest: Digest,
    pub(crate) code: watch::Receiver<Code>,
}

/// The native code of a plugin, on its way or there.
#[derive(Clone, Debug)]
pub(crate) enum Code {
    Preparing,
    Ready(Plugin),
    Failed,
}

/// A plugin as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct PluginStatus {
    /// Its key in the configuration.
    pub name: PluginName,
    /// The component's file.
    pub source: PathBuf,
    /// What it is.
    #[serde(flatten)]
    pub state: State,
    /// SHA-256 of the bytes at its source, where they could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// SHA-256 of the bytes that run, where any do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<Digest>,
    /// Length of the bytes at its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its tools that are served.
    pub tools: Vec<ToolName>,
    /// Functions that are no tools, with the reason.
    pub left_out: Vec<(String, String)>,
    /// What does not fit in the sections that describe it, and names that are near another plugin's.
    pub warnings: Vec<String>,
    /// What to do next, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// What lies at its source is what was approved, or less, and is served.
    Approved,
    /// Nobody has approved it, or the lock is not the one that this host has accepted. Nothing of it is served.
    Quarantined {
        /// What is wrong with the lock, where that is why.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It is not what was approved. What was approved is served meanwhile.
    #[serde(rename = "pending review")]
    PendingReview {
        /// What differs, in short.
        changes: String,
    },
    /// The configuration says `enabled = false`, or the operator said `disable`.
    Disabled,
    /// Its file is not there. What was approved is served from the store.
    Missing {
        /// What the operating system said.
        reason: String,
    },
    /// It cannot be served as it lies there.
    Broken {
        /// Why.
        reason: String,
        /// What to write or to do, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        mend: Option<String>,
    },
}

impl State {
    /// The word in lists.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Quarantined { .. } => "quarantined",
            Self::PendingReview { .. } => "pending review",
            Self::Disabled => "disabled",
            Self::Missing { .. } => "missing",
            Self::Broken { .. } => "broken",
        }
    }

    /// Why it is not approved, where there is more to say.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Approved | Self::Disabled => None,
            Self::Quarantined { reason } => reason.as_deref(),
            Self::PendingReview { changes: reason } | Self::Missing { reason } | Self::Broken { reason, .. } => {
                Some(reason)
            }
        }
    }

    /// Whether it waits for an operator's word.
    pub fn waits(&self) -> bool {
        match self {
            Self::Quarantined { .. } | Self::PendingReview { .. } => true,
            Self::Approved | Self::Disabled | Self::Missing { .. } | Self::Broken { .. } => false,
        }
    }

    /// What an operator does next; `lock` is the command that mends the lock, where that is what keeps it from running.
    pub(crate) fn next(&self, plugin: &PluginName, lock: Option<String>) -> Option<String> {
        match self {
            Self::Approved => None,
            Self::Quarantined { reason: Some(_) } => lock.or_else(|| Some("portcullis approve --lock".to_owned())),
            Self::Quarantined { reason: None } => Some(format!("portcullis inspect {plugin}")),
            Self::PendingReview { .. } => Some(format!("portcullis diff {plugin}")),
            Self::Disabled => Some(format!("portcullis approve {plugin}")),
            Self::Missing { .. } => Some("portcullis build DIR".to_owned()),
            Self::Broken { mend, .. } => mend.clone().or_else(|| Some(format!("portcullis inspect {plugin}"))),
        }
    }

    /// Whether something is wrong: more than waiting for an operator's word.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Approved | Self::Disabled | Self::PendingReview { .. } | Self::Quarantined { reason: None } => false,
            Self::Quarantined { reason: Some(_) } | Self::Missing { .. } | Self::Broken { .. } => true,
        }
    }
}

/// One call of a tool, apart from what the tool itself knows.
#[derive(Debug)]
pub struct ToolCall {
    /// The proof that it was allowed.
    pub permit: Permit,
    /// The arguments, by name.
    pub arguments: Map<String, Value>,
    /// Its name in the operator's records.
    pub id: String,
    /// Where refusals are recorded.
    pub notes: CallNotes,
    /// Where reports of progress go.
    pub reports: Option<mpsc::Sender<Progress>>,
    /// When it came in.
    pub received: Instant,
}

impl Snapshot {
    pub(crate) fn new(generation: u64, tools: Vec<Tool>, plugins: Vec<PluginStatus>, trouble: Option<Trouble>) -> Self {
        let tools = named_once(tools);
        let by_name = tools.iter().enumerate().map(|(at, tool)| (tool.definition.name.clone(), at)).collect();
        Self { generation, tools, by_name, plugins, trouble }
    }

    /// What is wrong with the lock as a whole.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Rises with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The tools, by plugin and then in the component's order.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The tool of this name.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.by_name.get(name).and_then(|at| self.tools.get(*at))
    }

    /// The plugins of the configuration, by name.
    pub fn plugins(&self) -> &[PluginStatus] {
        &self.plugins
    }
}

/// The tools whose name no other one has: of two with one name nobody could say which was meant. Whoever made them has
/// seen to it; this is what clients can rely on.
fn named_once(mut tools: Vec<Tool>) -> Vec<Tool> {
    let mut times: HashMap<ToolName, usize> = HashMap::new();
    tools.iter().for_each(|tool| *times.entry(tool.definition.name.clone()).or_default() += 1);
    tools.retain(|tool| {
        let once = times.get(&tool.definition.name) == Some(&1);
        if !once {
            tracing::error!(tool = %tool.definition.name, plugin = %tool.rules.plugin, "two tools of one name, not served");
        }
        once
    });
    tools
}

impl Tool {
    /// What clients are told.
    pub fn definition(&self) -> &Arc<ToolDefinition> {
        &self.definition
    }

    /// What the operator configured.
    pub fn rules(&self) -> &Arc<ToolRules> {
        &self.rules
    }

    /// The digest of the bytes that run.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Waits until the plugin's code is there, or known to stay away.
    pub async fn ready(&self) {
        // An error means that the plugin is gone, which is ready enough.
        _ = self.code.clone().wait_for(|code| !matches!(code, Code::Preparing)).await;
    }

    /// Runs one call: waits for the plugin's code where it is still being made, no longer than the deadline.
    /// Dropping the future stops the guest.
    ///
    /// # Errors
    /// When there is no code to run. How a call that ran ended is in its [`CallEnd`].
    pub async fn call(&self, call: ToolCall) -> Result<CallEnd, CallError> {
        let ToolCall { permit, arguments, id, notes, reports, received } = call;
        let plugin = self.plugin(received, permit.limits().deadline).await?;
        let function = self.function;
        Ok(plugin.call(CallRequest { permit, function, arguments, id, notes, reports, received }).await)
    }

    /// Whether its function takes these arguments. Waits for the plugin's code as [`Self::call`] does; nothing runs, and
    /// no slot is held.
    ///
    /// # Errors
    /// When it does not, or there is no code to run.
    pub async fn takes(&self, arguments: &Map<String, Value>, received: Instant) -> Result<(), CallError> {
        self.plugin(received, self.rules.limits.deadline).await?.takes(self.function, arguments)
    }

    async fn plugin(&self, received: Instant, limit: Duration) -> Result<Plugin, CallError> {
        let mut code = self.code.clone();
        let ready = |code: &Code| match code {
            Code::Preparing => None,
            Code::Ready(plugin) => Some(Ok(plugin.clone())),
            // The reason may name what only the operator should know; it is in the log and in `list`.
            Code::Failed => Some(Err(CallError::Unavailable("its plugin is broken".into()))),
        };
        if let Some(plugin) = ready(&code.borrow()) {
            return plugin;
        }
        let deadline = tokio::time::Instant::from_std(received + limit);
        let waited = tokio::time::timeout_at(deadline, code.wait_for(|code| !matches!(code, Code::Preparing))).await;
        match waited {
            Ok(Ok(code)) => ready(&code).unwrap_or_else(|| Err(CallError::Unavailable("its plugin went away".into()))),
            Ok(Err(_)) => Err(CallError::Unavailable("its plugin went away".into())),
            Err(_) => Err(CallError::Unavailable("its plugin is still being compiled".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portcullis_policy::{Effective, Limits};
    use serde_json::json;

    use super::*;

    /// H2.
    #[test]
    fn of_two_tools_of_one_name_none_is_served() {
        let tool = |name: &str, function: usize| {
            let schema = json!({ "type": "object" });
            let definition = json!({ "name": name, "inputSchema": schema, "outputSchema": schema });
            let rules = ToolRules {
                plugin: PluginName::new("o").expect("a name"),
                tool: ToolName::new(name).expect("a name"),
                limits: Limits::default(),
                grants: Effective::new(Arc::default(), Arc::default()),
                confirm: None,
            };
            Tool {
                definition: Arc::new(serde_json::from_value(definition).expect("a definition")),
                rules: Arc::new(rules),
                function,
                digest: Digest::of(b""),
                code: watch::channel(Code::Failed).1,
            }
        };
        let tools = vec![tool("o_print", 0), tool("o_once", 1), tool("o_print", 2)];
        let snapshot = Snapshot::new(1, tools, Vec::new(), None);
        let named: BTreeMap<_, _> = snapshot.tools().iter().map(|t| (t.definition.name.as_str(), t.function)).collect();
        assert_eq!(named, BTreeMap::from([("o_once", 1)]));
        assert!(snapshot.tool("o_print").is_none());
    }
}
