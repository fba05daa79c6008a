//! The layouts that a cluster agrees upon, one after the other, while nodes join, leave and die: the buckets
//! are even within one, and no more of them changed hands than had to.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wadi_core::authority::Proof;
use wadi_core::bucket::Layout;
use wadi_core::member::Incarnation;
use wadi_core::node::{Agreement, Authority};

use crate::whole::Whole;
use crate::world::{LEASE, pass, until};

const THREE: [&str; 3] = ["n1", "n2", "n3"];
const FOUR: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// Every layout that a node learns of, from now on.
fn watch(agreement: &Arc<Agreement>) -> Arc<Mutex<Vec<Arc<Layout>>>> {
    let layouts = Arc::<Mutex<Vec<_>>>::default();
    let (agreement, seen) = (Arc::clone(agreement), Arc::clone(&layouts));
    tokio::spawn(async move {
        let mut known = None;
        while let Ok(layout) = agreement.layout_after(known).await {
            known = Some(layout.version);
            seen.lock().push(layout);
        }
    });
    layouts
}

fn loads(layout: &Layout) -> Vec<usize> {
    let members = layout.members.keys();
    members.map(|member| layout.managed_by(*member)).collect()
}

fn changes(layouts: &[Arc<Layout>]) -> usize {
    let steps = layouts.windows(2).map(|step| {
        let pairs = step[0].placements.iter().zip(&step[1].placements);
        pairs.filter(|(old, new)| old.manager != new.manager)
    });
    steps.map(Iterator::count).sum()
}

/// Waits until these are the members and the buckets are even among them; how many buckets changed hands
/// since the last time, in all steps together.
async fn settled(layouts: &Mutex<Vec<Arc<Layout>>>, members: usize) -> usize {
    until("even buckets among the members", || {
        let layouts = layouts.lock();
        layouts.last().is_some_and(|layout| {
            let loads = loads(layout);
            loads.len() == members
                && loads.iter().max() <= loads.iter().min().map(|l| l + 1).as_ref()
        })
    })
    .await;
    // Nothing moves any more.
    pass(LEASE * 3).await;
    let mut layouts = layouts.lock();
    let last = Arc::clone(layouts.last().expect("there is one"));
    let loads = loads(&last);
    assert_eq!(loads.len(), members);
    assert_eq!(loads.iter().sum::<usize>(), last.placements.len());
    let (most, fewest) = (loads.iter().max(), loads.iter().min());
    assert!(most <= fewest.map(|f| f + 1).as_ref(), "{loads:?}");
    let changes = changes(&layouts);
    *layouts = vec![last];
    changes
}

#[tokio::test(start_paused = true)]
async fn buckets_are_even_and_no_more_of_them_change_hands_than_must() {
    let mut whole = Whole::of(&THREE).await;
    let layouts = watch(&whole.nodes["n1"].1);
    settled(&layouts, 3).await;
    let managed_by = |whole: &Whole, name: &str| {
        let status = whole.nodes[name].0.status();
        let me: Incarnation = status.incarnation.expect("it is a member");
        status.layout.expect("it knows one").managed_by(me)
    };

    // 16 buckets: the fourth gets 4 of them, which nobody else gave away before.
    whole.start("n4", &FOUR);
    whole.ready().await;
    assert_eq!(settled(&layouts, 4).await, 4, "one joins");

    let had = managed_by(&whole, "n3");
    whole.leave("n3", Duration::from_secs(20)).await;
    assert_eq!(settled(&layouts, 3).await, had, "one leaves");

    let had = managed_by(&whole, "n2");
    whole.kill("n2", Some(Proof::ClosedAndRefused)).await;
    assert_eq!(settled(&layouts, 2).await, had, "one dies");

    // Two of four get a quarter each, of what the other two had.
    whole.start("n2", &FOUR);
    whole.start("n3", &FOUR);
    whole.ready().await;
    assert_eq!(settled(&layouts, 4).await, 8, "two join at once");
}
