//! Who founds the next generation, by the product's own rule ([`Heirs`]): where the voters change as
//! well, where leases run out, and where only members are left that do not vote.
//!
//! Nodes die at any time, each death is proven to each survivor separately and late, a lease lapses at any
//! time, and what is told is told late or never. Time is what leases make of it: who has waited for one
//! lease has outlasted every lease that was granted before.

use std::collections::BTreeSet;

use stateright::{Model, Property};
use wadi_core::authority::{Electorate, Heirs};
use wadi_core::member::Incarnation;

/// A set of nodes, one bit each.
type Nodes = u8;

/// What a node has to keep to; each may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The voters change only when everybody concerned knows of it, or is no member any more.
    pub names_first: bool,
    /// A proof counts only where it comes while the lease is valid, or when the generation is over.
    pub counts_leased: bool,
    /// All heirs found together, not most of them.
    pub all_heirs: bool,
    /// Who takes part in one founding takes part in no other.
    pub promise_once: bool,
    /// Nobody renounces while something may be agreed without it.
    pub most_are_dead: bool,
    /// Nobody founds before one lease has passed.
    pub waits: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        names_first: true,
        counts_leased: true,
        all_heirs: true,
        promise_once: true,
        most_are_dead: true,
        waits: true,
    };
}

/// Who votes, and which other members there are.
type Config = (Nodes, Nodes);

/// One instance of the model.
#[derive(Clone, Copy, Debug)]
pub struct Succession {
    /// What holds.
    pub rules: Rules,
    /// At first.
    pub before: Config,
    /// Perhaps later.
    pub after: Option<Config>,
    /// How many nodes die at most.
    pub deaths: u32,
}

/// What one node knows and has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Node {
    leased: bool,
    /// It knows of the first electorate, of the second.
    knows: (bool, bool),
    /// Who is proven dead to it.
    proven: Nodes,
    /// For whose death that counts.
    counting: Nodes,
    /// Whom it takes for heirs, since it renounced the generation.
    heirs: Option<Heirs>,
    /// It has waited for one lease since then.
    waited: bool,
    /// With whom it founds.
    backs: Nodes,
}

/// Everything at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    dead: Nodes,
    members: Nodes,
    nodes: Vec<Node>,
    named: bool,
    moved: bool,
    /// Who has founded a next generation; that lives on without its founder.
    founded: Nodes,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node dies.
    Die(usize),
    /// A node's lease runs out.
    Lapse(usize),
    /// A node's lease is granted anew.
    Renew(usize),
    /// The authority declares a node dead whose lease is over.
    Remove(usize),
    /// The second electorate is named.
    Name,
    /// A node hears of it.
    Tell(usize),
    /// The second voters vote.
    Move,
    /// A node hears that only the second electorate holds.
    Settle(usize),
    /// Somebody's death is proven to a node.
    Prove {
        /// To whom.
        to: usize,
        /// Whose.
        dead: usize,
    },
    /// A node is out of the generation for good.
    Renounce(usize),
    /// It has waited for one lease.
    Wait(usize),
    /// A node takes part in another's founding, or in its own.
    Back {
        /// Who.
        node: usize,
        /// Whose.
        founder: usize,
    },
    /// Whose founder is proven dead, and was not told by it that there is a next generation, is free.
    Release(usize),
    /// A node founds the next generation.
    Found(usize),
}

const fn bit(node: usize) -> Nodes {
    1 << node
}

fn set(nodes: Nodes) -> BTreeSet<Incarnation> {
    let all = (0..8).filter(|node| nodes & bit(*node) != 0);
    all.map(|node| Incarnation::new(node as u64)).collect()
}

fn most(part: Nodes, of: Nodes) -> bool {
    (part & of).count_ones() * 2 > of.count_ones()
}

fn electorate((voters, others): Config) -> Electorate {
    Electorate {
        voters: set(voters),
        others: set(others),
    }
}

impl Succession {
    /// The instances that hold: the voters change, only others are left, voters are left, and two that
    /// have just founded.
    #[must_use]
    pub fn instances() -> Vec<(&'static str, Self)> {
        let of = |before, after, deaths| Self {
            rules: Rules::ALL,
            before,
            after,
            deaths,
        };
        vec![
            (
                "succession: the vote goes to a newcomer",
                of((0b001, 0b010), Some((0b100, 0b011)), 2),
            ),
            (
                "succession: one voter and three others",
                of((0b0001, 0b1110), None, 3),
            ),
            (
                "succession: three voters and one other",
                of((0b0111, 0b1000), None, 3),
            ),
            (
                "succession: two that have founded",
                of((0b11, 0), Some((0b01, 0b10)), 1),
            ),
        ]
    }

