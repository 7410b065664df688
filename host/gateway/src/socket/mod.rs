//! The door in the state directory: a Unix socket, by which commands and further clients come to the host that runs.
//!
//! Whoever holds the lock owns the directory ([`place`]). A peer says hello ([`wire`]), and then either speaks MCP, as on
//! standard input, or asks what operators ask ([`crate::desk`]). Who comes in is the operator: the directory is the
//! operator's alone, and a peer of another user is turned away all the same.

mod door;
mod errand;
mod line;
mod place;
mod relay;
mod wire;

pub(crate) use self::wire::Answer;
pub use self::{
    door::{Connections, SocketDoor},
    errand::{Errand, ErrandError},
    place::{Found, Owner, PlaceError, seek, visit},
    relay::{RelayEnd, relay},
    wire::{Hello, Wants},
};
