//! Who may be in a handshake: a bounded number, shared fairly among those whence they come.
//!
//! Nobody waits for a place. When all are taken, the newcomer gets that of the oldest unfinished
//! handshake of the source that has the most: a stranger who opens connections and says nothing takes
//! places from himself, and a node's handshake is done before its turn comes.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The places for unfinished handshakes.
pub(crate) struct Admission {
    places: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    taken: usize,
    /// By source, its unfinished handshakes, the oldest first. None of them is empty.
    sources: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// One unfinished handshake's place, until it is dropped.
pub(crate) struct Place {
    admission: Arc<Admission>,
    source: IpAddr,
    number: u64,
    taken_away: CancellationToken,
}

impl Admission {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            state: Mutex::default(),
        })
    }

    /// A place for a newcomer, at once.
    pub(crate) fn admit(self: &Arc<Self>, from: IpAddr) -> Place {
        let source = source(from);
        let taken_away = CancellationToken::new();
        let mut state = self.state.lock();
        if state.taken >= self.places {
            state.take_one_away();
        }
        let number = state.next;
        state.next += 1;
        state.taken += 1;
        let of_source = state.sources.entry(source).or_default();
        of_source.insert(number, taken_away.clone());
        Place {
            admission: self.clone(),
            source,
            number,
            taken_away,
        }
    }
}

impl State {
    fn take_one_away(&mut self) {
        let most = self.sources.iter().max_by_key(|(_, of_source)| {
            let oldest = of_source.keys().next().copied().unwrap_or_default();
            (of_source.len(), std::cmp::Reverse(oldest))
        });
        let Some(source) = most.map(|(source, _)| *source) else {
            return;
        };
        let of_source = self.sources.get(&source);
        if let Some(number) = of_source.and_then(|of_source| of_source.keys().next().copied())
            && let Some(place) = self.remove(source, number)
        {
            place.cancel();
        }
    }

    fn remove(&mut self, source: IpAddr, number: u64) -> Option<CancellationToken> {
        let of_source = self.sources.get_mut(&source)?;
        let removed = of_source.remove(&number)?;
        if of_source.is_empty() {
            self.sources.remove(&source);
        }
        self.taken -= 1;
        Some(removed)
    }
}

impl Place {
    /// Waits until a newcomer has this place.
    pub(crate) async fn taken_away(&self) {
        self.taken_away.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.state.lock().remove(self.source, self.number);
    }
}

/// What counts as one source: an address, or the network that an IPv6 host picks its own from.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn kept(places: &[Place]) -> Vec<bool> {
        let kept = |place: &Place| !place.taken_away.is_cancelled();
        places.iter().map(kept).collect()
    }

    #[test]
    fn the_oldest_of_the_source_that_has_the_most_gives_way() {
        let admission = Admission::new(3);
        let places = [at(2), at(1), at(1), at(3), at(1)].map(|from| admission.admit(from));
        // The fourth displaced the first of 10.0.0.1; the fifth, with one of each, the oldest.
        assert_eq!(kept(&places), [false, false, true, true, true]);
        let _more = admission.admit(at(4));
        assert_eq!(kept(&places), [false, false, false, true, true]);
    }

    #[test]
    fn a_flood_displaces_only_itself() {
        let admission = Admission::new(8);
        let node = admission.admit(at(1));
        let flood: Vec<_> = (0..1000).map(|_| admission.admit(at(9))).collect();
        assert!(!node.taken_away.is_cancelled());
        assert_eq!(kept(&flood).iter().filter(|kept| **kept).count(), 7);
        drop((flood, node));
        let state = admission.state.lock();
        assert_eq!((state.taken, state.sources.len()), (0, 0));
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let one = source("2001:db8:1:2::1".parse().unwrap());
        assert_eq!(one, source("2001:db8:1:2:ffff::9".parse().unwrap()));
        assert_ne!(one, source("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(source("::ffff:10.0.0.1".parse().unwrap()), at(1));
    }
}
