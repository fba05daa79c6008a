//! What many of the same took.

use std::time::Duration;

/// What so many per mille of them took at most; zero where there are none.
pub(super) fn per_mille(times: &[Duration], part: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * part / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

pub(super) fn median(times: &[Duration]) -> Duration {
    per_mille(times, 500)
}

pub(super) fn worst(times: &[Duration]) -> Duration {
    per_mille(times, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_many_are_found_in_any_order() {
        let times: Vec<_> = (0..100).rev().map(Duration::from_millis).collect();
        let millis = [median(&times), per_mille(&times, 990), worst(&times)];
        assert_eq!(millis.map(|time| time.as_millis()), [50, 99, 99]);
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
