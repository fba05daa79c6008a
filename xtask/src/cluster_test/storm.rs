//! A storm: nodes are restarted, killed, stopped and cut off at random, several at once, for as long as is
//! asked for. So many are always well that a majority of the voters is.
//!
//! The seed decides what is done, and for how long; how the processes run it does not.

use std::time::Duration;

use rustix::process::Signal;

use super::check::Done;
use super::ledger::HarmNumber;
use super::partition::{both, from};
use super::stage::{LEAVE_LIMIT, READY_LIMIT, Stage};
use crate::fleet::{POLL, Part};
use crate::report::{Failure, clock};

const TICK: Duration = Duration::from_millis(100);
/// Between two things that are done.
const SHORTEST_REST: f64 = 0.3;
const LONGEST_REST: f64 = 6.0;
/// What is away for longer than a missing session is waited for is lost to its clients.
const LONGEST_ABSENCE: Duration = Duration::from_secs(12);

/// How a node is.
#[derive(Clone, Copy, Debug)]
enum State {
    Up,
    Leaving {
        began: Duration,
    },
    /// Not running, until then.
    Down {
        until: Duration,
    },
    Starting {
        began: Duration,
    },
    Paused {
        harm: HarmNumber,
        until: Duration,
    },
    Cut {
        harm: HarmNumber,
        until: Duration,
    },
    /// It was stopped or cut off, and is not known to be ready again.
    Recovering {
        began: Duration,
    },
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Restart,
    Kill,
    Pause,
    Cut,
}

/// Plays until the time is up, and then until everybody is well again.
pub(super) async fn play(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let count = stage.fleet.nodes.len();
    let mut states = vec![State::Up; count];
    let end = stage.ledger.now() + stage.length;
    let mut next = stage.ledger.now();
    let mut last = stage.ledger.now();
    loop {
        tokio::time::sleep(TICK).await;
        for (index, state) in states.iter_mut().enumerate() {
            *state = stage.go_on(index, *state)?;
        }
        let now = stage.ledger.now();
        let all_are_up = states.iter().all(|state| matches!(state, State::Up));
        if now > end {
            if all_are_up {
                break;
            }
            continue;
        }
        if now < next {
            continue;
        }
        let rest = SHORTEST_REST + (LONGEST_REST - SHORTEST_REST) * stage.random.f64();
        next = now + Duration::from_secs_f64(rest);
        if let Some((index, act)) = stage.choose(&states).await {
            states[index] = stage.begin(index, act).await?;
            last = stage.ledger.now();
        }
    }
    stage.ledger.note("the storm is over");
    let all: Vec<usize> = (0..count).collect();
    stage.until_back(&all).await?;
    let took = clock(stage.ledger.now().saturating_sub(last));
    stage.ledger.note(&format!(
        "all are ready, {took} after the last thing was done"
    ));
    let now = stage.ledger.now();
    stage.heal(now, stage.ledger.patience().whole()).await;
    Ok(())
}

