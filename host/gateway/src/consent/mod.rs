//! The word of the person behind the client, without which a tool with `confirm` does not run.
//!
//! In the older era the person is asked while the call waits (elicitation, MCP 2025-11-25); in the newer one the call ends
//! with the question, and comes again with the answer and what this host sealed of the question (multi-round-trip requests,
//! MCP 2026-07-28). The operator is asked by the command that they typed. What is said of the call is the host's alone.
//! Whether a person or a program answered is the client's affair: no host can see that.

mod pending;
mod question;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_audit::{Answer, AuditError, CallRecord};
use portcullis_policy::{Confirm, Digest};
use rmcp::{
    Peer, RoleServer,
    model::{
        CancelledNotificationParam, ClientResult, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
        ElicitationSchema, InputRequest, InputRequiredResult, InputResponses, Request, RequestId, ServerRequest,
    },
    service::{PeerRequestOptions, ServiceError},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::question::Question;
use self::{
    pending::{Opened, Pending},
    question::Named,
};
use crate::pipeline::MAX_ASKED;

/// What a session remembers; beyond it, it asks again.
const MAX_REMEMBERED: usize = 256;
/// The key of the question among those that a call may ask.
const QUESTION: &str = "confirm";

/// Who can be asked for a call.
#[derive(Clone, Debug)]
pub enum Consent {
    /// Nobody: a tool that needs a person's word does not run.
    Nobody,
    /// The operator, who typed the call, and what they have said yes to.
    Operator(Option<Confirmed>),
    /// The person behind this client.
    Client(Box<Client>),
}

/// What an operator says yes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirmed {
    /// Whatever the call is.
    Unseen,
    /// The question that they have read, by its digest.
    Question(Digest),
}

/// The client of one request.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) peer: Peer<RoleServer>,
    /// Whether it says that it can show a form.
    pub(crate) can_ask: bool,
    /// Whether it is of the era in which a call ends with the question.
    pub(crate) newer: bool,
    /// The keeper's edition from before it was found out who asks and what they may.
    pub(crate) edition: u64,
    /// What it sends back of an earlier question.
    pub(crate) state: Option<String>,
    pub(crate) responses: Option<InputResponses>,
    pub(crate) remembered: Remembered,
}

/// What one session has said yes to, for tools that ask once a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered(Arc<Mutex<HashSet<Digest>>>);

/// What came of asking.
pub(crate) enum Said {
    /// Yes.
    Yes,
    /// Not yes.
    No(NotConfirmed),
    /// The call ends with the question.
    Ask(Box<Asked>),
}

/// A question with which a call ends.
#[derive(Debug)]
pub enum Asked {
    /// For the person behind a client, with what the host sealed.
    Client(InputRequiredResult),
    /// For the operator.
    Operator {
        /// What they read.
        message: String,
        /// What stands for it in [`Confirmed`].
        question: Digest,
    },
}

/// Why a call that needs a person's word did not run. The text is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// The client says that it cannot ask anybody.
    #[error(
        "this tool runs only with a person's approval, and this client cannot ask for it: it does not support elicitation"
    )]
    CannotAsk,
    /// The person said no.
    #[error("the person behind this client declined the call")]
    Declined,
    /// The person closed the question.
    #[error("the person behind this client did not decide on the call")]
    Dismissed,
    /// Nobody answered in time, or the client's answer is none.
    #[error("nobody answered in time whether the call may run")]
    NoAnswer,
    /// The answer is to another question, over, or was used before.
    #[error(
        "the approval does not belong to this call, has expired or was used before; make the call again to ask anew"
    )]
    BadState,
    /// So many questions wait already.
    #[error("too many calls wait for a person's approval already; try again when some of them are answered")]
    TooMany,
    /// More than a person is asked about.
    #[error(
        "this tool runs only with a person's approval, and its arguments are more than {} KiB of JSON, which nobody is asked about",
        MAX_ASKED >> 10
    )]
    TooLarge,
    /// What may be called, and how, is not what it was when the person was asked.
    #[error("what this tool may do changed while a person was asked; make the call again to ask anew")]
    Changed,
}

