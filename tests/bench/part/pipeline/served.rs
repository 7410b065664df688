//! Ours: the plugin on a host, called over HTTP by agents with keys.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::json;
use support::State;

use super::{ANALYSTS, ASPECT, BUCKET, CONFIDENCE, Case, DESK, LANES, MAX_BYTES, MAX_ENTRIES, ROUTER};
use crate::{
    client::{Crowd, Http, Prepared, Request},
    server::{Bench, House, Side},
};

/// Roles as in `plugins/portcullis.toml`, and the limits so high that none is reached.
const TEAM: &str = "
[roles.desk]
allow = [\"save_ticket\", \"get_ticket\", \"get_status\"]
[roles.support-analyst]
allow = [\"get_ticket\", \"get_status\", \"add_analysis\"]
[roles.router]
allow = [\"get_ticket\", \"get_status\", \"get_all_analysis\", \"save_resolution\", \"escalate\"]
[agent-defaults]
concurrency = 5000
calls-per-minute = 10_000_000
fuel-per-day = 9_000_000_000_000_000
[agents.desk]
role = \"desk\"
[agents.router]
role = \"router\"
";
/// Connections of a ticket: its analysts call at the same time.
const WIDTH: usize = ANALYSTS.len();

/// The host's folder, and the keys of its agents.
pub(super) struct Served {
    house: House,
    desk: String,
    router: String,
    analysts: Vec<String>,
}

/// The same, with the host running.
pub(super) struct Running {
    served: Served,
    host: Http,
    crowd: Crowd,
}

impl Served {
    pub(super) fn new(bench: &Bench) -> anyhow::Result<Self> {
        let analysts: String =
            ANALYSTS.iter().map(|name| format!("[agents.{name}]\nrole = \"support-analyst\"\n")).collect();
        let more = format!(
            "prefix = \"\"\nlimits = {{ concurrency = {} }}\n[plugins.support.grants]\nkv = [{{ bucket = \"{BUCKET}\", access = \"read-write\" }}]\n\
             [buckets.{BUCKET}]\nmax-entries = {MAX_ENTRIES}\nmax-bytes = \"{}GiB\"\n{TEAM}{analysts}",
            LANES * WIDTH,
            MAX_BYTES >> 30
        );
        let house = House::on_disk(&[("support", portcullis_artifacts::SUPPORT, &more)])?;
        let (desk, router) = (bench.key(&house, DESK)?, bench.key(&house, ROUTER)?);
        let analysts = ANALYSTS.iter().map(|name| bench.key(&house, name)).collect::<anyhow::Result<_>>()?;
        Ok(Self { house, desk, router, analysts })
    }

    pub(super) fn start(self, bench: &Bench) -> anyhow::Result<Running> {
        let host = bench.http(Side::Ours(&self.house))?;
        let crowd = Crowd::open(host.address(), LANES * WIDTH)?;
        Ok(Running { served: self, host, crowd })
    }
}

/// The calls of a ticket: one step after the other, those of a step at the same time.
type Steps = [Vec<Prepared>; 4];

/// Where a lane stands.
#[derive(Clone, Copy)]
struct Lane {
    ticket: usize,
    step: usize,
    unanswered: usize,
}

impl Running {
    /// Works on all of them; how long it takes.
    pub(super) fn run(&mut self, cases: &[Case]) -> anyhow::Result<Duration> {
        let tickets: Vec<Steps> = cases.iter().map(|case| self.steps(case)).collect();
        let began = Instant::now();
        let mut begun = LANES.min(tickets.len());
        let mut lanes: Vec<Lane> = (0..begun).map(|ticket| Lane { ticket, step: 0, unanswered: 0 }).collect();
        for (at, lane) in lanes.iter_mut().enumerate() {
            self.send(&tickets, at, lane)?;
        }
        let mut ended = 0;
        while ended < tickets.len() {
            for connection in self.crowd.answered(None)? {
                let (at, call) = (connection / WIDTH, connection % WIDTH);
                let lane = lanes.get_mut(at).context("a lane")?;
                let asked = step(&tickets, lane).get(call).context("a reply to nothing")?;
                self.crowd.take(connection, asked)?;
                lane.unanswered -= 1;
                if lane.unanswered > 0 {
                    continue;
                }
                lane.step += 1;
                if step(&tickets, lane).is_empty() {
                    ended += 1;
                    (lane.ticket, lane.step) = (begun, 0);
                    begun += 1;
                }
                self.send(&tickets, at, lane)?;
            }
        }
        Ok(began.elapsed())
    }

    /// Sends the calls of the step that a lane has come to; none where no ticket is left.
    fn send(&mut self, tickets: &[Steps], at: usize, lane: &mut Lane) -> anyhow::Result<()> {
        let calls = step(tickets, lane);
        for (call, prepared) in calls.iter().enumerate() {
            self.crowd.send(at * WIDTH + call, prepared)?;
        }
        lane.unanswered = calls.len();
        Ok(())
    }

    fn steps(&self, case: &Case) -> Steps {
        let Served { desk, router, analysts, .. } = &self.served;
        let id = &case.id;
        let call =
            |tool: &str, arguments, answer: &str, key| self.crowd.prepare(Request::call(tool, &arguments, answer), key);
        let Case { subject, body, outcome, .. } = case;
        let ticket = json!({ "ticket_id": id, "customer": "ada@example.com", "subject": subject, "body": body });
        let analyses = ANALYSTS.iter().zip(analysts).zip(&case.findings).map(|((name, key), finding)| {
            let said = json!({ "ticket_id": id, "aspect": ASPECT, "finding": finding, "confidence": CONFIDENCE });
            call("add_analysis", said, &format!("\"analyst\":\"{name}\""), key)
        });
        // As many as there are: the reply to the step before is checked for it.
        let read = ANALYSTS.len();
        let end = match case.end {
            State::Escalated => {
                let arguments = json!({ "ticket_id": id, "reason": outcome, "analyses": read });
                call("escalate", arguments, "\"state\":\"escalated\"", router)
            }
            State::New | State::Analysing | State::Resolved => {
                let arguments = json!({ "ticket_id": id, "resolution": outcome, "analyses": read });
                call("save_resolution", arguments, "\"state\":\"resolved\"", router)
            }
        };
        [
            vec![call("save_ticket", ticket, "\"state\":\"new\"", desk)],
            analyses.collect(),
            vec![call("get_all_analysis", json!({ "ticket_id": id }), &format!("\"total\":{read}"), router)],
            vec![end],
        ]
    }

    /// Ends the host at once. Its folder, and the file of its store.
    pub(super) fn end(self) -> (House, PathBuf) {
        let Self { served, host, crowd } = self;
        drop((crowd, host));
        let file = served.house.path().join(".portcullis/store/shared.redb");
        (served.house, file)
    }
}

fn step<'a>(tickets: &'a [Steps], lane: &Lane) -> &'a [Prepared] {
    tickets.get(lane.ticket).and_then(|steps| steps.get(lane.step)).map_or(&[], Vec::as_slice)
}
