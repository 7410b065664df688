//! The path of a call, from a door to the reply: read this first.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use portcullis_audit::{AuditError, CallRecord, Ledger, Outcome, Used};
use portcullis_catalogue::{CallEnd, CallError, Catalogue, Progress, Reply, Tool, ToolCall};
use portcullis_policy::{Confirm, Permit, Principal, ToolName, decide};
use portcullis_store::Warehouse;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::{
    allowance::{Admitted, Allowances, Exceeded},
    auth::Doorkeeper,
    consent::{Asked, Consent, Consents, NotConfirmed, Question, Said},
    resources::Resources,
    routes::RouteTable,
};

/// Bytes of one message of a client. The arguments of a call may hold a document, not a disk.
pub(crate) const MAX_MESSAGE: usize = 4 << 20;

/// Bytes of the arguments, as JSON, of a call that a person is asked about. They wait for minutes outside every slot, in
/// memory many times that; a person is shown 4,000 characters.
pub(crate) const MAX_ASKED: usize = 64 << 10;

/// What all doors share: the register of tools, the ledger, the keeper, the store.
#[derive(Debug)]
pub struct Gateway {
    catalogue: Arc<Catalogue>,
    ledger: Arc<Ledger>,
    keeper: Arc<Doorkeeper>,
    allowances: Arc<Allowances>,
    store: Option<Arc<Warehouse>>,
    session: String,
    resources: Option<Arc<Resources>>,
    consents: Consents,
    routes: ArcSwap<RouteTable>,
}

/// A call as a door hands it in.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Who asks, as the door vouches for it.
    pub principal: &'a Principal,
    /// The tool's name, as the client wrote it.
    pub tool: &'a str,
    /// The arguments, by name.
    pub arguments: Map<String, Value>,
    /// Where reports of progress go, where the client asked for them.
    pub reports: Option<mpsc::Sender<Progress>>,
    /// When the door took it in: the deadline counts from here, or from a person's yes.
    pub received: Instant,
    /// Who can be asked, where the tool needs a person's word.
    pub consent: Consent,
    /// The route that it came by, for the record.
    pub route: Option<&'a str>,
}

/// How a call ended, whichever door it came through. `reply` turns it into MCP.
#[derive(Debug)]
pub enum Ended {
    /// There is no such tool.
    UnknownTool,
    /// No rule allows it.
    Denied,
    /// Its agent asks for more than it may just now. Nothing ran.
    Limited(Exceeded),
    /// Nobody said that it may run.
    NotConfirmed(NotConfirmed),
    /// It ends with the question whether it may run.
    Asks(Box<Asked>),
    /// It was recorded, and it ended so.
    Answered(Result<Reply, CallError>, Box<Account>),
    /// It could not be recorded. It did not run, or its result is withheld.
    NotRecorded,
}

/// What a call cost, and what it left in its log.
#[derive(Debug)]
pub struct Account {
    /// What it used.
    pub used: Used,
    /// What it printed, where anything ran.
    pub printed: Option<(Vec<portcullis_catalogue::LogLine>, u64)>,
    /// How often it asked for what its plugin is not granted.
    pub refusals: u32,
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct House {
    /// The register of tools.
    pub catalogue: Arc<Catalogue>,
    /// Where calls are recorded.
    pub ledger: Arc<Ledger>,
    /// The keeper of the doors.
    pub keeper: Arc<Doorkeeper>,
    /// What agents ask for is counted here.
    pub allowances: Arc<Allowances>,
    /// The ledger's name of this process.
    pub session: String,
    /// Where shared context is kept, where it is open.
    pub store: Option<Arc<Warehouse>>,
    /// Shared context as clients read it, where the configuration opens a bucket.
    pub resources: Option<Arc<Resources>>,
    /// How long persons have to say whether a call may run.
    pub patience: Duration,
}

impl Gateway {
    /// Doors into this house.
    pub fn new(house: House) -> Arc<Self> {
        let House { catalogue, ledger, keeper, allowances, session, store, resources, patience } = house;
        let consents = Consents::new(patience);
        let routes = ArcSwap::default();
        Arc::new(Self { catalogue, ledger, keeper, allowances, store, session, resources, consents, routes })
    }