impl Consent {
    /// Whether somebody may be asked.
    pub(crate) fn asks(&self) -> bool {
        match self {
            Self::Nobody | Self::Operator(Some(Confirmed::Unseen)) => false,
            Self::Operator(_) | Self::Client(_) => true,
        }
    }

    /// The keeper's edition by which it was found out who asks, where that can change.
    pub(crate) fn edition(&self) -> Option<u64> {
        match self {
            Self::Nobody | Self::Operator(_) => None,
            Self::Client(client) => Some(client.edition),
        }
    }
}

impl NotConfirmed {
    /// In the audit log.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::CannotAsk => "`confirm`: the client cannot ask",
            Self::Declined => "`confirm`: declined",
            Self::Dismissed => "`confirm`: dismissed",
            Self::NoAnswer => "`confirm`: no answer",
            Self::BadState => "`confirm`: no valid answer",
            Self::TooMany => "`confirm`: too many questions wait",
            Self::TooLarge => "`confirm`: the arguments are too large to ask about",
            Self::Changed => "`confirm`: changed meanwhile",
        }
    }

    /// What was answered, where something was asked.
    fn answer(self) -> Option<Answer> {
        match self {
            Self::Declined => Some(Answer::No),
            Self::Dismissed => Some(Answer::Dismissed),
            Self::NoAnswer => Some(Answer::None),
            Self::BadState => Some(Answer::Invalid),
            Self::CannotAsk | Self::TooMany | Self::TooLarge | Self::Changed => None,
        }
    }
}

/// The questions of this host.
#[derive(Debug)]
pub(crate) struct Consents {
    pending: Pending,
    patience: Duration,
}

impl Consents {
    /// Persons have `patience` to answer.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { pending: Pending::new(), patience }
    }

    /// Asks, unless it is known already. What is asked and answered is in the ledger before anything comes of it.
    ///
    /// # Errors
    /// When that cannot be written: the call must not run.
    pub(crate) async fn ask(
        &self,
        consent: &Consent,
        confirm: Confirm,
        question: &Question<'_>,
        record: &CallRecord,
    ) -> Result<Said, AuditError> {
        let named = question.named();
        let (said, answer) = match consent {
            Consent::Nobody => (Said::No(NotConfirmed::CannotAsk), None),
            Consent::Operator(Some(Confirmed::Unseen)) => (Said::Yes, Some(Answer::Unseen)),
            Consent::Operator(Some(Confirmed::Question(seen))) if *seen == named.whole => {
                (Said::Yes, Some(Answer::Yes))
            }
            Consent::Operator(_) => {
                record.asked(&question.asked())?;
                let (message, question) = (question.message(), named.whole);
                return Ok(Said::Ask(Box::new(Asked::Operator { message, question })));
            }
            Consent::Client(client) if !client.newer => {
                let keep = (confirm == Confirm::OncePerSession).then_some(&client.remembered);
                if keep.is_some_and(|kept| kept.has(&named)) {
                    (Said::Yes, Some(Answer::Remembered))
                } else {
                    let said = self.meanwhile(client, question, record).await?;
                    if matches!(said, Said::Yes) {
                        keep.inspect(|kept| kept.add(&named));
                    }
                    answered(said)
                }
            }
            // There are no sessions in which anything could be remembered.
            Consent::Client(client) => match &client.state {
                None => return self.first(client, question, &named, record),
                Some(state) => match self.pending.open(state, question.principal(), &named.whole) {
                    Opened::Yes => answered(heard(client)),
                    Opened::Spent => answered(Said::No(NotConfirmed::BadState)),
                    // Another host's behind the same address, this one's before it was started again, or forged: no
                    // answer to anything, and so a question like the first.
                    Opened::Strange => {
                        record.answered(&question.asked(), Answer::Invalid)?;
                        return self.first(client, question, &named, record);
                    }
                },
            },
        };
        if let Some(answer) = answer {
            record.answered(&question.asked(), answer)?;
        }
        Ok(said)
    }

    /// While the call waits.
    async fn meanwhile(
        &self,
        client: &Client,
        question: &Question<'_>,
        record: &CallRecord,
    ) -> Result<Said, AuditError> {
        let Some(form) = client.form(question) else { return Ok(Said::No(NotConfirmed::CannotAsk)) };
        // Given back when this is over or dropped.
        let Some(_place) = self.pending.wait(question.principal(), self.patience) else {
            return Ok(Said::No(NotConfirmed::TooMany));
        };
        record.asked(&question.asked())?;
        Ok(match elicit(&client.peer, form, self.patience).await {
            Ok(ClientResult::ElicitResult(result)) => judged(&result),
            // It cannot after all.
            Err(ServiceError::McpError(_)) => Said::No(NotConfirmed::CannotAsk),
            Ok(_) | Err(_) => Said::No(NotConfirmed::NoAnswer),
        })
    }

    /// The call ends with the question.
    fn first(
        &self,
        client: &Client,
        question: &Question<'_>,
        named: &Named,
        record: &CallRecord,
    ) -> Result<Said, AuditError> {
        let Some(form) = client.form(question) else { return Ok(Said::No(NotConfirmed::CannotAsk)) };
        let Some(state) = self.pending.seal(question.principal(), &named.whole, self.patience) else {
            return Ok(Said::No(NotConfirmed::TooMany));
        };
        record.asked(&question.asked())?;
        let requests = BTreeMap::from([(QUESTION.to_owned(), InputRequest::Elicitation(Request::new(form)))]);
        Ok(Said::Ask(Box::new(Asked::Client(InputRequiredResult::new(Some(requests), Some(state))))))
    }
}

