//! Where sessions are encoded as they leave, one after the other: many leave together and are let go
//! together, so several share the memory that they lie in.

use std::fmt;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// See the module.
#[derive(Default)]
pub(super) struct Desk(Mutex<Paper>);

#[derive(Default)]
struct Paper {
    /// What one is written into first.
    scratch: Vec<u8>,
    /// Room for those that are written.
    sheet: BytesMut,
}

/// So much is shared by sessions that leave together; a larger one lies by itself. Little enough that one
/// that has to be kept for long may keep it in memory.
const SHEET: usize = 16 * 1024;

impl Desk {
    /// What `write` writes behind the nothing that it is given; `None` where it has nothing.
    pub(super) fn write<E>(
        &self,
        write: impl FnOnce(Vec<u8>) -> Option<Result<Vec<u8>, E>>,
    ) -> Option<Result<Bytes, E>> {
        // Taken out, so that no lock is held while a value's own code runs.
        let mut scratch = std::mem::take(&mut self.0.lock().scratch);
        scratch.clear();
        let written = match write(scratch)? {
            Ok(written) => written,
            Err(error) => return Some(Err(error)),
        };
        let mut paper = self.0.lock();
        let copied = paper.copy(&written);
        if written.capacity() <= SHEET {
            paper.scratch = written;
        }
        Some(Ok(copied))
    }
}

impl Paper {
    fn copy(&mut self, written: &[u8]) -> Bytes {
        if written.len() > SHEET / 4 {
            return Bytes::copy_from_slice(written);
        }
        if self.sheet.capacity() < written.len() {
            self.sheet = BytesMut::with_capacity(SHEET);
        }
        self.sheet.extend_from_slice(written);
        self.sheet.split().freeze()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}
