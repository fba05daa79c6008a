//! What a store that several nodes share is held to beside the rest: grants, what was said to be absent, and numbers
//! for who founds a cluster.

use std::sync::Arc;
use std::time::Duration;

use super::{Checked, LONG, id, row, tenure};
use crate::bucket::LayoutVersion;
use crate::store::{Claim, Put, Row, SessionStore, StoreError, Took};
use crate::tenure::Tenure;

impl<S: SessionStore> Checked<S> {
    async fn takes_after(&self, number: u32, put: &Row, under: Tenure, before: Option<Tenure>) {
        let took = self.take(number, Claim::Granted(under)).await;
        assert!(Self::is_row(&took, put), "{under:?} has it");
        let Took::Row(kept) = took else { return };
        assert_eq!(
            kept.given_out, before,
            "an earlier epoch had it, or none, when it went to {under:?}"
        );
    }

    pub(super) async fn who_takes_a_row_learns_which_earlier_epoch_had_it(&self) {
        let put = row(13, tenure(2, 0), 1);
        assert_eq!(self.put(&put).await, Put::Stored);
        // Its answer was lost, so it asks again: under the same tenure, and under the next one.
        let (first, second) = (tenure(2, 1), tenure(2, 2));
        for under in [first, first, second, second] {
            self.takes_after(13, &put, under, None).await;
        }
        assert_eq!(self.put(&row(13, first, 9)).await, Put::Refused);
        // The next epoch is told of the last one of this, as often as it asks.
        for count in [0, 0, 1, 4] {
            self.takes_after(13, &put, tenure(3, count), Some(second))
                .await;
        }
        // What is refused changes nothing of it.
        let late = Claim::Granted(tenure(3, 3));
        assert_eq!(self.take(13, late).await, Took::Superseded);
        assert_eq!(self.put(&row(13, tenure(3, 3), 9)).await, Put::Refused);
        self.takes_after(13, &put, tenure(3, 5), Some(second)).await;
        self.is_listed_as_given_out(13, tenure(3, 5)).await;
        let back = row(13, tenure(3, 5), 2);
        assert_eq!(self.put(&back).await, Put::Stored);
        self.takes_after(13, &back, tenure(3, 6), None).await;
        assert_eq!(self.put(&row(13, tenure(4, 0), 3)).await, Put::Stored);
        assert!(
            matches!(self.take(13, Claim::Own).await, Took::Row(kept) if kept.given_out.is_none()),
            "nobody had it since"
        );
    }

    pub(super) async fn of_several_epochs_the_last_one_is_told(&self) {
        // Epochs of one generation, and of several.
        let founded = LayoutVersion::founding(2);
        let under = |epoch, count| Tenure::new(epoch, count);
        let (first, second) = (founded.next(), founded.next().next());
        let third = LayoutVersion::founding(3);
        let put = row(19, tenure(2, 0), 1);
        assert_eq!(self.put(&put).await, Put::Stored);
        let last = under(first, u64::MAX);
        self.takes_after(19, &put, under(first, 300), None).await;
        self.takes_after(19, &put, last, None).await;
        self.takes_after(19, &put, under(second, 1), Some(last))
            .await;
        self.takes_after(19, &put, under(second, 2), Some(last))
            .await;
        let last = under(second, 2);
        for count in [5, 6] {
            self.takes_after(19, &put, under(third, count), Some(last))
                .await;
        }
        self.is_listed_as_given_out(19, under(third, 6)).await;
        // The one that has it puts it back, so none of them had it.
        let back = row(19, under(third, 6), 2);
        assert_eq!(self.put(&back).await, Put::Stored);
        let claim = under(third, 7);
        self.takes_after(19, &back, claim, None).await;
        let fourth = tenure(4, 0);
        self.takes_after(19, &back, fourth, Some(claim)).await;
        let last = tenure(4, 1);
        self.takes_after(19, &back, last, Some(claim)).await;
        let took = self.take(19, Claim::Own).await;
        assert!(
            matches!(took, Took::Row(kept) if kept.given_out == Some(last)),
            "its owner learns of the last one of all"
        );
        // It is gone, and what it was given out under, too.
        assert_eq!(self.put(&back).await, Put::Stored);
        self.takes_after(19, &back, fourth, None).await;
        self.end(19, Duration::ZERO).await;
    }

