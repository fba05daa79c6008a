//! What every store is held to, ours or a user's.
//!
//! ```
//! # async fn run() {
//! use wadi_core::store::{MemoryStore, conformance};
//!
//! conformance::check(MemoryStore::default()).await;
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(run());
//! ```
//!
//! It is to be run on a store with nothing in it. A store that does not conform panics, and says by what.

mod shared;

use std::sync::Arc;
use std::time::Duration;

use super::{Claim, Ended, Head, Page, Payload, Put, Row, SessionStore, StoreError, Took};
use crate::bucket::{BucketCount, BucketId, LayoutVersion};
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

/// An hour: nothing that is checked lasts so long.
const LONG: Duration = Duration::from_secs(3600);
const BUCKETS: u16 = 16;

/// Checks everything that [`SessionStore`] promises and that can be seen from outside.
///
/// It waits a few seconds for time to pass by the store's own clock.
///
/// # Panics
///
/// Where the store does not do what it promises.
pub async fn check(store: impl SessionStore) {
    check_some(store, true).await;
}

/// Checks what [`check`] does but for lists: for a store whose documents say that it has none, and that
/// its lists are empty.
///
/// # Panics
///
/// Where the store does not do what it promises.
pub async fn check_without_lists(store: impl SessionStore) {
    check_some(store, false).await;
}

async fn check_some(store: impl SessionStore, lists: bool) {
    let store = Checked {
        store: Arc::new(store),
        lists,
    };
    store.a_row_comes_back_as_it_was_put().await;
    store.nothing_older_takes_the_place_of_a_newer_row().await;
    store.its_owner_takes_a_row_once().await;
    store.what_was_granted_later_wins().await;
    store
        .who_takes_a_row_learns_which_earlier_epoch_had_it()
        .await;
    store.of_several_epochs_the_last_one_is_told().await;
    store.of_many_grants_each_learns_of_the_epoch_before().await;
    store.what_was_said_to_be_absent_stays_so().await;
    store.nobody_says_absent_and_stores_it().await;
    store.no_number_is_said_twice().await;
    store.what_has_ended_never_comes_back().await;
    if lists {
        store.lists_are_complete_and_in_order().await;
        store.what_has_run_out_is_due_until_it_ends().await;
    }
    store.of_many_at_once_one_has_it().await;
    store.a_large_session_comes_back_whole().await;
}

struct Checked<S> {
    store: Arc<S>,
    /// Without them nothing is listed, and nothing is said of what is.
    lists: bool,
}

/// The session of this number, which is in the bucket that its number says.
fn id(number: u32) -> SessionId {
    let buckets = BucketCount::new(BUCKETS).expect("there may be so many");
    let wanted = BucketId::new(number as u16 % BUCKETS);
    let mut random = [0; 16];
    random[8..12].copy_from_slice(&number.to_be_bytes());
    for tried in 0..=u16::MAX {
        random[..2].copy_from_slice(&tried.to_be_bytes());
        let id = SessionId::from_parts(random, number);
        if id.bucket(buckets) == wanted {
            return id;
        }
    }
    unreachable!("one of so many ids is in each bucket")
}

fn bucket(number: u32) -> BucketId {
    BucketId::new(number as u16 % BUCKETS)
}

fn tenure(epoch: u32, count: u64) -> Tenure {
    Tenure::new(LayoutVersion::founding(epoch), count)
}

/// A page that has all of it.
fn everything() -> Page {
    Page {
        buckets: BucketId::new(0)..=BucketId::new(BUCKETS - 1),
        after: None,
        due: false,
        most: 1000,
    }
}

fn row(number: u32, tenure: Tenure, revision: u64) -> Row {
    let text = format!("session {number} {tenure:?} {revision}");
    Row {
        id: id(number),
        bucket: bucket(number),
        tenure,
        revision: Revision::new(revision),
        left: LONG,
        payload: Payload::seal(id(number), text.as_bytes()),
    }
}

impl<S: SessionStore> Checked<S> {
    async fn put(&self, row: &Row) -> Put {
        let put = self.store.put(vec![row.clone()]).await;
        match put.as_deref() {
            Ok([put]) => *put,
            other => panic!("one row was put, and the answer is {other:?}"),
        }
    }

    async fn take(&self, number: u32, claim: Claim) -> Took {
        let took = self.store.take(id(number), claim).await;
        took.unwrap_or_else(|error| panic!("taking a session failed: {error}"))
    }

    async fn end(&self, number: u32, remember_for: Duration) {
        let ended = Ended {
            id: id(number),
            bucket: bucket(number),
            remember_for,
        };
        let done = self.store.end(vec![ended]).await;
        done.unwrap_or_else(|error| panic!("ending a session failed: {error}"));
    }

