//! How messages get from one node to another: what openraft makes of the network.

use std::sync::Arc;
use std::time::Duration;

use openraft::BasicNode;
use openraft::error::{
    InstallSnapshotError, NetworkError, PayloadTooLarge, RPCError, RaftError, RemoteError,
    Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};

use super::message::{Body, Message, Reply, decode, encode};
use super::timing::Timing;
use super::types::{RaftTypes, incarnation};
use crate::member::Founding;
use crate::transport::{Carrier, NotCarried};

/// What openraft sends through.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) carrier: Arc<dyn Carrier>,
    /// Where this node itself is: whoever was there before does not run any more.
    pub(super) own: String,
    pub(super) cluster: Founding,
    pub(super) timing: Timing,
}

/// The way to one node.
#[derive(Debug)]
pub(super) struct Way {
    network: Network,
    to: u64,
    address: String,
}

impl RaftNetworkFactory<RaftTypes> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Way {
        Way {
            network: self.clone(),
            to: target,
            address: node.addr.clone(),
        }
    }
}

/// Why openraft gets no answer.
enum Failure {
    Unreachable(Unreachable),
    Network(NetworkError),
    TooLarge,
}

impl<E: std::error::Error> From<Failure> for RPCError<u64, BasicNode, E> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(unreachable) => unreachable.into(),
            Failure::Network(network) => network.into(),
            Failure::TooLarge => PayloadTooLarge::new_entries_hint(1).into(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("this incarnation does not run there")]
struct NotThere;

impl Way {
    async fn send(&self, body: Body, within: Duration) -> Result<Reply, Failure> {
        let not_there = || Failure::Unreachable(Unreachable::new(&NotThere));
        if self.address == self.network.own {
            return Err(not_there());
        }
        let message = Message {
            cluster: Some(self.network.cluster),
            body,
        };
        let Some(bytes) = encode(&message) else {
            return Err(Failure::TooLarge);
        };
        let carried = self
            .network
            .carrier
            .carry(&self.address, bytes.into(), within);
        let answer = carried.await.map_err(|not_carried| match not_carried {
            NotCarried::NotDelivered => Failure::Unreachable(Unreachable::new(&not_carried)),
            NotCarried::NoAnswer => Failure::Network(NetworkError::new(&not_carried)),
        })?;
        match decode(&answer) {
            None | Some(Reply::NotHere) => Err(not_there()),
            Some(reply) => Ok(reply),
        }
    }

    fn remote<E: std::error::Error>(&self, error: E) -> RPCError<u64, BasicNode, E> {
        RemoteError::new(self.to, error).into()
    }

    fn another_reply<E: std::error::Error>(&self) -> RPCError<u64, BasicNode, E> {
        Unreachable::new(&NotThere).into()
    }
}

impl RaftNetwork<RaftTypes> for Way {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let body = Body::Append(incarnation(self.to), rpc);
        match self.send(body, option.hard_ttl()).await? {
            Reply::Append(answer) => answer.map_err(|error| self.remote(error)),
            _ => Err(self.another_reply()),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>,
    > {
        let body = Body::Snapshot(incarnation(self.to), rpc);
        match self.send(body, option.hard_ttl()).await? {
            Reply::Snapshot(answer) => answer.map_err(|error| self.remote(error)),
            _ => Err(self.another_reply()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let body = Body::Vote(incarnation(self.to), rpc);
        match self.send(body, option.hard_ttl()).await? {
            Reply::Vote(answer) => answer.map_err(|error| self.remote(error)),
            _ => Err(self.another_reply()),
        }
    }

    fn backoff(&self) -> Backoff {
        // A learner that joined a moment ago may not listen yet; one that died is soon forgotten.
        Backoff::new(std::iter::repeat(self.network.timing.heartbeat()))
    }
}
