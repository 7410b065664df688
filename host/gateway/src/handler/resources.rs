//! What rmcp asks about resources, in both eras: lists, templates, reading, and who listens.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::request::Parts;
use portcullis_policy::Principal;
use rmcp::{
    ErrorData, RoleServer,
    model::{
        CacheScope, ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, SubscriptionFilter,
    },
    service::{NotificationContext, RequestContext},
};
use tokio::{sync::OnceCell, task};

use super::{FRESH_MS, Handler, Who};
use crate::{
    auth::{CALLER, Caller},
    consent::Remembered,
    reply::resource_error,
    resources::{ResourceError, Resources, Seat, To},
};

/// How long a seat is kept that was taken before an acknowledgement which could not be sent.
const ABANDONED: Duration = Duration::from_secs(60);

/// The places of one client among the listeners. They go with its session or request, which a clone is another's.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// Of a session of the older era.
    session: OnceCell<Seat>,
    /// Of `subscriptions/listen` requests between rmcp's two questions, which both come from the request's own task.
    taken: Mutex<HashMap<task::Id, (Instant, Seat)>>,
}

impl Clone for Seats {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Seats {
    fn keep(&self, seat: Seat) {
        let Some(id) = task::try_id() else { return };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, (since, _)| since.elapsed() < ABANDONED);
        taken.insert(id, (Instant::now(), seat));
    }

    /// The seat that was kept for the request of this task.
    pub(super) fn take(&self) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        task::try_id().and_then(|id| taken.remove(&id)).map(|(_, seat)| seat)
    }
}

impl Handler {
    /// This view for the request that is being taken in, or the session that it begins.
    pub(crate) fn for_caller(&self) -> Self {
        // What was said in one session counts in no other.
        let remembered = Remembered::default();
        Self { caller: CALLER.try_with(Principal::clone).ok(), remembered, ..self.clone() }
    }

    fn resources(&self) -> Option<&Arc<Resources>> {
        self.shared.gateway.resources()
    }

    pub(super) async fn resource_list(
        &self,
        request: Option<PaginatedRequestParams>,
        context: &RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let principal = self.principal(context)?;
        // Entries change at any time: whoever wants to know without asking subscribes.
        let mut result = ListResourcesResult::default().with_ttl_ms(0).with_cache_scope(CacheScope::Private);
        if let Some(resources) = self.resources() {
            if self.seats.session.initialized() {
                // What comes after this list is told.
                resources.watch_list(&principal).await;
            }
            let cursor = request.and_then(|request| request.cursor);
            let listed = resources.list(&principal, cursor.as_deref()).await;
            let listed = listed.map_err(|error| resource_error(error, None))?;
            (result.resources, result.next_cursor) = (listed.resources, listed.next);
        } else {
            result = result.with_ttl_ms(FRESH_MS);
        }
        result.meta = self.meta(context);
        Ok(result)
    }

    pub(super) fn resource_templates(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let principal = self.principal(context)?;
        let templates = self.resources().map(|resources| resources.templates(&principal)).unwrap_or_default();
        let mut result = ListResourceTemplatesResult::with_all_items(templates)
            .with_ttl_ms(FRESH_MS)
            .with_cache_scope(CacheScope::Private);
        result.meta = self.meta(context);
        Ok(result)
    }

    pub(super) async fn resource(
        &self,
        request: ReadResourceRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let principal = self.principal(context)?;
        let found = match self.resources() {
            Some(resources) => resources.read(&principal, &request.uri).await,
            None => Err(ResourceError::NotFound),
        };
        let contents = found.map_err(|error| resource_error(error, Some(&request.uri)))?;
        let mut result = ReadResourceResult::new(vec![contents]);
        (result.ttl_ms, result.cache_scope) = (Some(0), Some(CacheScope::Private));
        result.meta = self.meta(context);
        Ok(result.into())
    }

    /// The seat of a session of the older era.
    async fn seat(&self, resources: &Arc<Resources>, principal: &Principal, to: To) -> Result<&Seat, ResourceError> {
        let sit = async || resources.sit(principal, to.clone()).await.ok_or(ResourceError::TooMany);
        self.seats.session.get_or_try_init(sit).await
    }

    /// From now on this session is told when keys come and go.
    pub(super) async fn session_begins(&self, context: &NotificationContext<RoleServer>) {
        let principal = match &self.who {
            Who::Operator => Some(Principal::LocalOperator),
            Who::Agent(name) => self.shared.gateway.keeper().agent(name),
            Who::Asked => {
                let parts = context.extensions.get::<Parts>();
                parts.and_then(|parts| parts.extensions.get::<Caller>()).map(|caller| caller.principal.clone())
            }
        };
        if let Some((resources, principal)) = self.resources().zip(principal) {
            // One who finds no seat is not told; it can ask.
            _ = self.seat(resources, &principal, To::Session(context.peer.clone())).await;
        }
    }

    pub(super) async fn subscribe_session(
        &self,
        uri: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let principal = self.principal(context)?;
        let resources = self.resources().ok_or_else(|| resource_error(ResourceError::NotFound, Some(uri)))?;
        let seated = self.seat(resources, &principal, To::Session(context.peer.clone())).await;
        let subscribed = match seated {
            Ok(seat) => resources.subscribe(seat, &principal, uri).await,
            Err(error) => Err(error),
        };
        subscribed.map_err(|error| resource_error(error, Some(uri)))
    }

    pub(super) fn unsubscribe_session(&self, uri: &str) {
        if let Some(seat) = self.seats.session.get() {
            seat.unsubscribe(uri);
        }
    }

    /// Of what a client of the newer era wants to hear, that which it may. Comes before the acknowledgement, so that
    /// what changes after it is told.
    pub(super) fn take_seat(&self, requested: &SubscriptionFilter, accepted: &mut SubscriptionFilter) {
        let principal = match &self.who {
            Who::Operator => Some(Principal::LocalOperator),
            Who::Agent(name) => self.shared.gateway.keeper().agent(name),
            Who::Asked => self.caller.clone(),
        };
        let Some((resources, principal)) = self.resources().zip(principal) else { return };
        let list = requested.resources_list_changed == Some(true);
        let uris = requested.resource_subscriptions.as_deref().unwrap_or_default();
        if !list && uris.is_empty() {
            return;
        }
        if let Some((seat, taken)) = resources.sit_to_listen(&principal, list, uris) {
            self.seats.keep(seat);
            accepted.resources_list_changed = list.then_some(true);
            accepted.resource_subscriptions = Some(taken).filter(|taken| !taken.is_empty());
        }
    }
}
