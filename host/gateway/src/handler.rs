//! What rmcp asks of a server, in both eras: lists, calls, subscriptions. Each connection or request has a cheap clone.

mod resources;

use std::{
    future::ready,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::request::Parts;
use portcullis_catalogue::Progress;
use portcullis_policy::{AgentName, Principal};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, DiscoverResult, ErrorCode,
        Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        MetaObject, PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ProtocolVersion,
        ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, SubscribeRequestParams,
        SubscriptionFilter, UnsubscribeRequestParams,
    },
    service::{NotificationContext, Peer, RequestContext, SubscriptionContext},
};
use tokio::sync::mpsc;

use self::resources::Seats;
use crate::{
    auth::Caller,
    consent::{Client, Consent, Remembered},
    http::SlowDown,
    pipeline::{Ended, Gateway, Incoming},
    reply,
    resources::To,
    subscribers::Subscribers,
    threads::Linger,
    tools::ToolLists,
};

/// Milliseconds for which a client may take a list or a discovery for fresh: short, so that a revocation takes effect.
const FRESH_MS: u64 = 30_000;
/// The methods that take parameters and are served in both eras.
const METHODS: [&str; 3] = ["tools/list", "tools/call", "resources/read"];
/// Those that were taken out of the newer one.
const OLDER_METHODS: [&str; 2] = ["resources/subscribe", "resources/unsubscribe"];
/// Reports of progress that wait for the client; a guest that is faster loses some.
const MAX_REPORTS: usize = 16;
/// How long the last reports may hold the reply back.
const LAST_REPORTS: Duration = Duration::from_millis(200);

/// What the host calls itself to clients.
#[derive(Clone, Debug)]
pub struct ServerName(pub String);

/// Who is behind a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The operator of this machine, who started the process.
    Operator,
    /// This agent, as whoever started the process says.
    Agent(AgentName),
    /// Whoever the layer in front of the door has found each request to be from.
    Asked,
}

/// One client's view of the host.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    shared: Arc<Shared>,
    who: Who,
    /// Who the request is from that this was made for, where the layer in front of the door says.
    caller: Option<Principal>,
    seats: Seats,
    remembered: Remembered,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    gateway: Arc<Gateway>,
    info: ServerConfig,
    /// `serverInfo` as the newer era has it in each result.
    meta: MetaObject,
    lists: ToolLists,
    subscribers: Subscribers,
    /// Of the door's threads, where the door itself does not know of requests.
    linger: Option<Linger>,
}

impl Shared {
    /// What doors of one host share; also tells listeners of changes from now on.
    pub(crate) fn new(gateway: Arc<Gateway>, name: &ServerName, linger: Option<Linger>) -> Arc<Self> {
        let implementation = Implementation::new(name.0.clone(), env!("CARGO_PKG_VERSION"));
        let capabilities =
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().enable_prompts().enable_resources();
        // What is promised is what there is: without an open bucket nothing ever changes.
        let capabilities = match gateway.resources() {
            Some(_) => capabilities.enable_resources_subscribe().enable_resources_list_changed().build(),
            None => capabilities.build(),
        };
        let info = ServerConfig::new(capabilities)
            .with_server_info(implementation.clone())
            .with_instructions("Each tool runs in a sandbox of its own, made for one call by Portcullis.");
        let mut meta = MetaObject::default();
        if let Ok(implementation) = serde_json::to_value(implementation) {
            meta.0.insert("io.modelcontextprotocol/serverInfo".into(), implementation);
        }
        let (lists, subscribers) = (ToolLists::default(), Subscribers::default());
        let shared = Arc::new(Self { gateway, info, meta, lists, subscribers, linger });
        shared.watch();
        shared
    }

    /// Tells listeners when the list differs from the one before. Ends with the host.
    fn watch(self: &Arc<Self>) {
        let mut changes = self.gateway.catalogue().changes();
        let mut statutes = self.gateway.keeper().changes();
        let weak = Arc::downgrade(self);
        let mut last = self.lists.current(self.gateway.catalogue());
        tokio::spawn(async move {
            loop {
                let (changed, other_rules) = tokio::select! {
                    changed = changes.changed() => (changed, false),
                    changed = statutes.changed() => (changed, true),
                };
                if changed.is_err() {
                    return;
                }
                let Some(shared) = weak.upgrade() else { return };
                let list = shared.lists.current(shared.gateway.catalogue());
                if other_rules || list.tools != last.tools {
                    shared.subscribers.tools_changed().await;
                }
                last = list;
            }
        });
    }

