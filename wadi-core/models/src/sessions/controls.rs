//! Rules left out, one at a time, each with the smallest instance that shows what comes of it.

use wadi_core::sabotage::Rule;

use super::{Budget, Sessions};

/// A rule left out of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Which.
    pub rule: Rule,
    from: Sessions,
}

const NOTHING: Budget = Budget {
    moves: 0,
    commits: 0,
    ends: 0,
    crashes: 0,
    expiries: 0,
    leaves: 0,
    returns: 0,
    busy: 0,
    tenures: 4,
};

const fn at_home(budget: Budget) -> Sessions {
    Sessions {
        without: None,
        displaced: false,
        budget,
        settles: false,
    }
}

const fn displaced(budget: Budget) -> Sessions {
    Sessions {
        displaced: true,
        ..at_home(budget)
    }
}

const fn rest(model: Sessions) -> Sessions {
    Sessions {
        settles: true,
        ..model
    }
}

const MOVE: Budget = Budget {
    moves: 1,
    commits: 1,
    busy: 1,
    ..NOTHING
};

impl Sessions {
    /// The instances that must hold, by name; larger ones when `deep`, for minutes.
    #[must_use]
    pub fn instances(_deep: bool) -> Vec<(&'static str, Self)> {
        vec![
            (
                "sessions: two moves",
                rest(displaced(Budget {
                    moves: 2,
                    tenures: 4,
                    ..MOVE
                })),
            ),
            (
                "sessions: a move, a crash",
                rest(displaced(Budget {
                    crashes: 1,
                    returns: 1,
                    ..MOVE
                })),
            ),
            (
                "sessions: a move, an end, a crash",
                rest(displaced(Budget {
                    ends: 1,
                    crashes: 1,
                    ..MOVE
                })),
            ),
            (
                "sessions: leave, crash",
                rest(displaced(Budget {
                    leaves: 1,
                    crashes: 1,
                    ..NOTHING
                })),
            ),
            (
                "sessions: expiry",
                rest(at_home(Budget {
                    expiries: 1,
                    returns: 1,
                    moves: 1,
                    ..NOTHING
                })),
            ),
        ]
    }
}

impl Control {
    /// Every control.
    pub const ALL: &[Self] = &[];

    /// What is left out.
    #[must_use]
    pub fn name(&self) -> String {
        format!("  sessions without {}", self.rule.name())
    }

    /// The instance that must fail.
    #[must_use]
    pub const fn model(&self) -> Sessions {
        Sessions {
            without: Some(self.rule),
            ..self.from
        }
    }
}