    async fn list(&self, page: Page) -> Vec<Head> {
        let heads = self.store.page(page).await;
        heads.unwrap_or_else(|error| panic!("listing failed: {error}"))
    }

    async fn everything(&self, due: bool) -> Vec<Head> {
        if !self.lists {
            return Vec::new();
        }
        self.list(Page {
            due,
            ..everything()
        })
        .await
    }

    fn is_row(took: &Took, row: &Row) -> bool {
        matches!(took, Took::Row(kept) if (kept.tenure, kept.revision) == (row.tenure, row.revision)
            && kept.payload == row.payload && kept.age < LONG / 2)
    }

    async fn a_row_comes_back_as_it_was_put(&self) {
        assert_eq!(
            self.take(1, Claim::Own).await,
            Took::Nothing,
            "nobody put it"
        );
        let put = row(1, tenure(1, 0), 7);
        assert_eq!(self.put(&put).await, Put::Stored);
        let took = self.take(1, Claim::Own).await;
        assert!(Self::is_row(&took, &put), "it came back otherwise");
        assert_eq!(
            self.store.put(Vec::new()).await,
            Ok(Vec::new()),
            "nothing may be put"
        );
        assert_eq!(self.store.end(Vec::new()).await, Ok(()), "nothing may end");
    }

    async fn nothing_older_takes_the_place_of_a_newer_row(&self) {
        let stays = row(2, tenure(2, 5), 9);
        assert_eq!(self.put(&stays).await, Put::Stored);
        for older in [
            row(2, tenure(2, 5), 8),
            row(2, tenure(2, 4), 100),
            row(2, tenure(1, 1 << 40), 100),
            row(2, Tenure::NONE, 100),
        ] {
            assert_eq!(self.put(&older).await, Put::Refused, "{older:?} is older");
        }
        // Several in one call, each by itself.
        let rows = vec![
            row(2, tenure(2, 5), 8),
            row(3, tenure(1, 0), 1),
            stays.clone(),
        ];
        assert_eq!(
            self.store.put(rows).await,
            Ok(vec![Put::Refused, Put::Stored, Put::Stored])
        );
        let newer = row(2, tenure(2, 5), 10);
        assert_eq!(self.put(&newer).await, Put::Stored);
        let newest = row(2, tenure(300, 0), 0);
        assert_eq!(self.put(&newest).await, Put::Stored, "a tenure comes first");
        let took = self.take(2, Claim::Own).await;
        assert!(Self::is_row(&took, &newest), "the newest row counts");
        self.take(3, Claim::Own).await;
    }

    async fn its_owner_takes_a_row_once(&self) {
        let put = row(4, tenure(1, 0), 1);
        assert_eq!(self.put(&put).await, Put::Stored);
        assert!(Self::is_row(&self.take(4, Claim::Own).await, &put));
        assert_eq!(
            self.take(4, Claim::Own).await,
            Took::Nothing,
            "it was taken out"
        );
        // It comes back unchanged.
        assert_eq!(self.put(&put).await, Put::Stored);
        assert!(Self::is_row(&self.take(4, Claim::Own).await, &put));
    }

    async fn what_was_granted_later_wins(&self) {
        let put = row(5, tenure(3, 1), 4);
        assert_eq!(self.put(&put).await, Put::Stored);
        let first = Claim::Granted(tenure(3, 2));
        assert!(Self::is_row(&self.take(5, first).await, &put));
        assert!(
            Self::is_row(&self.take(5, first).await, &put),
            "the same may take it again"
        );
        assert_eq!(
            self.put(&put).await,
            Put::Refused,
            "it was given out since, and this came late"
        );
        let second = Claim::Granted(tenure(4, 0));
        assert!(
            Self::is_row(&self.take(5, second).await, &put),
            "it stays as a stale copy"
        );
        assert_eq!(self.take(5, first).await, Took::Superseded);
        assert_eq!(
            self.put(&row(5, tenure(3, 2), 5)).await,
            Put::Refused,
            "who had it under a tenure that is over writes no more"
        );
        let heads = self.everything(false).await;
        let head = heads.iter().find(|head| head.id == id(5));
        assert_eq!(
            head.map(|head| head.given_out),
            self.lists.then_some(Some(tenure(4, 0))),
            "it is listed, as given out"
        );
        let back = row(5, tenure(4, 0), 6);
        assert_eq!(self.put(&back).await, Put::Stored);
        assert_eq!(
            self.take(5, Claim::Granted(tenure(3, 9))).await,
            Took::Superseded
        );
        let third = Claim::Granted(tenure(4, 1));
        assert!(Self::is_row(&self.take(5, third).await, &back));
        self.end(5, LONG).await;
    }

