//! `portcullis:host/call`: what a guest may know of its own call. Linked for everyone; reveals nothing else.

use std::time::Instant;

use portcullis_policy::Principal;
use tokio::sync::mpsc;

use crate::bindings::portcullis::host::call::Host;

/// Bytes of a progress message that are passed on.
const MAX_MESSAGE: usize = 1024;

/// One report of progress, on its way to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// How much is done; larger than in the report before.
    pub progress: f64,
    /// The whole, in the same unit.
    pub total: Option<f64>,
    /// A line for a person, by the guest: escape it before a terminal sees it.
    pub message: Option<String>,
}

/// The call, as its guest sees it.
pub(crate) struct Ctx {
    pub(crate) id: String,
    pub(crate) principal: Principal,
    pub(crate) deadline: Instant,
    /// To the client, where it asked. Bounded: a guest that reports faster than the client reads loses reports.
    pub(crate) reports: Option<mpsc::Sender<Progress>>,
    pub(crate) last: f64,
}

impl Host for Ctx {
    fn report_progress(&mut self, progress: f64, total: Option<f64>, message: Option<String>) {
        let Some(reports) = &self.reports else { return };
        if !progress.is_finite() || progress <= self.last || total.is_some_and(|total| !total.is_finite()) {
            return;
        }
        let message = message.map(|mut message| {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            message
        });
        if reports.try_send(Progress { progress, total, message }).is_ok() {
            self.last = progress;
        }
    }

    fn time_left(&mut self) -> u64 {
        let left = self.deadline.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }

    fn call_id(&mut self) -> String {
        self.id.clone()
    }

    fn principal(&mut self) -> String {
        self.principal.in_buckets().into_owned()
    }
}
