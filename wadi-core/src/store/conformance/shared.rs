//! What a store that several nodes share is held to beside the rest: grants, what was said to be absent, and numbers
//! for who founds a cluster.

use std::sync::Arc;
use std::time::Duration;

use super::{Checked, LONG, id, row, tenure};
use crate::store::{Claim, Put, Row, SessionStore, StoreError, Took};
use crate::tenure::Tenure;

impl<S: SessionStore> Checked<S> {
    async fn takes_after(&self, number: u32, put: &Row, under: Tenure, before: Option<Tenure>) {
        let took = self.take(number, Claim::Granted(under)).await;
        assert!(Self::is_row(&took, put), "{under:?} has it");
        let Took::Row(kept) = took else { return };
        assert_eq!(
            kept.given_out, before,
            "it went to {under:?} after that one"
        );
    }

    pub(super) async fn who_takes_a_row_learns_who_had_it(&self) {
        let (first, second, third) = (tenure(2, 1), tenure(2, 2), tenure(3, 0));
        let put = row(13, tenure(2, 0), 1);
        assert_eq!(self.put(&put).await, Put::Stored);
        self.takes_after(13, &put, first, None).await;
        let again = self.take(13, Claim::Granted(first)).await;
        let Took::Row(kept) = again else {
            panic!("the same may take it again");
        };
        assert!(
            kept.given_out.is_none() || kept.given_out == Some(first),
            "nobody else had it"
        );
        // Its answer was lost, so it is taken under another one.
        self.takes_after(13, &put, second, Some(first)).await;
        assert_eq!(self.put(&row(13, first, 9)).await, Put::Refused);
        self.takes_after(13, &put, third, Some(second)).await;
        let back = row(13, third, 2);
        assert_eq!(self.put(&back).await, Put::Stored);
        self.takes_after(13, &back, tenure(3, 1), None).await;
        let took = self.take(13, Claim::Own).await;
        assert!(
            matches!(took, Took::Row(kept) if kept.given_out == Some(tenure(3, 1))),
            "its owner learns of it, too"
        );
    }

    pub(super) async fn of_many_grants_each_learns_of_the_one_before(&self) {
        for round in 0..20 {
            let number = 2000 + round;
            let put = row(number, tenure(1, 0), 1);
            assert_eq!(self.put(&put).await, Put::Stored);
            let takers = (1..=8).map(|count| {
                let (store, under) = (Arc::clone(&self.store), tenure(1, count));
                let took = async move { store.take(id(number), Claim::Granted(under)).await };
                (under, tokio::spawn(took))
            });
            let mut before = None;
            for (under, taker) in takers.collect::<Vec<_>>() {
                match taker.await.expect("taking does not panic") {
                    Ok(Took::Row(kept)) => {
                        assert!(
                            before <= kept.given_out && kept.given_out < Some(under),
                            "{under:?} had it after {before:?}, and heard of {:?}",
                            kept.given_out
                        );
                        before = Some(under);
                    }
                    Ok(Took::Superseded) => {}
                    // Perhaps it was given to this one, which does not hear of it.
                    Err(StoreError::Unavailable(_)) => {}
                    other => panic!("taking a session gave {other:?}"),
                }
            }
            assert!(before.is_some(), "somebody has it");
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
