//! The tools: WIT to messages and back.

use exports::portcullis::messages::messages as wit;
use shelf::HostShelf;

use crate::{
    address::Priority,
    mailbox::{self, Acknowledged, Asked, Message, Received},
    sending::{self, Sent},
};

wit_bindgen::generate!({ world: "plugin" });

const BUCKET: &str = "messages";

struct Messages;

impl wit::Guest for Messages {
    fn send_message(
        to: String,
        body: String,
        priority: Option<wit::Priority>,
        ttl: Option<u32>,
    ) -> Result<wit::Sent, String> {
        let priority = priority.map(|priority| match priority {
            wit::Priority::High => Priority::High,
            wit::Priority::Normal => Priority::Normal,
            wit::Priority::Low => Priority::Low,
        });
        let Sent { id, recipients, unknown } = sending::send(&HostShelf::open(BUCKET)?, &to, &body, priority, ttl)?;
        Ok(wit::Sent { id, recipients: count(recipients), unknown })
    }

    fn receive_messages(
        wait: Option<u32>,
        limit: Option<u32>,
        topics: Option<Vec<String>>,
        lease: Option<u32>,
    ) -> Result<wit::Received, String> {
        let asked = Asked { wait, limit, topics, lease };
        let Received { messages, more, topics } = mailbox::receive(&HostShelf::open(BUCKET)?, &asked)?;
        Ok(wit::Received { messages: messages.into_iter().map(message).collect(), more, topics })
    }

    fn acknowledge_message(ids: Vec<String>) -> Result<wit::Acknowledged, String> {
        let Acknowledged { acknowledged, gone } = mailbox::acknowledge(&HostShelf::open(BUCKET)?, &ids)?;
        Ok(wit::Acknowledged { acknowledged: count(acknowledged), gone })
    }
}

fn message(message: Message) -> wit::Message {
    let Message { id, sender, to, body, priority, sent_at_ms, expires_at_ms, redelivered } = message;
    let priority = match priority {
        Priority::High => wit::Priority::High,
        Priority::Normal => wit::Priority::Normal,
        Priority::Low => wit::Priority::Low,
    };
    wit::Message { id, sender, to, body, priority, sent_at_ms, expires_at_ms, redelivered }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

export!(Messages);