    /// The instances that must fail, each without one rule.
    #[must_use]
    pub fn controls() -> Vec<(&'static str, Self)> {
        let all = Self::instances();
        let without = |at: usize, leave_out: fn(&mut Rules)| {
            let mut model = all[at].1;
            leave_out(&mut model.rules);
            model
        };
        vec![
            (
                "  the vote moves before all know",
                without(0, |rules| rules.names_first = false),
            ),
            (
                "  who was away counts late proofs",
                without(0, |rules| rules.counts_leased = false),
            ),
            (
                "  most of the heirs found",
                without(1, |rules| rules.all_heirs = false),
            ),
            (
                "  a node backs two",
                without(1, |rules| rules.promise_once = false),
            ),
            (
                "  renounced while others agree",
                without(2, |rules| rules.most_are_dead = false),
            ),
            (
                "  founded before the leases end",
                without(2, |rules| rules.waits = false),
            ),
        ]
    }

    /// The bounds in words.
    #[must_use]
    pub fn bounds(&self) -> String {
        format!(
            "{} nodes, {} of which die at any time; each proof, word and renewal late or lost",
            self.count(),
            self.deaths
        )
    }

    fn count(&self) -> usize {
        let (voters, others) = self.before;
        let after = self.after.map_or(0, |(voters, others)| voters | others);
        8 - (voters | others | after).leading_zeros() as usize
    }

    /// Whether something can be agreed now.
    fn agrees(&self, state: &State) -> bool {
        let (voters, _) = match self.after {
            Some(after) if state.moved => after,
            _ => self.before,
        };
        let goes_on = |at: &usize| state.dead & bit(*at) == 0 && state.nodes[*at].heirs.is_none();
        most((0..self.count()).filter(goes_on).map(bit).sum(), voters)
    }

    fn heirs(&self, at: usize, node: &Node) -> Option<Heirs> {
        let mut known = Vec::new();
        known.extend(node.knows.0.then(|| electorate(self.before)));
        known.extend(self.after.filter(|_| node.knows.1).map(electorate));
        let counting = if self.rules.counts_leased {
            node.counting
        } else {
            node.proven
        };
        let me = Incarnation::new(at as u64);
        let mut dead = set(counting);
        if !self.rules.most_are_dead && counting != 0 {
            // As if those whom it does not hear of were dead: it founds with itself.
            dead = set(!bit(at));
        }
        Heirs::of(&known, me, &dead).filter(|heirs| heirs.include(me))
    }

    fn may_found(&self, state: &State, at: usize) -> bool {
        let node = &state.nodes[at];
        let Some(heirs) = &node.heirs else {
            return false;
        };
        let backs = |other: &usize| state.nodes[*other].backs & bit(at) != 0;
        let together: Nodes = (0..self.count()).filter(backs).map(bit).sum();
        let enough = if self.rules.all_heirs {
            heirs.are_among(&set(together), &set(node.proven))
        } else {
            // Most of those others that are not proven dead.
            most(together, self.before.1 & !node.proven)
        };
        node.backs & bit(at) != 0 && enough && (node.waited || !self.rules.waits)
    }
}