impl Client {
    /// What it is to show, where it can. A button is all that is asked for: there is nothing to fill in.
    fn form(&self, question: &Question<'_>) -> Option<ElicitRequestParams> {
        let requested_schema = ElicitationSchema::builder().build().ok().filter(|_| self.can_ask)?;
        let message = question.message();
        Some(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema })
    }
}

impl Remembered {
    fn has(&self, named: &Named) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&named.but_arguments)
    }

    fn add(&self, named: &Named) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MAX_REMEMBERED {
            all.insert(named.but_arguments);
        }
    }
}

/// A question that a client shows. Dropped unanswered, it is called off: the client need not show it any more, and
/// rmcp need not wait for its answer.
struct Shown {
    peer: Peer<RoleServer>,
    id: Option<RequestId>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let peer = self.peer.clone();
        let told = async move {
            let off = CancelledNotificationParam::new(Some(id), Some("the call was called off".to_owned()));
            _ = peer.notify_cancelled(off).await;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(told);
        }
    }
}

/// Asks the client, and waits for its answer.
async fn elicit(
    peer: &Peer<RoleServer>,
    form: ElicitRequestParams,
    patience: Duration,
) -> Result<ClientResult, ServiceError> {
    let request = ServerRequest::ElicitRequest(ElicitRequest::new(form));
    let handle = peer.send_request_with_option(request, PeerRequestOptions::with_timeout(patience)).await?;
    let mut shown = Shown { peer: peer.clone(), id: Some(handle.id.clone()) };
    let answer = handle.await_response().await;
    shown.id = None;
    answer
}

/// What comes with the call when it comes again. A no is an answer, too.
fn heard(client: &Client) -> Said {
    let answer = client.responses.as_ref().and_then(|answers| answers.get(QUESTION));
    match answer.and_then(|answer| serde_json::from_value::<ElicitResult>(answer.clone()).ok()) {
        Some(result) => judged(&result),
        None => Said::No(NotConfirmed::NoAnswer),
    }
}

fn judged(result: &ElicitResult) -> Said {
    match result.action {
        ElicitationAction::Accept => Said::Yes,
        ElicitationAction::Decline => Said::No(NotConfirmed::Declined),
        ElicitationAction::Cancel => Said::No(NotConfirmed::Dismissed),
        // rmcp may add other ends; none of them is a yes.
        _ => Said::No(NotConfirmed::NoAnswer),
    }
}

fn answered(said: Said) -> (Said, Option<Answer>) {
    let answer = match &said {
        Said::Yes => Some(Answer::Yes),
        Said::No(why) => why.answer(),
        Said::Ask(_) => None,
    };
    (said, answer)
}
