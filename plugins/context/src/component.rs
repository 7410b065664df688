//! The tools: WIT to values and back.

use exports::portcullis::context::context as wit;
use shelf::HostShelf;

use crate::values::{self, Address};

wit_bindgen::generate!({ world: "plugin" });

const BUCKET: &str = "context";

struct Context;

impl wit::Guest for Context {
    fn read_context(agent: Option<String>, key: Option<String>) -> Result<Option<wit::Item>, String> {
        let found = values::read(&HostShelf::open(BUCKET)?, &Address { agent, key })?;
        Ok(found.map(|values::Item { key, value, version, writer, written_at_ms, expires_at_ms }| wit::Item {
            key,
            value,
            version,
            writer,
            written_at_ms,
            expires_at_ms,
        }))
    }

    fn write_context(
        agent: Option<String>,
        key: Option<String>,
        value: String,
        if_version: Option<u64>,
        ttl: Option<u32>,
    ) -> Result<wit::Written, String> {
        let shelf = HostShelf::open(BUCKET)?;
        let values::Written { key, version, writer } =
            values::write(&shelf, &Address { agent, key }, &value, if_version, ttl)?;
        Ok(wit::Written { key, version, writer })
    }

    fn list_context(
        agent: Option<String>,
        prefix: Option<String>,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<wit::Page, String> {
        let shelf = HostShelf::open(BUCKET)?;
        let page = values::list(&shelf, agent.as_deref(), prefix.as_deref(), after.as_deref(), limit)?;
        let listed = |values::Listed { key, version, writer, bytes, written_at_ms, expires_at_ms }| wit::Listed {
            key,
            version,
            writer,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            written_at_ms,
            expires_at_ms,
        };
        Ok(wit::Page { items: page.items.into_iter().map(listed).collect(), next: page.next })
    }

    fn delete_context(
        agent: Option<String>,
        key: Option<String>,
        if_version: Option<u64>,
    ) -> Result<wit::Deleted, String> {
        let shelf = HostShelf::open(BUCKET)?;
        let values::Deleted { version, writer } = values::delete(&shelf, &Address { agent, key }, if_version)?;
        Ok(wit::Deleted { deleted: version.is_some(), version, writer })
    }
}

export!(Context);
