//! A node's network, opened: a node's address is its name.

use std::future::ready;
use std::sync::Arc;

use super::Network;
use super::carrier::Questions;
use super::streams::Pipes;
use crate::transport::{Connections, NetworkSettings, Opening};

impl crate::transport::Network for Network {
    fn open(&self, settings: NetworkSettings) -> Opening<'_> {
        let port = Arc::new(self.port_of(settings.node.clone()));
        let connections = Connections {
            place: None,
            address: settings.node.to_string(),
            carrier: Arc::new(Questions {
                network: self.clone(),
                node: settings.node,
            }),
            streams: Arc::new(Pipes::new(Arc::clone(&port))),
            transport: port,
        };
        Box::pin(ready(Ok(connections)))
    }
}