    async fn what_has_ended_never_comes_back(&self) {
        let put = row(6, tenure(1, 0), 1);
        assert_eq!(self.put(&put).await, Put::Stored);
        self.end(6, LONG).await;
        self.end(6, LONG).await;
        assert_eq!(self.take(6, Claim::Own).await, Took::Ended);
        assert_eq!(
            self.take(6, Claim::Granted(tenure(9, 9))).await,
            Took::Ended
        );
        assert_eq!(self.put(&row(6, tenure(9, 9), 9)).await, Put::Refused);
        assert_eq!(self.take(6, Claim::Own).await, Took::Ended);
        // One of which the store never heard.
        self.end(7, LONG).await;
        assert_eq!(self.put(&row(7, tenure(1, 0), 1)).await, Put::Refused);
        let heads = self.everything(false).await;
        assert!(
            heads
                .iter()
                .all(|head| head.id != id(6) && head.id != id(7)),
            "what has ended is not listed"
        );
    }

    async fn lists_are_complete_and_in_order(&self) {
        let numbers = 100..200;
        let rows: Vec<Row> = numbers
            .clone()
            .map(|number| row(number, tenure(1, 0), 1))
            .collect();
        let put = self.store.put(rows).await.expect("they can be put");
        assert!(put.iter().all(|put| *put == Put::Stored) && put.len() == 100);
        let mut expected: Vec<(BucketId, SessionId)> =
            numbers.map(|number| (bucket(number), id(number))).collect();
        expected.sort_unstable();
        let mut seen = Vec::new();
        loop {
            let page = Page {
                buckets: BucketId::new(0)..=BucketId::new(BUCKETS - 1),
                after: seen.last().copied(),
                due: false,
                most: 7,
            };
            let heads = self.list(page).await;
            assert!(heads.len() <= 7, "no more than were asked for");
            seen.extend(heads.iter().map(|head| (head.bucket, head.id)));
            if heads.len() < 7 {
                break;
            }
        }
        assert!(seen == expected, "each once, by bucket and then by id");
        let some = BucketId::new(3)..=BucketId::new(5);
        let page = Page {
            buckets: some.clone(),
            after: None,
            due: false,
            most: 1000,
        };
        let heads = self.list(page).await;
        let of_some = expected.iter().filter(|(bucket, _)| some.contains(bucket));
        assert_eq!(
            heads.len(),
            of_some.count(),
            "of these buckets, all and no others"
        );
        assert!(heads.iter().all(|head| some.contains(&head.bucket)));
        let ended = (100..200).map(|number| Ended {
            id: id(number),
            bucket: bucket(number),
            remember_for: Duration::ZERO,
        });
        assert_eq!(self.store.end(ended.collect()).await, Ok(()));
        assert_eq!(self.everything(false).await, [], "they are gone");
    }

    async fn what_has_run_out_is_due_until_it_ends(&self) {
        let mut short = row(8, tenure(1, 0), 1);
        short.left = Duration::from_secs(1);
        let mut given_out = row(9, tenure(1, 0), 1);
        given_out.left = Duration::from_secs(1);
        for row in [&short, &given_out, &row(10, tenure(1, 0), 1)] {
            assert_eq!(self.put(row).await, Put::Stored);
        }
        let claim = Claim::Granted(tenure(1, 1));
        assert!(Self::is_row(&self.take(9, claim).await, &given_out));
        for number in [11, 18] {
            self.end(number, Duration::from_secs(1)).await;
        }
        assert_eq!(self.everything(true).await, [], "nothing has run out yet");
        tokio::time::sleep(Duration::from_millis(2200)).await;
        let due = self.everything(true).await;
        assert_eq!(
            due.iter().map(|head| head.id).collect::<Vec<_>>(),
            [id(8)],
            "only what ran out, and nobody has"
        );
        assert!(
            Self::is_row(&self.take(8, Claim::Granted(tenure(1, 1))).await, &short),
            "what has run out is there until it ends"
        );
        for number in [8, 9, 10] {
            self.end(number, Duration::ZERO).await;
        }
        assert_eq!(self.everything(false).await, []);
        assert_eq!(
            self.take(11, Claim::Own).await,
            Took::Nothing,
            "an end is remembered for as long as it was to be"
        );
        // From then on it is as if nobody had ever put it.
        let claim = Claim::Granted(tenure(1, 1));
        assert_eq!(self.take(18, claim).await, Took::Nothing);
        assert_eq!(self.put(&row(18, tenure(1, 0), 1)).await, Put::Refused);
        assert_eq!(self.put(&row(18, tenure(1, 1), 1)).await, Put::Stored);
        assert!(matches!(self.take(18, Claim::Own).await, Took::Row(_)));
    }

