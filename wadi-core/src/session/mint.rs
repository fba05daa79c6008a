//! Minting ids: random bits of the operating system, in a bucket that this node manages.

use std::fmt;

use parking_lot::Mutex;

use super::SessionId;
use crate::bucket::{BucketCount, BucketId, LayoutVersion};

/// Says which buckets this node manages, so that a new session is at home where it is created.
///
/// Called while a session is created: it answers from memory, at once, and calls nothing back.
pub trait Managed: fmt::Debug + Send + Sync {
    /// The epoch of `bucket` when this node manages it and may create sessions in it; else `None`.
    fn epoch(&self, bucket: BucketId) -> Option<LayoutVersion>;

    /// Whether there is any such bucket; where there is none, nobody looks for one.
    fn any(&self) -> bool {
        true
    }
}

/// A node that is alone manages every bucket.
#[derive(Clone, Copy, Debug, Default)]
pub struct ManagesAll;

impl Managed for ManagesAll {
    fn epoch(&self, _: BucketId) -> Option<LayoutVersion> {
        Some(LayoutVersion::ZERO.next())
    }
}

const DRAWN_AT_ONCE: usize = 1024;
/// A node of a cluster of four hundred manages ten of 4096 buckets; this many draws then all miss
/// them with a chance below one in 10^17.
const DRAWS: usize = 1 << 14;

/// Draws random bits for ids, a kilobyte at a time.
pub(super) struct Mint {
    drawn: Mutex<Drawn>,
}

/// Where ids' random bits come from in a test that is to be the same each time.
#[cfg(feature = "test-util")]
pub trait Bits: fmt::Debug + Send {
    /// Fills all of `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

struct Drawn {
    bytes: [u8; DRAWN_AT_ONCE],
    left: usize,
    #[cfg(feature = "test-util")]
    given: Option<Box<dyn Bits>>,
}

impl Drawn {
    /// # Panics
    ///
    /// When the operating system has no random source.
    fn refill(&mut self) {
        self.left = DRAWN_AT_ONCE;
        #[cfg(feature = "test-util")]
        if let Some(given) = &mut self.given {
            given.fill(&mut self.bytes);
            return;
        }
        getrandom::fill(&mut self.bytes).expect("the operating system has a random source");
    }
}

impl Mint {
    pub(super) const fn new() -> Self {
        Self {
            drawn: Mutex::new(Drawn {
                bytes: [0; DRAWN_AT_ONCE],
                left: 0,
                #[cfg(feature = "test-util")]
                given: None,
            }),
        }
    }

    /// From now on draws what it is given, and no random bits of the operating system.
    #[cfg(feature = "test-util")]
    pub(super) fn draw_from(&self, bits: Box<dyn Bits>) {
        self.drawn.lock().given = Some(bits);
    }

    /// An id issued at `unix_seconds` in a bucket that `managed` names, with that bucket's epoch;
    /// `None` when this node manages none (or so few that none was found in a bounded search).
    ///
    /// # Panics
    ///
    /// When the operating system has no random source.
    pub(super) fn mint(
        &self,
        unix_seconds: u32,
        buckets: BucketCount,
        managed: &dyn Managed,
    ) -> Option<(SessionId, LayoutVersion)> {
        if !managed.any() {
            return None;
        }
        (0..DRAWS).find_map(|_| {
            let id = self.draw_id(unix_seconds);
            managed.epoch(id.bucket(buckets)).map(|epoch| (id, epoch))
        })
    }

    /// An id issued at `unix_seconds`, in any bucket.
    pub(super) fn draw_id(&self, unix_seconds: u32) -> SessionId {
        SessionId::from_parts(self.draw(), unix_seconds)
    }

    fn draw(&self) -> [u8; 16] {
        let mut drawn = self.drawn.lock();
        if drawn.left < 16 {
            drawn.refill();
        }
        drawn.left -= 16;
        let at = drawn.left;
        let mut bits = [0; 16];
        bits.copy_from_slice(&drawn.bytes[at..at + 16]);
        // Bits that became an id lie nowhere else.
        drawn.bytes[at..at + 16].fill(0);
        bits
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mint")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(Debug)]
    struct Only(BucketId);

    impl Managed for Only {
        fn epoch(&self, bucket: BucketId) -> Option<LayoutVersion> {
            (bucket == self.0).then_some(LayoutVersion::founding(7))
        }
    }

    #[derive(Debug)]
    struct None_;

    impl Managed for None_ {
        fn epoch(&self, _: BucketId) -> Option<LayoutVersion> {
            None
        }
    }

    /// It has none, and says so.
    #[derive(Debug)]
    struct SaysNone;

    impl Managed for SaysNone {
        fn epoch(&self, _: BucketId) -> Option<LayoutVersion> {
            panic!("nobody looks for one")
        }

        fn any(&self) -> bool {
            false
        }
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_managed() {
        let mint = Mint::new();
        assert!(mint.mint(1, BucketCount::DEFAULT, &SaysNone).is_none());
        assert_eq!(mint.drawn.lock().left, 0);
    }

    #[test]
    fn ids_differ() {
        let mint = Mint::new();
        let ids: HashSet<_> = (0..1000)
            .filter_map(|_| mint.mint(1, BucketCount::DEFAULT, &ManagesAll))
            .map(|(id, _)| id)
            .collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn only_in_a_managed_bucket() {
        let mint = Mint::new();
        let buckets = BucketCount::new(16).unwrap();
        let mine = BucketId::new(5);
        let (id, epoch) = mint.mint(1, buckets, &Only(mine)).unwrap();
        assert_eq!(id.bucket(buckets), mine);
        assert_eq!(epoch, LayoutVersion::founding(7));
        assert!(mint.mint(1, buckets, &None_).is_none());
    }
}