    /// Shared context as resources, where the configuration opens a bucket.
    pub(crate) fn resources(&self) -> Option<&Arc<Resources>> {
        self.resources.as_ref()
    }

    /// Where shared context is kept, in a house that has it open.
    pub fn store(&self) -> Option<&Arc<Warehouse>> {
        self.store.as_ref()
    }

    /// The keeper of the doors.
    pub fn keeper(&self) -> &Arc<Doorkeeper> {
        &self.keeper
    }

    /// The register of tools.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// The routes, as they are at this moment. None until [`Self::replace_routes`].
    pub fn routes(&self) -> Arc<RouteTable> {
        self.routes.load_full()
    }

    /// Opens these routes, and no others, from the next request on.
    pub fn replace_routes(&self, routes: Arc<RouteTable>) {
        self.routes.store(routes);
    }

    /// Runs one call. Dropping the future stops the guest, and closes the record as cancelled.
    pub async fn call(&self, call: Incoming<'_>) -> Ended {
        let mut received = call.received;
        let snapshot = self.catalogue.snapshot();
        let Some(tool) = snapshot.tool(call.tool) else {
            return Ended::UnknownTool;
        };
        let rules = tool.rules();
        let record = match self.open(&call, &rules.tool, &rules.plugin, tool.digest()).await {
            Ok(record) => record,
            Err(error) => return self.not_recorded(&error),
        };
        let permit = match decide(call.principal, rules) {
            Ok(permit) => permit,
            Err(denied) => {
                return record
                    .deny(&denied.to_string())
                    .map_or_else(|error| self.not_recorded(&error), |()| Ended::Denied);
            }
        };
        // After the decision: of a tool that one may not call, one does not learn by a limit either.
        let mut admitted = match self.allowances.admit(permit.principal(), permit.limits().fuel) {
            Ok(admitted) => admitted,
            Err(exceeded) => return self.refused(record, permit.principal(), Ended::Limited(exceeded)).await,
        };
        if let Some(confirm) = permit.confirm() {
            let asked = self.confirmed(&call, &permit, confirm, tool, admitted.as_mut(), &record);
            if let Err(ended) = Box::pin(asked).await {
                return self.refused(record, permit.principal(), ended).await;
            }
            received = Instant::now();
        }
        let id = format!("{}-{}", self.session, record.call());
        let Incoming { arguments, reports, .. } = call;
        let notes = record.notes();
        if let Some(admitted) = &mut admitted {
            admitted.begins();
        }
        let end = tool.call(ToolCall { permit, arguments, id, notes: notes.clone(), reports, received }).await;
        if let Some(admitted) = admitted {
            // One that never began used nothing.
            admitted.settle(end.as_ref().map_or(Some(0), |end| end.used.fuel));
        }
        let (result, mut account) = settle(end, received);
        account.refusals = notes.refusals();
        self.tell_operator(&rules.tool, &result, &account);
        let outcome = match &result {
            Ok(Reply::Structured(_)) => Outcome::Ok,
            Ok(Reply::ToolError(_)) => Outcome::ToolError,
            Err(error) => error.outcome(),
        };
        // The record is closed before the reply leaves.
        match record.close(outcome, account.used).await {
            Ok(()) => Ended::Answered(result, Box::new(account)),
            Err(error) => self.not_recorded(&error),
        }
    }

    /// Whether a person says that the call may run, and nothing changed while they thought. None of its agent's places is
    /// held meanwhile.
    async fn confirmed(
        &self,
        call: &Incoming<'_>,
        permit: &Permit,
        confirm: Confirm,
        tool: &Tool,
        admitted: Option<&mut Admitted>,
        record: &CallRecord,
    ) -> Result<(), Ended> {
        if call.consent.asks() {
            askable(call, tool).await?;
        }
        let mut admitted = admitted;
        if let Some(admitted) = &mut admitted {
            admitted.steps_back();
        }
        // What the caller may do was found out before this moment, and the answer is to that.
        let edition = call.consent.edition().unwrap_or_else(|| self.keeper.edition());
        let (definition, digest) = (tool.definition(), tool.digest());
        let question = Question { permit, arguments: &call.arguments, definition, digest };
        match self.consents.ask(&call.consent, confirm, &question, record).await {
            Ok(Said::Yes) => {}
            Ok(Said::No(why)) => return Err(Ended::NotConfirmed(why)),
            Ok(Said::Ask(asked)) => return Err(Ended::Asks(asked)),
            Err(error) => return Err(self.not_recorded(&error)),
        }
        if let Some(admitted) = admitted {
            admitted.comes_back().await.map_err(Ended::Limited)?;
        }
        let now = self.catalogue.snapshot();
        let same = |now: &Tool| now.digest() == digest && now.definition() == definition && now.rules() == tool.rules();
        if edition != self.keeper.edition() || !now.tool(call.tool).is_some_and(same) {
            return Err(Ended::NotConfirmed(NotConfirmed::Changed));
        }
        Ok(())
    }

