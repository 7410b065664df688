//! The tools: WIT to tickets and back.

use exports::portcullis::support::support as wit;
use shelf::HostShelf;

use crate::{
    analysing::{self, Analyses, Analysis, Said},
    ending,
    looking::{self, Standing, Status},
    opening::{self, Draft},
    ticket::{Event, State, Ticket},
};

wit_bindgen::generate!({ world: "plugin" });

const BUCKET: &str = "support";

struct Support;

impl wit::Guest for Support {
    fn save_ticket(id: String, customer: String, subject: String, body: String) -> Result<wit::Ticket, String> {
        opening::save(&HostShelf::open(BUCKET)?, &Draft { id, customer, subject, body }).map(ticket)
    }

    fn get_ticket(id: String) -> Result<wit::Ticket, String> {
        looking::get(&HostShelf::open(BUCKET)?, &id).map(ticket)
    }

    fn add_analysis(
        id: String,
        aspect: String,
        finding: String,
        confidence: Option<u8>,
    ) -> Result<wit::Analysis, String> {
        let said = Said { aspect, finding, confidence };
        analysing::add(&HostShelf::open(BUCKET)?, &id, &said).map(analysis)
    }

    fn get_all_analysis(id: String, after: Option<String>, limit: Option<u32>) -> Result<wit::Analyses, String> {
        let shelf = HostShelf::open(BUCKET)?;
        let Analyses { state: stands, items, total, next } = analysing::all(&shelf, &id, after.as_deref(), limit)?;
        Ok(wit::Analyses { state: shown(stands), items: items.into_iter().map(analysis).collect(), total, next })
    }

    fn save_resolution(id: String, resolution: String, analyses: Option<u32>) -> Result<wit::Ticket, String> {
        ending::resolve(&HostShelf::open(BUCKET)?, &id, &resolution, analyses).map(ticket)
    }

    fn escalate(id: String, reason: String, analyses: Option<u32>) -> Result<wit::Ticket, String> {
        ending::escalate(&HostShelf::open(BUCKET)?, &id, &reason, analyses).map(ticket)
    }

    fn get_status(
        id: Option<String>,
        state: Option<wit::State>,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<wit::Status, String> {
        let state = state.map(|state| match state {
            wit::State::New => State::New,
            wit::State::Analysing => State::Analysing,
            wit::State::Resolved => State::Resolved,
            wit::State::Escalated => State::Escalated,
        });
        let shelf = HostShelf::open(BUCKET)?;
        let Status { tickets, next } = looking::status(&shelf, id.as_deref(), state, after.as_deref(), limit)?;
        let standing = |Standing { id, subject, state, analysts, since_ms }| wit::Standing {
            ticket_id: id,
            subject,
            state: shown(state),
            analysts,
            since_ms,
        };
        Ok(wit::Status { tickets: tickets.into_iter().map(standing).collect(), next })
    }
}

fn shown(state: State) -> wit::State {
    match state {
        State::New => wit::State::New,
        State::Analysing => wit::State::Analysing,
        State::Resolved => wit::State::Resolved,
        State::Escalated => wit::State::Escalated,
    }
}

fn ticket(ticket: Ticket) -> wit::Ticket {
    let Ticket { id, customer, subject, body, state, outcome, history } = ticket;
    let event = |Event { state, by, at_ms }| wit::Event { state: shown(state), by, at_ms };
    let history = history.into_iter().map(event).collect();
    wit::Ticket { ticket_id: id, customer, subject, body, state: shown(state), outcome, history }
}

fn analysis(analysis: Analysis) -> wit::Analysis {
    let Analysis { analyst, aspect, finding, confidence, at_ms } = analysis;
    wit::Analysis { analyst, aspect, finding, confidence, at_ms }
}

export!(Support);
