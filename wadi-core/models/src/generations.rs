//! The authority's voters when most of them died together: at most one next generation.
//!
//! Voters die at any time, deaths are proven to each survivor separately and late, and every
//! question and answer may be lost, which is also what a partition looks like. The voters of the
//! old generation do not change in this model.

use stateright::{Model, Property};

/// A set of voters, one bit each.
type Voters = u8;

/// What a voter has to keep to; each may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Only a majority of the voters not proven dead founds.
    pub majority: bool,
    /// A voter renounces the old generation for one founder only.
    pub promise_once: bool,
    /// Nobody asks for a new generation before most voters are proven dead.
    pub most_are_dead: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        majority: true,
        promise_once: true,
        most_are_dead: true,
    };
}

/// One instance of the model.
#[derive(Clone, Copy, Debug)]
pub struct Generations {
    /// What holds.
    pub rules: Rules,
    /// How many voters there are, at most eight.
    pub voters: usize,
    /// How many of them die at most.
    pub deaths: u32,
}

/// What one voter knows and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Voter {
    /// Who is proven dead to it.
    proven: Voters,
    /// For whom it renounced the old generation.
    promised: Voters,
    /// It has asked the others to renounce.
    asked: bool,
    /// Whose promises it has received.
    promises: Voters,
}

/// Everything at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    dead: Voters,
    voters: Vec<Voter>,
    /// Who has founded a next generation; that lives on without its founder.
    founded: Voters,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A voter dies.
    Die(usize),
    /// Somebody's death is proven to a voter.
    Prove {
        /// To whom.
        to: usize,
        /// Whose.
        dead: usize,
    },
    /// A voter asks for a new generation; it renounces the old one itself.
    Ask(usize),
    /// A voter renounces the old generation for another's.
    Promise {
        /// Who renounces.
        voter: usize,
        /// For whom.
        founder: usize,
    },
    /// The founder hears of it.
    Hear {
        /// Who renounced.
        voter: usize,
        /// For whom.
        founder: usize,
    },
    /// A voter founds the next generation.
    Found(usize),
}

const fn bit(voter: usize) -> Voters {
    1 << voter
}

impl Generations {
    /// The bounds in words.
    #[must_use]
    pub fn bounds(&self) -> String {
        format!(
            "{} voters, {} deaths at any time, each proof and each answer late or lost",
            self.voters, self.deaths
        )
    }

    /// The instances that must fail, each without one rule.
    #[must_use]
    pub fn controls(&self) -> Vec<(&'static str, Self)> {
        let without = |leave_out: fn(&mut Rules)| {
            let mut model = *self;
            leave_out(&mut model.rules);
            model
        };
        let early = without(|rules| rules.most_are_dead = false);
        vec![
            (
                "  any survivor founds",
                without(|rules| rules.majority = false),
            ),
            (
                "  a voter renounces for two",
                without(|rules| rules.promise_once = false),
            ),
            // Three voters show it as well, and sooner.
            (
                "  asked before most are dead",
                Self {
                    voters: 3,
                    deaths: 2,
                    ..early
                },
            ),
        ]
    }

    fn is_majority(&self, part: Voters, of: Voters) -> bool {
        (part & of).count_ones() * 2 > of.count_ones()
    }

    fn all(&self) -> Voters {
        ((1u16 << self.voters) - 1) as Voters
    }

    fn may_ask(&self, voter: &Voter) -> bool {
        !self.rules.most_are_dead || self.is_majority(voter.proven, self.all())
    }

    fn may_found(&self, voter: &Voter) -> bool {
        let not_proven_dead = self.all() & !voter.proven;
        voter.asked && (!self.rules.majority || self.is_majority(voter.promises, not_proven_dead))
    }
}

impl Model for Generations {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            dead: 0,
            voters: vec![Voter::default(); self.voters],
            founded: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for at in (0..self.voters).filter(|at| state.dead & bit(*at) == 0) {
            let me = &state.voters[at];
            if state.dead.count_ones() < self.deaths {
                actions.push(Action::Die(at));
            }
            for dead in (0..self.voters).filter(|dead| state.dead & !me.proven & bit(*dead) != 0) {
                actions.push(Action::Prove { to: at, dead });
            }
            let is_free = me.promised == 0 || !self.rules.promise_once;
            if !me.asked && is_free && self.may_ask(me) {
                actions.push(Action::Ask(at));
            }
            for other in (0..self.voters).filter(|other| *other != at) {
                let they = &state.voters[other];
                if they.asked && is_free && me.promised & bit(other) == 0 {
                    actions.push(Action::Promise {
                        voter: at,
                        founder: other,
                    });
                }
                if me.asked && they.promised & bit(at) != 0 && me.promises & bit(other) == 0 {
                    actions.push(Action::Hear {
                        voter: other,
                        founder: at,
                    });
                }
            }
            if state.founded & bit(at) == 0 && self.may_found(me) {
                actions.push(Action::Found(at));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Die(at) => {
                next.dead |= bit(at);
                // Its question and its promises are still on their way; its knowledge is gone.
                next.voters[at].proven = 0;
                next.voters[at].promises = 0;
            }
            Action::Prove { to, dead } => next.voters[to].proven |= bit(dead),
            Action::Ask(at) => {
                let me = &mut next.voters[at];
                me.asked = true;
                me.promised |= bit(at);
                me.promises |= bit(at);
            }
            Action::Promise { voter, founder } => next.voters[voter].promised |= bit(founder),
            Action::Hear { voter, founder } => next.voters[founder].promises |= bit(voter),
            Action::Found(at) => next.founded |= bit(at),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one founds", |_, state: &State| {
                state.founded.count_ones() <= 1
            }),
            Property::always(
                "the old generation is over",
                |model: &Self, state: &State| {
                    let in_old =
                        |at: &usize| state.dead & bit(*at) == 0 && state.voters[*at].promised == 0;
                    let old = (0..model.voters).filter(in_old).map(bit).sum();
                    state.founded == 0 || !model.is_majority(old, model.all())
                },
            ),
            Property::sometimes("one founds", |_, state: &State| state.founded != 0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Expected, run};

    const FIVE: Generations = Generations {
        rules: Rules::ALL,
        voters: 5,
        deaths: 4,
    };

    #[test]
    fn at_most_one_founds() {
        for voters in [3, 5] {
            let row = run(
                "generations",
                "",
                Generations { voters, ..FIVE },
                Expected::Holds,
            );
            assert!(row.good, "{row:?}");
        }
    }

    #[test]
    fn each_rule_left_out_gives_two() {
        for (name, model) in FIVE.controls() {
            let row = run(name, "", model, Expected::Fails);
            assert!(row.good, "{row:?}");
        }
    }
}