    /// Writes how a call ended that did not run.
    async fn refused(&self, record: CallRecord, principal: &Principal, ended: Ended) -> Ended {
        let written = match &ended {
            Ended::Limited(exceeded) => record.limit(&format!("`{}` of the agent `{principal}`", exceeded.limit)),
            Ended::NotConfirmed(why) => record.not_confirmed(why.rule()),
            Ended::Asks(_) => record.ends_asking(),
            Ended::Answered(Err(error), account) => record.close(error.outcome(), account.used).await,
            // Dropped, the record says that the call was cancelled, if it can.
            Ended::UnknownTool | Ended::Denied | Ended::Answered(Ok(_), _) | Ended::NotRecorded => return ended,
        };
        written.map_or_else(|error| self.not_recorded(&error), |()| ended)
    }

    /// Writes the intent.
    async fn open(
        &self,
        call: &Incoming<'_>,
        tool: &ToolName,
        plugin: &portcullis_policy::PluginName,
        digest: portcullis_policy::Digest,
    ) -> Result<CallRecord, AuditError> {
        let arguments = serde_json::to_vec(&call.arguments).unwrap_or_default();
        let intent = CallRecord::open(&self.ledger, call.principal, tool, plugin, digest, &arguments, call.route)?;
        intent.written().await
    }

    fn not_recorded(&self, error: &AuditError) -> Ended {
        tracing::error!(
            error = error as &(dyn std::error::Error + 'static),
            "a call was refused: it could not be recorded"
        );
        Ended::NotRecorded
    }

    /// What only the operator should read: why, where in the guest, and what the guest printed.
    fn tell_operator(&self, tool: &ToolName, result: &Result<Reply, CallError>, account: &Account) {
        match result {
            Ok(_) => {}
            Err(CallError::Trapped { trap, backtrace }) => {
                tracing::warn!(%tool, trap, backtrace = backtrace.as_deref().unwrap_or("none"), "a tool crashed");
            }
            Err(CallError::Host(reason)) => tracing::error!(%tool, reason, "the host failed to run a tool"),
            Err(error) => tracing::info!(%tool, %error, "a call ended without a result"),
        }
        for line in account.printed.iter().flat_map(|(lines, _)| lines) {
            // Debug formatting escapes what a terminal would obey.
            tracing::debug!(%tool, source = line.source.as_str(), text = ?line.text, "printed");
        }
    }
}

/// Whether a person can be asked about a call: its arguments are no more than is kept while they think, and fit the tool,
/// so that no yes is spent on what cannot run, and no name among them is a sentence of the client's.
async fn askable(call: &Incoming<'_>, tool: &Tool) -> Result<(), Ended> {
    let size = serde_json::to_vec(&call.arguments).map_or(usize::MAX, |text| text.len());
    if size > MAX_ASKED {
        return Err(Ended::NotConfirmed(NotConfirmed::TooLarge));
    }
    let fits = tool.takes(&call.arguments, call.received).await;
    fits.map_err(|error| {
        let (result, account) = settle(Err(error), call.received);
        Ended::Answered(result, Box::new(account))
    })
}

/// Brings a call that ran and one that could not into one shape.
fn settle(end: Result<CallEnd, CallError>, received: Instant) -> (Result<Reply, CallError>, Account) {
    match end {
        Ok(end) => {
            let printed = Some(end.log()).filter(|(lines, _)| !lines.is_empty());
            let used = end.used;
            (end.result, Account { used, printed, refusals: 0 })
        }
        Err(error) => {
            let micros = u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX);
            (Err(error), Account { used: Used { micros, ..Used::default() }, printed: None, refusals: 0 })
        }
    }
}
