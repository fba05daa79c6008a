//! Writing a record as every store understands it: some save only what they have, and each has its own way with an id that
//! is there already.

use tower_sessions_core::SessionStore;
use tower_sessions_core::session::Record;
use tower_sessions_core::session_store::Result;

/// Writes a record where there is one of that id, or none.
pub(super) async fn write(
    store: &(impl SessionStore + ?Sized),
    record: Record,
    there_is_one: bool,
) -> Result<()> {
    if !there_is_one && create(store, record.clone()).await? {
        return Ok(());
    }
    // Perhaps it is one that the store does not show any more.
    store.save(&record).await
}

/// Whether this call made it. A store that has the record already gives it another id, or fails.
pub(super) async fn create(
    store: &(impl SessionStore + ?Sized),
    mut record: Record,
) -> Result<bool> {
    let id = record.id;
    match store.create(&mut record).await {
        Ok(()) if record.id == id => Ok(true),
        Ok(()) => {
            store.delete(&record.id).await?;
            Ok(false)
        }
        Err(error) => match store.load(&id).await? {
            Some(_) => Ok(false),
            None => Err(error),
        },
    }
}
