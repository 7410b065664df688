//! How a call of an operator's ended, with what it cost and printed.

use std::{sync::Arc, time::Instant};

use portcullis_audit::{Outcome, Used};
use portcullis_catalogue::{CallError, Progress, Reply};
use portcullis_policy::{Digest, Principal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::{
    consent::{Asked, Confirmed, Consent, NotConfirmed},
    pipeline::{Ended, Gateway, Incoming},
};

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Called {
    /// There is no such tool. Those that there are.
    Unknown {
        /// By name.
        tools: Vec<String>,
    },
    /// It runs only with the operator's word: nothing ran.
    Asks {
        /// What they have to know.
        message: String,
        /// What stands for it, to call again with.
        question: Digest,
    },
    /// It could not be recorded.
    NotRecorded,
    /// It ended.
    Ended {
        /// How.
        end: CalledEnd,
        /// What it used.
        used: Used,
        /// What it printed.
        printed: Vec<Printed>,
        /// Bytes that it printed and that were not kept.
        dropped: u64,
    },
}

/// With what it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CalledEnd {
    /// A result.
    Result(Map<String, Value>),
    /// An error of the tool's own.
    ToolError {
        /// In words.
        text: String,
        /// As data.
        value: Value,
    },
    /// The host's error.
    Failed {
        /// Its kind.
        outcome: Outcome,
        /// In words.
        message: String,
    },
}

/// A line that a tool printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Printed {
    /// Where it printed it.
    pub source: String,
    /// What.
    pub text: String,
}

/// Calls a tool as the operator of this machine, who has said yes to what is `confirmed`.
pub async fn called(
    gateway: &Arc<Gateway>,
    tool: &str,
    arguments: Map<String, Value>,
    confirmed: Option<Confirmed>,
    reports: Option<mpsc::Sender<Progress>>,
) -> Called {
    let (principal, consent) = (&Principal::LocalOperator, Consent::Operator(confirmed));
    match gateway
        .call(Incoming { principal, tool, arguments, reports, received: Instant::now(), consent, route: None })
        .await
    {
        Ended::UnknownTool | Ended::Denied => {
            let snapshot = gateway.catalogue().snapshot();
            Called::Unknown { tools: snapshot.tools().iter().map(|tool| tool.definition().name.to_string()).collect() }
        }
        Ended::NotRecorded => Called::NotRecorded,
        Ended::NotConfirmed(why) => refused(Outcome::NotConfirmed, why.to_string()),
        Ended::Asks(asked) => match *asked {
            Asked::Operator { message, question } => Called::Asks { message, question },
            // Only clients are asked so.
            Asked::Client(_) => refused(Outcome::NotConfirmed, NotConfirmed::CannotAsk.to_string()),
        },
        // Only agents are limited.
        Ended::Limited(exceeded) => refused(Outcome::Limited, exceeded.to_string()),
        Ended::Answered(result, account) => {
            let (lines, dropped) = account.printed.unwrap_or_default();
            let printed =
                lines.into_iter().map(|line| Printed { source: line.source.as_str().into(), text: line.text });
            let end = match result {
                Ok(Reply::Structured(object)) => CalledEnd::Result(object),
                Ok(Reply::ToolError(error)) => CalledEnd::ToolError { text: error.text, value: error.value },
                Err(error) => failed(&error),
            };
            Called::Ended { end, used: account.used, printed: printed.collect(), dropped }
        }
    }
}

fn refused(outcome: Outcome, message: String) -> Called {
    let end = CalledEnd::Failed { outcome, message };
    Called::Ended { end, used: Used::default(), printed: Vec::new(), dropped: 0 }
}

fn failed(error: &CallError) -> CalledEnd {
    CalledEnd::Failed { outcome: error.outcome(), message: error.to_string() }
}
