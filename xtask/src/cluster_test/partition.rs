//! Partitions: who does not reach whom, for how long, and what is waited for meanwhile.

use std::collections::BTreeSet;

use super::check::Done;
use super::stage::{Role, Stage};
use super::verdict::names;
use crate::fleet::Way;
use crate::report::{Failure, clock};

/// Who does not reach whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The smaller half, with the authority's leader in it, and the larger one.
    Halves,
    /// One node.
    Alone,
    /// Nobody hears the leader, which hears everybody.
    Mute,
    /// One hears nobody, and is heard.
    Deaf,
    /// Two halves do not reach each other, and both reach one node.
    Bridge,
}

impl Shape {
    pub(super) fn all(brief: bool) -> Vec<Self> {
        let all = [
            Self::Halves,
            Self::Alone,
            Self::Mute,
            Self::Deaf,
            Self::Bridge,
        ];
        all[..if brief { 1 } else { all.len() }].to_vec()
    }
}

/// One partition from its beginning until everything is served again.
pub(super) async fn play(shape: Shape, stage: &mut Stage<'_>) -> Result<(), Failure> {
    let role = match shape {
        Shape::Halves | Shape::Mute => Role::Leader,
        Shape::Alone | Shape::Deaf | Shape::Bridge => Role::Holder,
    };
    let first = stage.who(role).await?;
    let mut others = stage.fleet.running();
    others.retain(|index| *index != first);
    stage.random.shuffle(&mut others);
    let lone: Vec<usize> = match shape {
        Shape::Halves => {
            let more = others.len() / 2 - 1;
            [first].into_iter().chain(others.drain(..more)).collect()
        }
        _ => vec![first],
    };
    let lone_names = names(&lone);
    let began = stage.ledger.now();
    let harm = match shape {
        Shape::Bridge => {
            let (left, right) = others.split_at(others.len() / 2);
            let said = format!(
                "{} and {} do not reach each other, and both reach {lone_names}",
                names(left),
                names(right)
            );
            stage.ledger.note(&said);
            let ways = both(left, right);
            let all = stage.fleet.running();
            stage.cut(Done::CutApart, &all, ways)?
        }
        _ => {
            let ways = match shape {
                Shape::Mute => from(&lone, &others),
                Shape::Deaf => from(&others, &lone),
                _ => both(&lone, &others),
            };
            let said = match shape {
                Shape::Mute => "not heard by anybody, and hears all",
                Shape::Deaf => "hears nobody, and is heard",
                _ => "cut off",
            };
            stage.ledger.note(&format!("{lone_names}: {said}"));
            let harm = stage.cut(Done::CutOff, &lone, ways)?;
            stage.until_unready(&lone).await?;
            let stopped = clock(stage.ledger.now() - began);
            stage
                .ledger
                .note(&format!("{lone_names} stopped after {stopped}"));
            stage.until_missed(&lone).await?;
            let missed = clock(stage.ledger.now() - began);
            stage
                .ledger
                .note(&format!("the others go on without, after {missed}"));
            harm
        }
    };
    // What it comes to shows only when it has lasted for a while.
    let least = stage.lease * 6;
    tokio::time::sleep(least.saturating_sub(stage.ledger.now() - began)).await;
    let mended = stage.mend(harm)?;
    stage.ledger.note("everybody reaches everybody again");
    let all = stage.fleet.running();
    stage.until_back(&all).await?;
    let took = clock(stage.ledger.now() - mended);
    stage.ledger.note(&format!("all are ready after {took}"));
    stage.heal(mended, stage.ledger.patience().heal).await;
    Ok(())
}

/// Every way from one of these to one of those.
pub(super) fn from(these: &[usize], those: &[usize]) -> BTreeSet<Way> {
    let all = these
        .iter()
        .flat_map(|one| those.iter().map(move |other| (*one, *other)));
    all.filter(|(one, other)| one != other).collect()
}

pub(super) fn both(these: &[usize], those: &[usize]) -> BTreeSet<Way> {
    from(these, those)
        .into_iter()
        .chain(from(those, these))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_go_from_each_to_each_other() {
        assert_eq!(from(&[0], &[0, 1, 2]), BTreeSet::from([(0, 1), (0, 2)]));
        let expected = BTreeSet::from([(0, 2), (1, 2), (2, 0), (2, 1)]);
        assert_eq!(both(&[0, 1], &[2]), expected);
    }
}