impl Stage<'_> {
    /// What is due for a node that something was done to.
    fn go_on(&mut self, index: usize, state: State) -> Result<State, Failure> {
        let now = self.ledger.now();
        let name = self.name(index);
        Ok(match state {
            State::Leaving { began } => {
                let leash = &mut self.fleet.leash;
                match self.fleet.nodes[index].look(leash) {
                    Some(status) if status.success() => {
                        self.ledger.departed(index);
                        let took = clock(now - began);
                        self.ledger.note(&format!("{name}: gone after {took}"));
                        State::Down {
                            until: now + self.absence(8.0),
                        }
                    }
                    Some(status) => {
                        return Err(Failure::Failed(format!("{name} left with {status}")));
                    }
                    None if now - began > LEAVE_LIMIT => {
                        return Err(Failure::Failed(format!("{name} does not leave")));
                    }
                    None => state,
                }
            }
            State::Down { until } if now > until => {
                self.ledger.note(&format!("{name} starts"));
                self.fleet.start(index, &[])?;
                State::Starting { began: now }
            }
            State::Starting { began } if self.fleet.nodes[index].said_ready() => {
                let took = clock(now - began);
                self.ledger.note(&format!("{name} is ready after {took}"));
                State::Up
            }
            State::Starting { began } => {
                let leash = &mut self.fleet.leash;
                if let Some(status) = self.fleet.nodes[index].look(leash) {
                    let why = format!("{name} ended with {status} before it was ready");
                    return Err(Failure::Failed(why));
                }
                self.not_for_ever(&name, began)?;
                state
            }
            State::Paused { harm, until } if now > until => {
                self.fleet.nodes[index].signal(Signal::CONT);
                self.ledger.undone(harm, now);
                self.ledger.note(&format!("{name} goes on"));
                State::Recovering { began: now }
            }
            State::Cut { harm, until } if now > until => {
                self.mend(harm)?;
                self.ledger.note(&format!("{name} is reached again"));
                State::Recovering { began: now }
            }
            // Polled since, at least twice.
            State::Recovering { began }
                if now - began > POLL * 3 && self.balancer.is_ready(index) =>
            {
                State::Up
            }
            State::Recovering { began } => {
                self.not_for_ever(&name, began)?;
                state
            }
            other => other,
        })
    }

    fn not_for_ever(&self, name: &str, began: Duration) -> Result<(), Failure> {
        if self.ledger.now() - began < READY_LIMIT + self.lease * 4 {
            return Ok(());
        }
        Err(Failure::Failed(format!("{name} is not ready again")))
    }

    /// Something to do to somebody, where as many are well as have to be.
    async fn choose(&mut self, states: &[State]) -> Option<(usize, Act)> {
        let up = (0..states.len()).filter(|index| matches!(states[*index], State::Up));
        let up: Vec<usize> = up.collect();
        let away = states.len() - up.len();
        if away >= (states.len() - 1) / 2 {
            return None;
        }
        let index = self.random.choice(up.iter().copied())?;
        let act = match self.random.u32(0..10) {
            0..3 => Act::Restart,
            3..5 => Act::Kill,
            8.. if self.fleet.wires.is_some() => Act::Cut,
            _ => Act::Pause,
        };
        // Whoever leads knows how many vote; each knows whether it does itself.
        let mut voters = 0;
        let mut well = 0;
        for other in up {
            let authority = self.status(other).await?.authority?;
            let votes = matches!(authority.part, Part::Leads | Part::Votes);
            well += usize::from(votes && other != index);
            if authority.part == Part::Leads {
                voters = voters.max(authority.voters);
            }
        }
        (voters > 0 && well * 2 > voters).then_some((index, act))
    }

    async fn begin(&mut self, index: usize, act: Act) -> Result<State, Failure> {
        let name = self.name(index);
        let now = self.ledger.now();
        Ok(match act {
            Act::Restart => {
                self.ledger.note(&format!("{name}: told to leave"));
                self.ledger.departs(index);
                self.fleet.nodes[index].signal(Signal::TERM);
                State::Leaving { began: now }
            }
            Act::Kill => {
                self.kill(&[index], Done::Killed).await?;
                State::Down {
                    until: now + self.absence(8.0),
                }
            }
            Act::Pause => {
                let length = self.absence(3.0 * self.lease.as_secs_f64());
                let said = format!("{name} stands still for {}", clock(length));
                self.ledger.note(&said);
                self.fleet.nodes[index].signal(Signal::STOP);
                let harm = self.ledger.harmed(Done::Paused, [index], now);
                State::Paused {
                    harm,
                    until: now + length,
                }
            }
            Act::Cut => {
                let length = self.absence(3.0 * self.lease.as_secs_f64());
                let others: Vec<usize> = (0..self.fleet.nodes.len()).collect();
                let (how, ways) = match self.random.u32(0..3) {
                    0 => ("is cut off", both(&[index], &others)),
                    1 => ("is not heard", from(&[index], &others)),
                    _ => ("hears nobody", from(&others, &[index])),
                };
                let said = format!("{name} {how} for {}", clock(length));
                self.ledger.note(&said);
                State::Cut {
                    harm: self.cut(Done::CutOff, &[index], ways)?,
                    until: now + length,
                }
            }
        })
    }

    fn absence(&mut self, most: f64) -> Duration {
        let seconds = 0.2 + most * self.random.f64();
        Duration::from_secs_f64(seconds).min(LONGEST_ABSENCE)
    }
}
