//! Reception: the doors, the one pipeline of a call, the one reply table.
//!
//! The only room that knows MCP, HTTP, routes and the socket in the state directory. It never sees a type of wasmtime's, and decides nothing: [`pipeline`] asks
//! the statute book and carries the proof.

#![forbid(unsafe_code)]

mod allowance;
mod auth;
mod consent;
mod desk;
mod handler;
mod http;
mod pipeline;
mod reply;
mod resources;
mod routes;
mod sessions;
mod socket;
mod stdio;
mod subscribers;
mod threads;
mod tools;
mod transport;

pub use allowance::{Allowances, Clocks, Exceeded, SpentError};
pub use auth::{
    ApiKey, Doorkeeper, KeyFile, KeyFileError, KeyRefusal, KeyRing, OAuth, OAuthError, Refused, TokenRefusal,
    look as look_for_keys,
};
pub use consent::{Asked, Confirmed, Consent, NotConfirmed};
pub use desk::{
    Bytes, Called, CalledEnd, Counter, Desk, KvAnswer, KvChange, KvChangeKind, KvEntry, KvFault, KvRefusal, KvRequest,
    KvStats, KvWhen, Listed, Mend, Printed, Reload, Row, STORE_PATIENCE, called, store_trouble,
};
pub use handler::{ServerName, Who};
pub use http::{HttpDoor, HttpError, HttpTerms, PeerBounds, Tls, TlsError};
pub use pipeline::{Ended, Gateway, House, Incoming};
pub use resources::{Address, Resources, SharedContext};
pub use routes::{Method, Misfit, Route, RouteError, RouteTable, Source};
pub use socket::{
    Connections, Errand, ErrandError, Found, Hello, Owner, PlaceError, RelayEnd, SocketDoor, Wants, relay, seek, visit,
};
pub use stdio::{StdioError, serve_stdio};
