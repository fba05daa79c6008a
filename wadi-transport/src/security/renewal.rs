//! New certificates while the node runs: the files are looked at again and again, and what is in them is
//! used for every connection that is made from then on.
//!
//! What cannot be used changes nothing, as while one half of a pair is written already and the other not
//! yet. It never closes a connection: one that is open goes on as it was made.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::tls::Ends;
use super::{Files, SecurityError};

/// By what a change of the three files is noticed. A file that cannot be looked at is as none.
type Stamp = [Option<(SystemTime, u64)>; 3];

fn stamp(files: &Files) -> Stamp {
    let of = |path: &Path| {
        let seen = path.metadata().ok()?;
        Some((seen.modified().ok()?, seen.len()))
    };
    [of(&files.authority), of(&files.certificate), of(&files.key)]
}

/// Keeps what stands between connections as the files are.
pub(crate) struct Renewal {
    files: Files,
    seen: Stamp,
    ends: Arc<RwLock<Ends>>,
}

impl Renewal {
    /// The ends as the files are now, and what keeps them so. It blocks for a moment.
    pub(super) fn begin(files: &Files) -> Result<(Arc<RwLock<Ends>>, Self), SecurityError> {
        // Before they are read: what changes meanwhile shows the next time.
        let seen = stamp(files);
        let ends = Arc::new(RwLock::new(Ends::of_files(files)?));
        let renewal = Self {
            files: files.clone(),
            seen,
            ends: ends.clone(),
        };
        Ok((ends, renewal))
    }

    /// Waits until a file has changed; whether what is in them now is used. Cancelled, it may have missed
    /// a change.
    pub(crate) async fn next(&mut self) -> Result<(), SecurityError> {
        loop {
            sleep(self.files.look_again).await;
            let (files, before) = (self.files.clone(), self.seen);
            let look = spawn_blocking(move || {
                let now = stamp(&files);
                (now != before).then(|| (now, Ends::of_files(&files)))
            });
            // Where a thread cannot be had it looks again.
            let Ok(Some((now, read))) = look.await else {
                continue;
            };
            self.seen = now;
            *self.ends.write() = read?;
            return Ok(());
        }
    }
}