    /// The view of a client behind a door.
    pub(crate) fn handler(self: &Arc<Self>, who: Who) -> Handler {
        let remembered = Remembered::default();
        Handler { shared: Arc::clone(self), who, caller: None, seats: Seats::default(), remembered }
    }
}

impl Handler {
    /// Who this request is from, with the role of this moment. An agent that the configuration has no more is nobody.
    fn principal(&self, context: &RequestContext<RoleServer>) -> Result<Principal, ErrorData> {
        let found = match &self.who {
            Who::Operator => Some(Principal::LocalOperator),
            Who::Agent(name) => self.shared.gateway.keeper().agent(name),
            Who::Asked => {
                let parts = context.extensions.get::<Parts>();
                parts.and_then(|parts| parts.extensions.get::<Caller>()).map(|caller| caller.principal.clone())
            }
        };
        found.ok_or_else(|| ErrorData::invalid_request("nobody vouches for this request", None))
    }

    /// The keeper's edition from before it was found out who this request is from, for one that [`Self::principal`] is
    /// asked of after this.
    fn edition(&self, context: &RequestContext<RoleServer>) -> u64 {
        let caller = || context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Caller>());
        let at_the_door = match &self.who {
            Who::Asked => caller().map(|caller| caller.edition),
            Who::Operator | Who::Agent(_) => None,
        };
        at_the_door.unwrap_or_else(|| self.shared.gateway.keeper().edition())
    }

    /// `_meta` of a result: only the newer era has `serverInfo` there.
    fn meta(&self, context: &RequestContext<RoleServer>) -> Option<MetaObject> {
        self.is_newer(context).then(|| self.shared.meta.clone())
    }

    fn is_newer(&self, context: &RequestContext<RoleServer>) -> bool {
        context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
    }

    async fn answer(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let _asked = self.shared.linger.as_ref().map(Linger::asked);
        let tool = request.name.clone();
        let edition = self.edition(&context);
        let principal = self.principal(&context)?;
        // rmcp tells of a cancel and of a closed stream, and leaves the stopping to us: dropping the call does it.
        let ended = tokio::select! {
            biased;
            ended = self.run(principal, edition, request, &context) => ended,
            () = context.ct.cancelled() => return Err(reply::cancelled()),
        };
        if let Ended::Limited(exceeded) = &ended
            && let Some(told) = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<SlowDown>())
        {
            told.after(exceeded.again);
        }
        let mut response = reply::reply(&tool, ended)?;
        match &mut response {
            CallToolResponse::Complete(result) => result.meta = self.meta(&context),
            CallToolResponse::InputRequired(result) => result.meta = self.meta(&context),
            // There are no tasks, and rmcp may add other ends.
            _ => {}
        }
        Ok(response)
    }

    /// Who can be asked for this call, where its tool needs a person's word.
    fn consent(
        &self,
        edition: u64,
        request: &mut CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Consent {
        let snapshot = self.shared.gateway.catalogue().snapshot();
        if snapshot.tool(&request.name).is_none_or(|tool| tool.rules().confirm.is_none()) {
            return Consent::Nobody;
        }
        let elicitation = context.client_capabilities().and_then(|capabilities| capabilities.elicitation);
        Consent::Client(Box::new(Client {
            peer: context.peer.clone(),
            // One that names neither form means the first (MCP 2025-11-25, "Elicitation", "Capabilities").
            can_ask: elicitation.is_some_and(|can| can.form.is_some() || can.url.is_none()),
            newer: self.is_newer(context),
            edition,
            state: request.request_state.take(),
            responses: request.input_responses.take(),
            remembered: self.remembered.clone(),
        }))
    }

    /// Runs the call and passes reports of progress on while it runs.
    async fn run(
        &self,
        principal: Principal,
        edition: u64,
        mut request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Ended {
        let received = Instant::now();
        let consent = self.consent(edition, &mut request, context);
        let token = context.meta.get_progress_token();
        let (reports, receiver) = match token {
            Some(_) => Some(mpsc::channel(MAX_REPORTS)).unzip(),
            None => (None, None),
        };
        let CallToolRequestParams { name, arguments, .. } = request;
        let call = self.shared.gateway.call(Incoming {
            principal: &principal,
            tool: &name,
            arguments: arguments.unwrap_or_default(),
            reports,
            received,
            consent,
            route: None,
        });
        match token.zip(receiver) {
            Some((token, receiver)) => Box::pin(with_reports(call, receiver, &token, &context.peer)).await,
            None => call.await,
        }
    }
}

/// Drives `call`, and each report to the client beside it: a client that does not read holds nothing up.
async fn with_reports(
    call: impl Future<Output = Ended>,
    mut reports: mpsc::Receiver<Progress>,
    token: &ProgressToken,
    peer: &Peer<RoleServer>,
) -> Ended {
    let send = |report: Progress| {
        let mut params = ProgressNotificationParam::new(token.clone(), report.progress);
        params.total = report.total;
        params.message = report.message;
        peer.notify_progress(params)
    };
    let mut call = pin!(call);
    let mut sending = None;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut call => break ended,
            _ = async { match sending.as_mut() { Some(sending) => sending.await, None => std::future::pending().await } } => {
                sending = None;
            }
            Some(report) = reports.recv(), if sending.is_none() => sending = Some(Box::pin(send(report))),
        }
    };
    // What was reported before the end comes before the reply, if the client takes it.
    let last = async {
        if let Some(sending) = sending {
            _ = sending.await;
        }
        while let Ok(report) = reports.try_recv() {
            _ = send(report).await;
        }
    };
    _ = tokio::time::timeout(LAST_REPORTS, last).await;
    ended
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.shared.info.clone()
    }

    fn discover(
        &self,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<DiscoverResult, ErrorData>> + Send + '_ {
        let versions = self.supported_protocol_versions().into_owned();
        let mut result = DiscoverResult::from_server_info(versions, self.get_info());
        result.ttl_ms = FRESH_MS;
        result.cache_scope = CacheScope::Private;
        if result.meta.is_none() {
            result.meta = self.meta(&context);
        }
        ready(Ok(result))
    }

    fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ListToolsResult, ErrorData>> + Send + '_ {
        let principal = match self.principal(&context) {
            Ok(principal) => principal,
            Err(error) => return ready(Err(error)),
        };
        let list = self.shared.lists.of(self.shared.gateway.catalogue(), &principal);
        let mut result = ListToolsResult::with_all_items(list.tools.clone())
            .with_ttl_ms(FRESH_MS)
            .with_cache_scope(CacheScope::Private);
        result.meta = self.meta(&context);
        ready(Ok(result))
    }

    // Boxed, as is all that waits here: rmcp moves the future that these are part of several times for each request, and
    // by value that was a fifth of a call.
    fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<CallToolResponse, ErrorData>> + Send + '_ {
        Box::pin(self.answer(request, context))
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.shared.subscribers.add_peer(context.peer.clone());
        self.session_begins(&context).await;
    }

    /// What rmcp could not read as one of its requests: an unknown method, or a known one whose parameters do not fit.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let shown: String = request.method.chars().take(64).flat_map(char::escape_debug).collect();
        let newer = context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        let method = request.method.as_str();
        if METHODS.contains(&method) || (!newer && OLDER_METHODS.contains(&method)) {
            return Err(ErrorData::invalid_params(format!("the parameters of `{shown}` are not valid"), None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("unknown method: `{shown}`"), None))
    }

    // There are no prompts yet. Clients of the newer era ask for the list all the same, and cache it.

    fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ListPromptsResult, ErrorData>> + Send + '_ {
        let mut result = ListPromptsResult::default().with_ttl_ms(FRESH_MS).with_cache_scope(CacheScope::Private);
        result.meta = self.meta(&context);
        ready(Ok(result))
    }

    fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ListResourcesResult, ErrorData>> + Send + '_ {
        Box::pin(async move { self.resource_list(request, &context).await })
    }

    fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ListResourceTemplatesResult, ErrorData>> + Send + '_ {
        ready(self.resource_templates(&context))
    }

    fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ReadResourceResponse, ErrorData>> + Send + '_ {
        Box::pin(async move { self.resource(request, &context).await })
    }

    fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        Box::pin(async move { self.subscribe_session(&request.uri, &context).await })
    }

    fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        self.unsubscribe_session(&request.uri);
        ready(Ok(()))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = SubscriptionFilter::default();
        accepted.tools_list_changed = requested.tools_list_changed;
        self.take_seat(requested, &mut accepted);
        Some(accepted)
    }

    fn listen(&self, subscription: SubscriptionContext) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        let seat = self.seats.take();
        Box::pin(async move {
            if let Some(seat) = &seat {
                seat.attach(To::Listen(subscription.sink().clone()));
            }
            self.shared.subscribers.listen(subscription).await;
            Ok(())
        })
    }
}
