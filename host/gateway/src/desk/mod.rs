//! The operator's desk: what commands ask of the house, whether they come through the socket or opened the house themselves.
//!
//! Calls go along the pipeline as everybody's do. What operators do to shared context by hand is recorded before and after.

mod call;
mod counter;
mod kv;
mod listed;

use std::{sync::Arc, time::Duration};

use portcullis_catalogue::Progress;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

pub use self::{
    call::{Called, CalledEnd, Printed, called},
    counter::Counter,
    kv::{Bytes, KvAnswer, KvChange, KvChangeKind, KvEntry, KvFault, KvRefusal, KvRequest, KvStats, KvWhen},
    listed::{Listed, Mend, Row, STORE_PATIENCE, store_trouble},
};
use crate::{consent::Confirmed, pipeline::Gateway, socket::Answer};

/// How long a list waits for code that is being compiled. What is not compiled then is listed as it stands.
const SETTLE: Duration = Duration::from_secs(120);

/// Asks whoever looks after the files to look at them now, and to say what is wrong with them.
pub type Reload = mpsc::Sender<oneshot::Sender<Vec<Mend>>>;

/// The desk of a host that runs.
#[derive(Debug)]
pub struct Desk {
    gateway: Arc<Gateway>,
    counter: Option<Counter>,
    config: String,
    reload: Option<Reload>,
}

impl Desk {
    /// A desk of the host that serves `config`: the whole path of the file, or whatever those who come have to name.
    pub fn new(gateway: Arc<Gateway>, counter: Option<Counter>, config: String, reload: Option<Reload>) -> Arc<Self> {
        Arc::new(Self { gateway, counter, config, reload })
    }

    pub(crate) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    /// One call of the operator's.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        confirmed: Option<Confirmed>,
        reports: Option<mpsc::Sender<Progress>>,
    ) -> Answer {
        // What compiles is no part of the call, for an operator who looks at what it cost.
        if let Some(found) = self.gateway.catalogue().snapshot().tool(tool) {
            found.ready().await;
        }
        Answer::Called(Box::new(called(&self.gateway, tool, arguments, confirmed, reports).await))
    }

    /// The plugins, after a look at the files.
    pub(crate) async fn list(&self) -> Listed {
        let wrong = self.reload().await;
        _ = tokio::time::timeout(SETTLE, self.gateway.catalogue().settled()).await;
        let store = store_trouble(self.gateway.store()).await;
        Listed::of(&self.gateway.catalogue().snapshot(), wrong, store)
    }

    /// Looks at the files now. What is wrong with them.
    pub(crate) async fn reload(&self) -> Vec<Mend> {
        let Some(reload) = &self.reload else { return Vec::new() };
        let (told, wrong) = oneshot::channel();
        // An error is a host that ends.
        if reload.send(told).await.is_err() {
            return Vec::new();
        }
        wrong.await.unwrap_or_default()
    }

    pub(crate) async fn kv(&self, request: KvRequest) -> Answer {
        match &self.counter {
            Some(counter) => Answer::Kv(Box::new(counter.ask(request).await)),
            None => Answer::Failed { what: "this host has no store".to_owned() },
        }
    }
}
