//! The tools: WIT to agents and back.

use exports::portcullis::agents::agents as wit;
use shelf::HostShelf;

use crate::{
    agent::{Agent, Profile},
    register::{self, Found, Registration},
};

wit_bindgen::generate!({ world: "plugin" });

const BUCKET: &str = "agents";

struct Agents;

impl wit::Guest for Agents {
    fn register_agent(
        capabilities: Vec<String>,
        description: Option<String>,
        capacity: Option<u32>,
        load: Option<u32>,
        ttl: Option<u32>,
    ) -> Result<wit::Agent, String> {
        let said = Registration { capabilities, description, capacity, load, ttl };
        register::register(&HostShelf::open(BUCKET)?, &said).map(agent)
    }

    fn heartbeat(load: Option<u32>, available: Option<bool>) -> Result<wit::Agent, String> {
        register::heartbeat(&HostShelf::open(BUCKET)?, load, available).map(agent)
    }

    fn deregister_agent() -> Result<wit::Deregistered, String> {
        let deregistered = register::deregister(&HostShelf::open(BUCKET)?)?;
        Ok(wit::Deregistered { deregistered })
    }

    fn find_agents(
        capabilities: Option<Vec<String>>,
        limit: Option<u32>,
        unavailable: Option<bool>,
    ) -> Result<wit::Found, String> {
        let wanted = capabilities.unwrap_or_default();
        let Found { agents, total } =
            register::find(&HostShelf::open(BUCKET)?, &wanted, limit, unavailable.unwrap_or(false))?;
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        Ok(wit::Found { agents: agents.into_iter().map(agent).collect(), total })
    }
}

fn agent(agent: Agent) -> wit::Agent {
    let Agent { name, profile, seen_at_ms, expires_at_ms } = agent;
    let available = profile.takes_more();
    let Profile { capabilities, description, capacity, load, .. } = profile;
    let capabilities = capabilities.into_iter().collect();
    wit::Agent { name, capabilities, description, capacity, load, available, seen_at_ms, expires_at_ms }
}

export!(Agents);
