//! A bare rmcp server with a native `echo`, on both transports, as somebody would write it who knows rmcp well.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context;
use axum::{Router, serve::ListenerExt};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult, PaginatedRequestParams,
        ServerCapabilities, ServerConfig, Tool,
    },
    service::{RequestContext, serve_server},
    transport::{
        stdio_pipes,
        streamable_http_server::{
            StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
        },
    },
};
use serde_json::json;
use tokio::net::TcpListener;

/// The server, cheap to clone: rmcp asks for one a request.
#[derive(Clone)]
struct Bare(Arc<Vec<Tool>>);

impl Bare {
    fn new(tools: Option<&Path>) -> anyhow::Result<Self> {
        let tools = match tools {
            Some(file) => serde_json::from_slice(&fs::read(file)?)?,
            None => {
                let schema = json!({
                    "type": "object",
                    "properties": { "text": { "type": "string" } },
                    "required": ["text"],
                    "additionalProperties": false,
                });
                let schema = schema.as_object().cloned().context("a schema is an object")?;
                vec![Tool::new_with_raw("echo_echo", Some("Returns the text.".into()), Arc::new(schema))]
            }
        };
        Ok(Self(Arc::new(tools)))
    }
}

impl ServerHandler for Bare {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.0.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let mut arguments = request.arguments.unwrap_or_default();
        let Some(serde_json::Value::String(text)) = arguments.remove("text") else {
            return Err(ErrorData::invalid_params("`text` must be a string", None));
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.0.iter().find(|tool| tool.name == name).cloned()
    }
}

/// Serves standard input and output until they close.
#[tokio::main]
pub(crate) async fn stdio(tools: Option<&Path>) -> anyhow::Result<()> {
    serve_server(Bare::new(tools)?, stdio_pipes()).await?.waiting().await?;
    Ok(())
}

/// Serves a free port of this machine, and says on standard error which.
#[tokio::main]
#[expect(clippy::print_stderr, reason = "the parent reads the address there")]
pub(crate) async fn http(tools: Option<&Path>) -> anyhow::Result<()> {
    let bare = Bare::new(tools)?;
    let config = StreamableHttpServerConfig::default().with_json_response(true);
    let mcp = StreamableHttpService::new(move || Ok(bare.clone()), Arc::new(LocalSessionManager::default()), config);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    eprintln!("serving at http://{}/mcp", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // A connection without it is slower, and served all the same.
        _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, Router::new().route_service("/mcp", mcp)).await?)
}
