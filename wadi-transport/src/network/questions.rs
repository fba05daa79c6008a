//! Questions to an address, over streams of their own: nothing large stands before one.
//!
//! Whoever has the cluster's key may ask, also before it has joined. A question is sent once; whether
//! to ask again is for whoever asks.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::time::timeout;
use wadi_core::transport::{Answers, Carrier, Carrying, NotCarried};

use super::answering::{Answering, answer_all, read_frame, write_frame};
use super::open::Open;
use super::pool::{NotReached, Pool};
use crate::stream::Audience;

/// The kind of the streams that carry questions.
const KIND: &str = "wadi-questions";

/// The questions of one node, and its answers to those of others.
pub(super) struct Questions {
    open: Arc<Open>,
    pool: Arc<Pool>,
    answering: Mutex<Option<Answering>>,
}

impl Questions {
    pub(super) fn new(open: Arc<Open>) -> Self {
        Self {
            pool: Pool::new(&open.shared, KIND),
            open,
            answering: Mutex::default(),
        }
    }

    async fn ask(&self, address: &str, question: &Bytes, sent: &mut bool) -> io::Result<Bytes> {
        let line = self.pool.take(address).await;
        let mut line = line.map_err(|NotReached| io::Error::from(io::ErrorKind::NotConnected))?;
        *sent = true;
        write_frame(line.stream(), question).await?;
        let answer = read_frame(line.stream(), self.open.shared.limits.question_bytes).await?;
        line.done();
        Ok(answer)
    }
}

impl Carrier for Questions {
    fn carry<'a>(&'a self, address: &'a str, message: Bytes, within: Duration) -> Carrying<'a> {
        Box::pin(async move {
            let (length, limit) = (message.len(), self.open.shared.limits.question_bytes);
            if length > limit {
                let why = format_args!(
                    "a question has {length} bytes, and may have {limit}: raise question_bytes on all nodes"
                );
                self.open.shared.journal.failed(&why, true);
                return Err(NotCarried::NotDelivered);
            }
            let mut sent = false;
            match timeout(within, self.ask(address, &message, &mut sent)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) | Err(_) if sent => Err(NotCarried::NoAnswer),
                Ok(Err(_)) | Err(_) => Err(NotCarried::NotDelivered),
            }
        })
    }

    fn serve(&self, answers: Arc<dyn Answers>) {
        let mut answering = self.answering.lock();
        if let Some(answering) = &*answering {
            *answering.write() = answers;
            return;
        }
        let answers = Arc::new(RwLock::new(answers));
        match self.open.streams(KIND, Audience::Anybody) {
            Ok(streams) => {
                let shared = self.open.shared.clone();
                let answered = answer_all(shared.clone(), streams, answers.clone());
                shared.spawn(answered);
                *answering = Some(answers);
            }
            Err(taken) => tracing::error!("no question is answered: {taken}"),
        }
    }
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Questions(of {:?})", self.open)
    }
}