    async fn is_listed_as_given_out(&self, number: u32, under: Tenure) {
        if !self.lists {
            return;
        }
        let heads = self.everything(false).await;
        let head = heads.iter().find(|head| head.id == id(number));
        let listed = head.map(|head| head.given_out);
        assert_eq!(listed, Some(Some(under)), "the last one of all is listed");
    }

    pub(super) async fn of_many_grants_each_learns_of_the_epoch_before(&self) {
        for round in 0..20 {
            let number = 2000 + round;
            let put = row(number, tenure(1, 0), 1);
            assert_eq!(self.put(&put).await, Put::Stored);
            let takers = (1..=8).map(|count| {
                // Two of the first epoch, and three of each of the next two.
                let (store, under) = (Arc::clone(&self.store), tenure(1 + count / 3, count.into()));
                let took = async move { store.take(id(number), Claim::Granted(under)).await };
                (under, tokio::spawn(took))
            });
            // In the order of tenures, in which alone they can have had it.
            let mut had: Vec<(Tenure, Option<Tenure>)> = Vec::new();
            for (under, taker) in takers.collect::<Vec<_>>() {
                match taker.await.expect("taking does not panic") {
                    Ok(Took::Row(kept)) => had.push((under, kept.given_out)),
                    Ok(Took::Superseded) => {}
                    // Perhaps it was given to this one, which does not hear of it.
                    Err(StoreError::Unavailable(_)) => {}
                    other => panic!("taking a session gave {other:?}"),
                }
            }
            assert!(!had.is_empty(), "somebody has it");
            for (at, (under, told)) in had.iter().enumerate() {
                let epoch = Some(under.epoch());
                let before = &had[..at];
                let mut last = before.iter().map(|(under, _)| *under);
                let last = last.rfind(|before| before.epoch() < under.epoch());
                assert!(
                    last <= *told && told.map(Tenure::epoch) < epoch,
                    "{under:?} had it after {last:?}, and heard of {told:?}"
                );
                let same = before
                    .iter()
                    .filter(|(under, _)| Some(under.epoch()) == epoch);
                for (other, heard) in same {
                    assert_eq!(heard, told, "{other:?} and {under:?} are of one epoch");
                }
            }
            self.end(number, Duration::ZERO).await;
        }
    }

    pub(super) async fn what_was_said_to_be_absent_stays_so(&self) {
        let claim = Claim::Granted(tenure(2, 5));
        let rows = self.store.rows();
        assert_eq!(self.take(14, claim).await, Took::Nothing);
        assert_eq!(self.take(14, claim).await, Took::Nothing, "asked again");
        assert_eq!(self.store.rows(), rows, "a fence is not counted");
        for due in [false, true] {
            let heads = self.everything(due).await;
            let is_listed = heads.iter().any(|head| head.id == id(14));
            assert!(!is_listed, "a fence is not listed");
        }
        // Several in one call, each by itself.
        let late = row(14, tenure(2, 4), 100);
        let puts = vec![late.clone(), row(15, tenure(1, 0), 1)];
        assert_eq!(
            self.store.put(puts).await,
            Ok(vec![Put::Refused, Put::Stored]),
            "it came late"
        );
        assert_eq!(self.take(14, Claim::Own).await, Took::Nothing);
        assert_eq!(self.put(&late).await, Put::Refused, "it is asked for again");
        // A lower one takes nothing back, a higher one fences higher.
        let lower = Claim::Granted(tenure(1, 9));
        assert_eq!(self.take(14, lower).await, Took::Nothing);
        assert_eq!(self.put(&late).await, Put::Refused);
        let higher = Claim::Granted(tenure(3, 0));
        assert_eq!(self.take(14, higher).await, Took::Nothing);
        assert_eq!(self.put(&row(14, tenure(2, 9), 1)).await, Put::Refused);
        let put = row(14, tenure(3, 0), 1);
        assert_eq!(self.put(&put).await, Put::Stored, "the same may put it");
        self.takes_after(14, &put, tenure(3, 1), None).await;
        assert!(Self::is_row(&self.take(14, Claim::Own).await, &put));
        assert_eq!(self.put(&late).await, Put::Stored, "the fence is gone");
        assert!(Self::is_row(&self.take(14, Claim::Own).await, &late));
        // Its owner leaves nothing behind.
        assert_eq!(self.take(14, Claim::Own).await, Took::Nothing);
        let first = row(14, Tenure::NONE, 0);
        assert_eq!(self.put(&first).await, Put::Stored);
        for number in [14, 15] {
            assert!(matches!(self.take(number, Claim::Own).await, Took::Row(_)));
        }
        // What is fenced may end, and a later one puts what was fenced.
        assert_eq!(self.take(16, claim).await, Took::Nothing);
        self.end(16, LONG).await;
        assert_eq!(self.take(16, higher).await, Took::Ended);
        assert_eq!(self.put(&row(16, tenure(9, 0), 1)).await, Put::Refused);
        assert_eq!(self.take(17, claim).await, Took::Nothing);
        let put = row(17, tenure(2, 6), 1);
        assert_eq!(self.put(&put).await, Put::Stored, "it is a later one's");
        assert!(Self::is_row(&self.take(17, Claim::Own).await, &put));
    }

