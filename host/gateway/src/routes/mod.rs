//! Routes: a method and a path of HTTP for a tool, for who speaks no MCP.
//!
//! A route is another way to write a call, and no other way to make one: what it asks for goes through
//! [`pipeline`](crate::pipeline) as every call does. Here is only how a request becomes arguments, and an end an answer.

mod answer;
mod arguments;
mod body;
mod door;
mod misfit;
mod openapi;
mod origin;
mod route;
mod shape;
mod table;
mod template;

pub(crate) use self::{
    door::{RouteDoor, told},
    origin::Hosts,
};
pub use self::{
    misfit::Misfit,
    route::{Method, Route, RouteError, Source},
    table::RouteTable,
};
