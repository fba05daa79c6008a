//! Questions and answers within one process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Network;
use crate::member::NodeName;
use crate::transport::{Answers, Carrier, Carrying, NotCarried};

/// One node's questions.
#[derive(Debug)]
pub(super) struct Questions {
    pub(super) network: Network,
    pub(super) node: NodeName,
}

impl Carrier for Questions {
    fn carry<'a>(&'a self, address: &'a str, message: Bytes, within: Duration) -> Carrying<'a> {
        Box::pin(async move {
            let to = NodeName::new(address);
            let (there, back, answers) = {
                let state = self.network.0.lock();
                let there = state.condition(&self.node, &to);
                let back = state.condition(&to, &self.node);
                (there, back, state.answering.get(&to).cloned())
            };
            let answers = answers.filter(|_| !there.cut);
            let answers = answers.ok_or(NotCarried::NotDelivered)?;
            let asking = async {
                tokio::time::sleep(there.delay).await;
                let answer = answers.answer(message).await;
                if back.cut {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(back.delay).await;
                answer
            };
            let answered = tokio::time::timeout(within, asking).await;
            answered.map_err(|_| NotCarried::NoAnswer)
        })
    }

    fn serve(&self, answers: Arc<dyn Answers>) {
        let mut state = self.network.0.lock();
        state.answering.insert(self.node.clone(), answers);
    }
}
