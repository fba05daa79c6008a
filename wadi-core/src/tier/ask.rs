//! How the store is asked: by a task of its own, so that neither its panic nor its silence is ours.
//!
//! Who stops waiting has not stopped the call: it may be done yet.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::Tier;
use crate::store::{SessionStore, StoreError};

/// For how long a call is waited for that no request waits for. A store of ours says sooner that it cannot.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same while a node ends, which somebody waits for.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(8);

impl Tier {
    /// What the store says to this; where it says nothing, that it is unavailable.
    pub(super) async fn ask<T, A>(
        &self,
        call: impl FnOnce(Arc<dyn SessionStore>) -> A,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        A: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let within = self.patience();
        let called = tokio::spawn(call(Arc::clone(&self.store)));
        let answered = tokio::time::timeout(within, called).await;
        self.silent.store(answered.is_err(), SeqCst);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable(
                "its own code panicked, or this process ends".to_owned(),
            )),
            Err(_) => Err(StoreError::Unavailable(format!(
                "it gave no answer within {within:?}"
            ))),
        }
    }

    /// Whether the store was asked last in vain.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(SeqCst)
    }

    /// For how long the store is waited for now.
    pub(super) fn patience(&self) -> Duration {
        if self.closed.load(SeqCst) {
            PATIENCE_AT_THE_END
        } else {
            PATIENCE
        }
    }
}
