//! What the work costs without Portcullis.

pub(crate) mod sandbox;
pub(crate) mod server;
