//! E1 to E22: what leaves a sandbox by HTTP, and what does not. Servers and names are the test's own; nothing is beyond
//! loopback.

mod addresses;
mod cancel;
mod limits;
mod linked;
mod pooled;
mod secrets;
mod sent;
pub(crate) mod server;
mod targets;
mod tls;

use portcullis_catalogue::Reply;
use portcullis_gateway::Ended;
use serde_json::{Value, json};

use crate::house::House;

/// A GET's outcome: the status, or the error.
async fn get(house: &House, url: &str) -> String {
    told(&house.answer("web_get", json!({ "url": url })).await)
}

/// A whole request's outcome: `{status, headers, body}`, or `{err}`.
async fn send(house: &House, method: &str, url: &str, headers: &[&str], body: Option<&str>) -> Value {
    let arguments = json!({ "method": method, "url": url, "headers": headers, "body": body });
    answer(house, "web_send", arguments).await
}

/// What a call that must answer answers: a record as it is, `{err}` for an error.
async fn answer(house: &House, tool: &str, arguments: Value) -> Value {
    match house.call(tool, arguments).await {
        Ended::Answered(Ok(Reply::Structured(mut object)), _) => object.remove("result").unwrap_or(object.into()),
        Ended::Answered(Ok(Reply::ToolError(error)), _) => json!({ "err": error.text }),
        other => panic!("{tool}: {other:?}"),
    }
}

/// The same in one line.
fn told(result: &Value) -> String {
    result["err"].as_str().map_or_else(|| result.to_string(), str::to_owned)
}

/// The refusals that the ledger has: what was asked for, and why not.
fn denied(house: &House) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let lines = house.audit().into_iter().filter(|line| line["event"] == "capability.denied");
    lines.map(|line| (text(&line["target"]), text(&line["reason"]))).collect()
}

const DENIED: &str = "failed: ErrorCode::HttpRequestDenied";