    async fn of_many_at_once_one_has_it(&self) {
        for round in 0..20 {
            let number = 1000 + round;
            let put = row(number, tenure(1, 0), 1);
            assert_eq!(self.put(&put).await, Put::Stored);
            let takers = (0..8).map(|_| {
                let store = Arc::clone(&self.store);
                tokio::spawn(async move { store.take(id(number), Claim::Own).await })
            });
            let mut had = 0;
            for taker in takers.collect::<Vec<_>>() {
                match taker.await.expect("taking does not panic") {
                    Ok(Took::Row(_)) => had += 1,
                    Ok(Took::Nothing) => {}
                    // It lost to another, and may ask again.
                    Err(StoreError::Unavailable(_)) => {}
                    other => panic!("taking a session gave {other:?}"),
                }
            }
            assert_eq!(had, 1, "of eight who take a session one has it");
        }
    }

    async fn a_large_session_comes_back_whole(&self) {
        let state: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut large = row(12, tenure(1, 0), 1);
        large.payload = Payload::seal(id(12), &state);
        assert_eq!(self.put(&large).await, Put::Stored);
        assert!(Self::is_row(&self.take(12, Claim::Own).await, &large));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use parking_lot::Mutex;

    use super::*;
    use crate::store::{MemoryStore, Storing};

    #[tokio::test]
    async fn a_store_in_memory_conforms() {
        check(MemoryStore::default()).await;
    }

    /// A store that does one thing wrong.
    #[derive(Debug)]
    struct Broken {
        store: MemoryStore,
        fault: Fault,
        /// Of each session that was asked for by grant: under what it was given out since it was put.
        given: Mutex<HashMap<SessionId, Vec<Tenure>>>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fault {
        None,
        TakesTwice,
        ForgetsEnds,
        ListsTooFew,
        TakesOlder,
        SaysNobodyHadIt,
        SaysWhoHadWhatWasPutSince,
        SaysWhoHadItInThisEpoch,
        ForgetsWhoHadItBeforeThisEpoch,
        ForgetsWithWhatIsRefused,
        SaysWhoHadItFirst,
        TakesGenerationsForEpochs,
        TellsOwnersOfEarlierEpochs,
        ListsTheEarlierEpoch,
        FencesNot,
        FencesForOwners,
        CountsFences,
        SaysNumbersAgain,
        SaysLowNumbers,
        SaysTheLastNumber,
    }

    impl Broken {
        fn of(fault: Fault) -> Self {
            let (store, given) = (MemoryStore::default(), Mutex::default());
            Self {
                store,
                fault,
                given,
            }
        }

        /// What it says of an earlier epoch, where it says something else than is right.
        fn told(&self, given: &[Tenure], claim: Claim) -> Option<Option<Tenure>> {
            let last = given.last().copied();
            let under = match claim {
                Claim::Granted(under) => under,
                Claim::Own => {
                    let last = last?;
                    let before = given.iter().rfind(|before| before.epoch() < last.epoch());
                    return (self.fault == Fault::TellsOwnersOfEarlierEpochs)
                        .then_some(before.copied());
                }
            };
            let is_earlier = |before: &&Tenure| before.epoch() < under.epoch();
            match self.fault {
                Fault::SaysNobodyHadIt => Some(None),
                Fault::SaysWhoHadWhatWasPutSince | Fault::ForgetsWithWhatIsRefused => {
                    Some(given.iter().rfind(is_earlier).copied())
                }
                Fault::SaysWhoHadItInThisEpoch => Some(last),
                Fault::ForgetsWhoHadItBeforeThisEpoch => {
                    Some(last.filter(|last| is_earlier(&last)))
                }
                Fault::SaysWhoHadItFirst => {
                    Some(given.first().copied().filter(|first| is_earlier(&first)))
                }
                Fault::TakesGenerationsForEpochs => {
                    let generation = under.epoch().generation();
                    let earlier = |before: &&Tenure| before.epoch().generation() < generation;
                    Some(given.iter().rfind(earlier).copied())
                }
                _ => None,
            }
        }
    }

    impl SessionStore for Broken {
        fn put(&self, mut rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
            if self.fault == Fault::TakesOlder {
                for row in &mut rows {
                    row.revision = Revision::new(1 << 40);
                }
            }
            Box::pin(async move {
                let ids: Vec<SessionId> = rows.iter().map(|row| row.id).collect();
                let puts = self.store.put(rows).await?;
                let mut given = self.given.lock();
                for (id, put) in ids.iter().zip(&puts) {
                    if (self.fault != Fault::SaysWhoHadWhatWasPutSince && *put == Put::Stored)
                        || self.fault == Fault::ForgetsWithWhatIsRefused
                    {
                        given.remove(id);
                    }
                }
                Ok(puts)
            })
        }

        fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
            Box::pin(async move {
                let is_there =
                    (self.store.page(everything()).await?.iter()).any(|head| head.id == id);
                let asked = match (self.fault, claim) {
                    (Fault::TakesTwice, Claim::Own) => Claim::Granted(tenure(1000, 0)),
                    (Fault::FencesNot, _) if !is_there => Claim::Own,
                    (Fault::FencesForOwners, Claim::Own) if !is_there => {
                        Claim::Granted(tenure(1, 1))
                    }
                    (_, claim) => claim,
                };
                let mut took = self.store.take(id, asked).await?;
                let mut given = self.given.lock();
                let given = given.entry(id).or_default();
                if let Took::Row(kept) = &mut took {
                    if let Some(told) = self.told(given, claim) {
                        kept.given_out = told;
                    }
                    match claim {
                        Claim::Own => given.clear(),
                        Claim::Granted(under) => given.push(under),
                    }
                }
                Ok(took)
            })
        }

        fn end(&self, mut ended: Vec<Ended>) -> Storing<'_, ()> {
            if self.fault == Fault::ForgetsEnds {
                for ended in &mut ended {
                    ended.remember_for = Duration::ZERO;
                }
            }
            self.store.end(ended)
        }

        fn begin(&self, after: u32) -> Storing<'_, u32> {
            match self.fault {
                Fault::SaysNumbersAgain => Box::pin(async move { Ok(after + 1) }),
                Fault::SaysLowNumbers => self.store.begin(0),
                Fault::SaysTheLastNumber if after >= u32::MAX - 1 => {
                    Box::pin(async { Ok(u32::MAX) })
                }
                _ => self.store.begin(after),
            }
        }