impl Model for Succession {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let (voters, others) = self.before;
        let node = |at: usize| Node {
            leased: true,
            knows: ((voters | others) & bit(at) != 0, false),
            ..Node::default()
        };
        vec![State {
            dead: 0,
            members: ((1u16 << self.count()) - 1) as Nodes,
            nodes: (0..self.count()).map(node).collect(),
            named: false,
            moved: false,
            founded: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let agrees = self.agrees(state);
        let all = 0..self.count();
        if agrees && self.after.is_some() && !state.named {
            actions.push(Action::Name);
        }
        let (named_to, _) = self.after.unwrap_or_default();
        let concerned = self.before.0 | self.before.1 | self.after.map_or(0, |(v, o)| v | o);
        let knows = |at: &usize| state.nodes[*at].knows.1;
        let told: Nodes = all.clone().filter(knows).map(bit).sum();
        let all_know = concerned & state.members & !told == 0;
        if agrees
            && state.named
            && !state.moved
            && (all_know || !self.rules.names_first)
            && most(!state.dead, named_to)
        {
            actions.push(Action::Move);
        }
        for at in all.clone() {
            let node = &state.nodes[at];
            let is_member = state.members & bit(at) != 0;
            let is_alive = state.dead & bit(at) == 0;
            if agrees && is_member && (!node.leased || !is_alive) {
                actions.push(Action::Remove(at));
            }
            if !is_alive {
                continue;
            }
            if state.dead.count_ones() < self.deaths {
                actions.push(Action::Die(at));
            }
            if node.leased {
                actions.push(Action::Lapse(at));
            }
            let goes_on = is_member && node.heirs.is_none();
            if agrees && goes_on && !node.leased {
                actions.push(Action::Renew(at));
            }
            if agrees && goes_on && state.named && !node.knows.1 {
                actions.push(Action::Tell(at));
            }
            if agrees && goes_on && state.moved && node.knows == (true, true) {
                actions.push(Action::Settle(at));
            }
            for dead in all.clone().filter(|dead| state.dead & bit(*dead) != 0) {
                let is_new = node.proven & bit(dead) == 0;
                let counts_now = node.leased || node.heirs.is_some();
                if is_new || counts_now && node.counting & bit(dead) == 0 {
                    actions.push(Action::Prove { to: at, dead });
                }
            }
            if node.heirs.is_none() {
                if self.heirs(at, node).is_some() {
                    actions.push(Action::Renounce(at));
                }
                continue;
            }
            if !node.waited {
                actions.push(Action::Wait(at));
            }
            let is_free = node.backs == 0 || !self.rules.promise_once;
            for founder in all.clone().filter(|_| is_free) {
                let founds = founder == at || state.nodes[founder].backs & bit(founder) != 0;
                if founds && node.backs & bit(founder) == 0 {
                    actions.push(Action::Back { node: at, founder });
                }
            }
            let others = node.backs & !bit(at);
            if others != 0 && others & !node.proven == 0 && others & state.founded == 0 {
                actions.push(Action::Release(at));
            }
            if state.founded & bit(at) == 0 && self.may_found(state, at) {
                actions.push(Action::Found(at));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Die(at) => {
                next.dead |= bit(at);
                // What it said is still on its way.
                let Node { backs, knows, .. } = next.nodes[at];
                next.nodes[at] = Node {
                    backs,
                    knows,
                    ..Node::default()
                };
            }
            Action::Lapse(at) => next.nodes[at].leased = false,
            Action::Renew(at) => next.nodes[at].leased = true,
            Action::Remove(at) => next.members &= !bit(at),
            Action::Name => next.named = true,
            Action::Tell(at) => next.nodes[at].knows = (true, true),
            Action::Move => next.moved = true,
            Action::Settle(at) => next.nodes[at].knows.0 = false,
            Action::Prove { to, dead } => {
                let node = &mut next.nodes[to];
                node.proven |= bit(dead);
                if node.leased || node.heirs.is_some() {
                    node.counting |= bit(dead);
                }
            }
            Action::Renounce(at) => next.nodes[at].heirs = self.heirs(at, &last.nodes[at]),
            Action::Wait(at) => {
                next.nodes[at].waited = true;
                // Whatever was granted before that is over.
                next.nodes.iter_mut().for_each(|node| node.leased = false);
            }
            Action::Back { node, founder } => next.nodes[node].backs |= bit(founder),
            Action::Release(at) => next.nodes[at].backs = 0,
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
                "the old generation agrees on nothing",
                |model: &Self, state: &State| state.founded == 0 || !model.agrees(state),
            ),
            Property::always("no lease of it is left", |_, state: &State| {
                state.founded == 0 || state.nodes.iter().all(|node| !node.leased)
            }),
            Property::sometimes("one founds", |_, state: &State| state.founded != 0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Expected, run};

    #[test]
    fn at_most_one_founds_whoever_votes() {
        for (name, model) in Succession::instances() {
            let row = run(name, "", model, Expected::Holds);
            assert!(row.good, "{row:?}");
        }
    }

    #[test]
    fn each_rule_left_out_gives_two_or_too_early() {
        for (name, model) in Succession::controls() {
            let row = run(name, "", model, Expected::Fails);
            assert!(row.good, "{row:?}");
        }
    }
}
