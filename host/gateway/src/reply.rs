//! The one table that turns every outcome of a call into MCP.

use portcullis_catalogue::Reply;
use rmcp::{
    ErrorData,
    model::{CallToolResponse, CallToolResult, ContentBlock, ErrorCode},
};
use serde_json::{Value, json};

use crate::{
    consent::{Asked, NotConfirmed},
    pipeline::Ended,
    resources::ResourceError,
};

/// Longest address that an error gives back, in bytes: longer than any that there can be.
const MAX_URI: usize = 4096;
/// The sentence for a client whose tool was refused something.
pub(crate) const REFUSED: &str =
    "The host refused the tool something that it is not granted; its operator's log says what.";

/// What a client is told.
///
/// A tool that is not there is a fault of the request (-32602: a -32601 would become HTTP 404). Whatever happened to a
/// tool that is there is a result with `isError`, which a model can read and act on.
pub(crate) fn reply(tool: &str, ended: Ended) -> Result<CallToolResponse, ErrorData> {
    let result = match ended {
        // One that may not be called is one that is not there.
        Ended::UnknownTool | Ended::Denied => {
            let shown: String = tool.chars().take(128).flat_map(char::escape_debug).collect();
            Err(ErrorData::invalid_params(format!("unknown tool: `{shown}`"), None))
        }
        Ended::Limited(exceeded) => Ok(failure(exceeded.to_string(), 0)),
        Ended::NotConfirmed(why) => Ok(failure(why.to_string(), 0)),
        Ended::Asks(asked) => match *asked {
            Asked::Client(question) => return Ok(question.into()),
            // Only commands have the operator behind them.
            Asked::Operator { .. } => Ok(failure(NotConfirmed::CannotAsk.to_string(), 0)),
        },
        Ended::NotRecorded => Err(ErrorData::internal_error("the call could not be recorded, so it was refused", None)),
        Ended::Answered(Ok(Reply::Structured(object)), _) => {
            let text = serde_json::to_string(&object)
                .map_err(|_| ErrorData::internal_error("the result could not be written", None))?;
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            result.structured_content = Some(Value::Object(object));
            Ok(result)
        }
        Ended::Answered(Ok(Reply::ToolError(error)), account) => Ok(failure(error.text, account.refusals)),
        Ended::Answered(Err(error), account) => Ok(failure(error.to_string(), account.refusals)),
    };
    result.map(CallToolResponse::from)
}

/// What the tool or the host says of a failure, and where the host refused the tool something, that it did: a model
/// that knows does not try again. What it was is the operator's to read.
fn failure(text: String, refusals: u32) -> CallToolResult {
    let mut content = vec![ContentBlock::text(text)];
    if refusals > 0 {
        content.push(ContentBlock::text(REFUSED));
    }
    CallToolResult::error(content)
}

/// What a client is told that asked about resources. What it may not read is not found: rmcp gives that the code of each
/// era, -32002 and since 2026-07-28 -32602.
pub(crate) fn resource_error(error: ResourceError, uri: Option<&str>) -> ErrorData {
    let data = uri.filter(|uri| uri.len() <= MAX_URI).map(|uri| json!({ "uri": uri }));
    match error {
        ResourceError::NotFound => ErrorData::resource_not_found("there is no such resource", data),
        ResourceError::BadCursor => ErrorData::invalid_params("the cursor is not one of this list", None),
        ResourceError::Unavailable => ErrorData::internal_error("shared context cannot be read just now", None),
        ResourceError::NotRecorded => {
            ErrorData::internal_error("the request could not be recorded, so it was refused", None)
        }
        ResourceError::TooMany => ErrorData::invalid_request("there are too many subscriptions already", None),
    }
}

/// The reply to a request whose client called it off; most clients have stopped listening.
pub(crate) fn cancelled() -> ErrorData {
    ErrorData::new(ErrorCode::INTERNAL_ERROR, "the call was cancelled", None)
}