    pub(super) async fn nobody_says_absent_and_stores_it(&self) {
        for round in 0..40 {
            let number = 3000 + round;
            let late = row(number, tenure(1, 0), 1);
            let putting = {
                let (store, late) = (Arc::clone(&self.store), late.clone());
                tokio::spawn(async move { store.put(vec![late]).await })
            };
            let taking = {
                let (store, claim) = (Arc::clone(&self.store), Claim::Granted(tenure(2, 0)));
                tokio::spawn(async move { store.take(id(number), claim).await })
            };
            let put = putting.await.expect("putting does not panic");
            let took = taking.await.expect("taking does not panic");
            match (put.as_deref(), took) {
                (Ok([Put::Stored]), Ok(took)) => {
                    assert!(
                        Self::is_row(&took, &late),
                        "it was put before, and is {took:?}"
                    );
                }
                (Ok([Put::Refused]), Ok(took)) => assert_eq!(took, Took::Nothing),
                // It lost to another, and may ask again.
                (Err(StoreError::Unavailable(_)), _) | (_, Err(StoreError::Unavailable(_))) => {}
                other => panic!("one put it and one took it, and that gave {other:?}"),
            }
            self.end(number, Duration::ZERO).await;
        }
    }

    async fn begin(&self, after: u32) -> u32 {
        let said = self.store.begin(after).await;
        said.unwrap_or_else(|error| panic!("no number was said: {error}"))
    }

    pub(super) async fn no_number_is_said_twice(&self) {
        let first = self.begin(0).await;
        assert!(first > 0);
        let mut last = self.begin(0).await;
        assert!(last > first, "it is above what was said before");
        let above = last + 1000;
        last = self.begin(above).await;
        assert!(last > above, "it is above what was given");
        let next = self.begin(5).await;
        assert!(next > last, "it never goes back");
        let askers = (0..16).map(|after| {
            let store = Arc::clone(&self.store);
            tokio::spawn(async move { store.begin(after).await })
        });
        let mut said = vec![next];
        for asker in askers.collect::<Vec<_>>() {
            match asker.await.expect("asking does not panic") {
                Ok(number) => said.push(number),
                // It lost to another, and may ask again.
                Err(StoreError::Unavailable(_)) => {}
                Err(other) => panic!("no number was said: {other}"),
            }
        }
        assert!(said.iter().all(|number| *number >= next));
        last = said.iter().copied().max().expect("there is one");
        let all = said.len();
        said.sort_unstable();
        said.dedup();
        assert_eq!(said.len(), all, "two were told the same number");
        for after in [u32::MAX, u32::MAX - 1] {
            let none = self.store.begin(after).await;
            assert!(matches!(none, Err(StoreError::Full(_))), "{none:?}");
        }
        let next = self.begin(0).await;
        assert!(
            (last + 1..u32::MAX - 1).contains(&next),
            "where none is left nothing changes"
        );
    }
}
