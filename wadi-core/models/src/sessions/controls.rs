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
    forgets: 0,
    tenures: 4,
};

const fn at_home(budget: Budget) -> Sessions {
    Sessions {
        without: None,
        displaced: false,
        waits: true,
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

/// An older copy serves at once; else everybody is asked once more before, and refuses old messages by
/// another rule as well.
const fn impatient(model: Sessions) -> Sessions {
    Sessions {
        waits: false,
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
    pub fn instances(deep: bool) -> Vec<(&'static str, Self)> {
        let crash = Budget {
            crashes: 1,
            returns: 1,
            ..MOVE
        };
        let end = Budget {
            ends: 1,
            crashes: 1,
            ..MOVE
        };
        let leave = Budget {
            leaves: 1,
            crashes: 1,
            commits: 1,
            ..NOTHING
        };
        let expiry = Budget {
            commits: u8::from(deep),
            ..EXPIRY
        };
        let mut instances = vec![
            ("sessions: two moves", rest(displaced(TWO_MOVES))),
            ("sessions: a move and a crash", rest(displaced(crash))),
            ("sessions: a move, an end and a crash", rest(displaced(end))),
            ("sessions: a leave and a crash", rest(displaced(leave))),
            ("sessions: a move and an expiry", rest(displaced(expiry))),
            ("sessions: an expiry at home", rest(at_home(expiry))),
            ("sessions: a loss", displaced(FORGET)),
        ];
        if deep {
            let end = Budget {
                ends: 1,
                commits: 0,
                ..TWO_MOVES
            };
            let leave = Budget {
                leaves: 1,
                tenures: 2,
                ..MOVE
            };
            let crash = Budget {
                crashes: 1,
                ..TWO_MOVES
            };
            instances.extend([
                ("sessions: two moves and an end", rest(displaced(end))),
                ("sessions: a move and a leave", rest(at_home(leave))),
                ("sessions: two moves and a crash", rest(displaced(crash))),
            ]);
        }
        instances
    }
}

/// A crash of anybody in the middle of a move.
const CRASH: Budget = Budget {
    crashes: 1,
    moves: 1,
    commits: 1,
    tenures: 3,
    ..NOTHING
};

const TWO_CRASHES: Budget = Budget {
    crashes: 2,
    ..CRASH
};

/// A holder that is not the manager loses the session.
const FORGET: Budget = Budget {
    forgets: 1,
    moves: 1,
    commits: 1,
    tenures: 3,
    ..NOTHING
};

/// A lease runs out in the middle of a move, and its node comes back.
const EXPIRY: Budget = Budget {
    expiries: 1,
    returns: 1,
    moves: 1,
    commits: 1,
    tenures: 3,
    ..NOTHING
};

/// The session ends in the middle of a move, and somebody crashes.
const END: Budget = Budget {
    ends: 1,
    moves: 1,
    crashes: 1,
    tenures: 3,
    ..NOTHING
};

const TWO_MOVES: Budget = Budget {
    moves: 2,
    tenures: 3,
    ..MOVE
};

impl Control {
    /// Every rule whose absence so small a world can show; the simulator shows them all. Only a build
    /// with `--cfg wadi_sabotage="choose"` can run them.
    pub const ALL: &[Self] = &[
        Self::of(Rule::Incarnation, displaced(EXPIRY)),
        Self::of(Rule::OlderTenure, rest(displaced(MOVE))),
        Self::of(Rule::Epoch, impatient(displaced(TWO_CRASHES))),
        Self::of(Rule::Floor, displaced(TWO_MOVES)),
        Self::of(Rule::LateSeal, rest(displaced(CRASH))),
        Self::of(Rule::RebuildWaits, displaced(CRASH)),
        Self::of(Rule::FreshTenure, rest(displaced(MOVE))),
        Self::of(Rule::DropOlder, rest(displaced(TWO_MOVES))),
        Self::of(Rule::Rebuild, displaced(CRASH)),
        Self::of(Rule::Resolve, displaced(CRASH)),
        Self::of(Rule::ResolveNotHere, displaced(FORGET)),
        Self::of(Rule::LeaseGate, displaced(EXPIRY)),
        Self::of(Rule::MarkBeforeAnswer, displaced(END)),
        Self::of(Rule::MarkerBeats, displaced(END)),
        Self::of(Rule::MarkCopies, rest(displaced(END))),
        Self::of(Rule::StaleEvent, displaced(CRASH)),
        Self::of(Rule::AskAgain, rest(displaced(MOVE))),
        Self::of(Rule::RefuseAgain, rest(displaced(MOVE))),
        Self::of(Rule::TakeUp, rest(displaced(CRASH))),
        Self::of(Rule::Seal, displaced(MOVE)),
        Self::of(Rule::KeepSealed, displaced(TWO_MOVES)),
        Self::of(Rule::AwaitConfirm, at_home(EXPIRY)),
    ];

    const fn of(rule: Rule, from: Sessions) -> Self {
        Self { rule, from }
    }

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
