//! What doors read: the tools that are served, and the state of each plugin.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

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
    /// SHA-256 of its bytes, where they could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Length of its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its tools.
    pub tools: Vec<ToolName>,
    /// Functions that are no tools, with the reason.
    pub left_out: Vec<(String, String)>,
    /// What does not fit in the sections that describe it.
    pub warnings: Vec<String>,
}

/// What a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Its tools are served.
    Loaded,
    /// The configuration says `enabled = false`.
    Disabled,
    /// Its file is not there.
    Missing {
        /// What the operating system said.
        reason: String,
    },
    /// It cannot be served.
    Broken {
        /// Why.
        reason: String,
    },
}

impl State {
    /// The word in lists.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Disabled => "disabled",
            Self::Missing { .. } => "missing",
            Self::Broken { .. } => "broken",
        }
    }

    /// Why it is not served, where that is a fault.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Loaded | Self::Disabled => None,
            Self::Missing { reason } | Self::Broken { reason } => Some(reason),
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
    /// Where reports of progress go.
    pub reports: Option<mpsc::Sender<Progress>>,
    /// When it came in.
    pub received: Instant,
}

impl Snapshot {
    pub(crate) fn new(generation: u64, tools: Vec<Tool>, plugins: Vec<PluginStatus>) -> Self {
        let by_name = tools.iter().enumerate().map(|(at, tool)| (tool.definition.name.clone(), at)).collect();
        Self { generation, tools, by_name, plugins }
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
        let ToolCall { permit, arguments, id, reports, received } = call;
        let plugin = self.plugin(received, permit.limits().deadline).await?;
        Ok(plugin.call(CallRequest { permit, function: self.function, arguments, id, reports, received }).await)
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
