//! Reference nodes as real processes, and what stands before them: started, signalled, asked, ended.
//!
//! No process outlives this program, however it ends. It knows only the nodes' command line and their
//! endpoints.

mod ask;
mod balancer;
mod cluster;
mod leash;
mod node;
mod ports;
mod postgres;
mod status;
mod wires;

pub(crate) use ask::{Answer, Client, Trouble};
pub(crate) use balancer::{Balancer, POLL};
pub(crate) use cluster::{Fleet, NODE, Plan, runtime};
pub(crate) use postgres::Postgres;
pub(crate) use status::{Member, Part, Status};
pub(crate) use wires::Way;