        fn rows(&self) -> Option<u64> {
            let fences = self.given.lock().len() as u64;
            let counted = u64::from(self.fault == Fault::CountsFences) * fences;
            Some(self.store.rows()? + counted)
        }

        fn page(&self, mut page: Page) -> Storing<'_, Vec<Head>> {
            if self.fault == Fault::ListsTooFew {
                page.most -= 1;
            }
            Box::pin(async move {
                let mut heads = self.store.page(page).await?;
                if self.fault == Fault::ListsTheEarlierEpoch {
                    let given = self.given.lock();
                    for head in &mut heads {
                        let last = head.given_out.map(Tenure::epoch);
                        let mut all = given.get(&head.id).into_iter().flatten();
                        let earlier = all.rfind(|before| Some(before.epoch()) < last);
                        head.given_out = earlier.copied();
                    }
                }
                Ok(heads)
            })
        }
    }

    #[tokio::test]
    async fn one_that_does_not_conform_is_found_out() {
        for fault in [
            Fault::None,
            Fault::TakesTwice,
            Fault::ForgetsEnds,
            Fault::ListsTooFew,
            Fault::TakesOlder,
            Fault::SaysNobodyHadIt,
            Fault::SaysWhoHadWhatWasPutSince,
            Fault::SaysWhoHadItInThisEpoch,
            Fault::ForgetsWhoHadItBeforeThisEpoch,
            Fault::ForgetsWithWhatIsRefused,
            Fault::SaysWhoHadItFirst,
            Fault::TakesGenerationsForEpochs,
            Fault::TellsOwnersOfEarlierEpochs,
            Fault::ListsTheEarlierEpoch,
            Fault::FencesNot,
            Fault::FencesForOwners,
            Fault::CountsFences,
            Fault::SaysNumbersAgain,
            Fault::SaysLowNumbers,
            Fault::SaysTheLastNumber,
        ] {
            let checked = tokio::spawn(check(Broken::of(fault))).await;
            assert_eq!(checked.is_ok(), fault == Fault::None, "{fault:?}");
            let checked = tokio::spawn(check_without_lists(Broken::of(fault))).await;
            let only_lists = [Fault::ListsTooFew, Fault::ListsTheEarlierEpoch];
            let passes = fault == Fault::None || only_lists.contains(&fault);
            assert_eq!(checked.is_ok(), passes, "without lists: {fault:?}");
        }
    }
}
