use proptest::prelude::*;

use super::*;

const L: Duration = Duration::from_secs(4);

fn at(millis: u64) -> Moment {
    Moment::ZERO + Duration::from_millis(millis)
}

#[test]
fn it_counts_nine_tenths_from_the_send() {
    let mut lease = Lease::joined(at(0), L, at(1_000));
    assert!(lease.is_valid(at(3_599)));
    assert!(!lease.is_valid(at(3_600)));
    let number = lease.renew(at(1_000));
    lease.granted(number, L, at(3_500));
    assert!(lease.is_valid(at(4_599)));
    assert!(!lease.is_valid(at(4_600)));
}

#[test]
fn a_late_answer_of_an_older_renewal_neither_shortens_nor_lengthens() {
    let mut lease = Lease::joined(at(0), L, at(0));
    let first = lease.renew(at(1_000));
    let second = lease.renew(at(2_000));
    lease.granted(second, L, at(2_100));
    assert_eq!(lease.until(), Some(at(5_600)));
    lease.granted(first, L, at(5_000));
    lease.granted(second, L, at(5_500));
    assert_eq!(lease.until(), Some(at(5_600)));
    let third = lease.renew(at(5_550));
    lease.granted(third, Duration::from_millis(10), at(5_560));
    assert_eq!(lease.until(), Some(at(5_600)));
}

#[test]
fn renewals_are_due_every_quarter_also_unanswered() {
    let mut lease = Lease::joined(at(0), L, at(500));
    assert_eq!(lease.renewal_due(), Some(at(1_000)));
    lease.renew(at(1_000));
    assert_eq!(lease.renewal_due(), Some(at(2_000)));
}

#[test]
fn a_refusal_is_for_ever() {
    let mut lease = Lease::joined(at(0), L, at(0));
    let number = lease.renew(at(1_000));
    lease.refused();
    assert!(!lease.is_valid(at(1_001)));
    lease.granted(number, L, at(1_002));
    assert!(!lease.is_valid(at(1_003)));
    assert_eq!(lease.renewal_due(), None);
}

#[test]
fn unanswered_renewals_are_remembered_up_to_a_limit() {
    let mut lease = Lease::joined(at(0), L, at(0));
    let first = lease.renew(at(1));
    for _ in 0..Lease::MOST_UNANSWERED {
        lease.renew(at(2));
    }
    let until = lease.until();
    lease.granted(first, L, at(3));
    assert_eq!(lease.until(), until);
    assert_eq!(lease.unanswered.len(), Lease::MOST_UNANSWERED);
}

proptest! {
    #[test]
    fn nine_tenths_is_never_more_and_hardly_less(nanos in any::<u64>()) {
        let counted = nine_tenths(Duration::from_nanos(nanos)).as_nanos();
        prop_assert_eq!(counted, u128::from(nanos) * 9 / 10);
    }

    /// The authority's count of the same lease runs out later, with a node's clock that is up to
    /// a tenth slower, and whatever the delays.
    #[test]
    fn it_ends_before_the_authoritys_count(
        sent in 0u64..1_000_000,
        there in 0u64..10_000,
        length in 1u64..100_000,
        rate in 90u64..=110,
    ) {
        // The authority's clock is true; the node's runs at `rate` percent of it.
        let node_clock = |truth: u64| Moment::from_nanos(truth * rate / 100);
        let mut lease = Lease::joined(Moment::ZERO, Duration::ZERO, Moment::ZERO);
        let number = lease.renew(node_clock(sent));
        lease.granted(number, Duration::from_nanos(length), node_clock(sent + there));
        let dead_at = sent + there + length;
        // One nanosecond for the rounding of the node's clock in this test.
        prop_assert!(!lease.is_valid(node_clock(dead_at + 1)));
    }
}
