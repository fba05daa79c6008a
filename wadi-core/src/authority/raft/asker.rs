//! Asking the leader, wherever it is: it follows whoever says who leads, and asks again after a
//! pause. It never takes silence for a refusal.

use std::sync::Arc;
use std::time::Duration;

use tokio::time;

use super::message::{Message, Part, Reply, Said, decode, encode};
use super::timing::Timing;
use super::types::may_repeat;
use crate::authority::{Answer, Command};
use crate::bucket::LayoutVersion;
use crate::member::Founding;
use crate::transport::{Carrier, NotCarried};

/// Why a command was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskFailed {
    /// Nobody who leads was found in time. Nothing changed; ask again.
    #[error("no leader of the authority was reached in time; nothing changed")]
    NoLeader,
    /// Somebody may have proposed it, and may still: it has happened, will happen, or never will.
    /// What became of it shows in the layout.
    #[error("whether the command was carried out is not known; look at the layout")]
    Unknown,
    /// It wants to be gone, and has a vote that nobody took over in time. Nothing changed; ask
    /// again, or force it.
    #[error("this member still votes and was not replaced in time; ask again, or force it")]
    StillVotes,
    /// It is the leader's own duty, or a name or address in it is longer than 255 bytes. Nothing changed.
    #[error("the command is not for a node to give, or too long")]
    NotForYou,
}

/// Asks through one carrier.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// Where this node itself is: who leads there does not any more, or it would be asked here.
    pub(super) own: String,
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) timing: Timing,
}

/// Whom to ask, in this order, and this very node first where it may lead.
pub(super) trait Directions: Sync {
    /// What this node itself says, unless it knows that another one leads.
    fn ask_here(&self, command: &Command) -> impl Future<Output = Option<Said>> + Send;

    /// Addresses of other nodes, the likeliest leader first.
    fn addresses(&self) -> Vec<String>;

    /// As whom it asks; `None` before it has joined.
    fn part(&self) -> Option<Part>;

    /// Of which cluster; `None`: whichever is there.
    fn cluster(&self) -> Option<Founding> {
        self.part().map(|part| part.cluster)
    }
}

impl Asker {
    /// Asks until there is an answer, `within` at most; and the layout version that it was given under.
    pub(super) async fn ask(
        &self,
        command: Command,
        directions: &impl Directions,
        within: Duration,
    ) -> Result<(Answer, LayoutVersion), AskFailed> {
        let mut so_far = AskFailed::NoLeader;
        let asking = self.ask_again(&command, directions, &mut so_far);
        match time::timeout(within, asking).await {
            Ok(answered) => answered,
            Err(_) => Err(so_far),
        }
    }

    async fn ask_again(
        &self,
        command: &Command,
        directions: &impl Directions,
        so_far: &mut AskFailed,
    ) -> Result<(Answer, LayoutVersion), AskFailed> {
        let mut pause = self.timing.first_pause();
        let mut hint: Option<String> = None;
        let mut hints = 0;
        let mut route = Route::default();
        loop {
            // Before each attempt, so that giving up in the middle of one says the truth.
            let before = *so_far;
            *so_far = AskFailed::Unknown;
            let said = self
                .ask_once(command, directions, hint.take(), &mut route)
                .await;
            match said {
                Heard::Said(Said::Answered(answer, version)) => return Ok((answer, version)),
                Heard::Said(Said::NotForYou) => return Err(AskFailed::NotForYou),
                Heard::Said(Said::Unknown) | Heard::Silence => {
                    if !may_repeat(command) {
                        return Err(AskFailed::Unknown);
                    }
                }
                Heard::Said(Said::StillVotes) => {
                    *so_far = AskFailed::StillVotes;
                }
                Heard::Said(Said::Elsewhere(elsewhere)) => {
                    *so_far = before;
                    if elsewhere.is_some() && hints < MOST_HINTS {
                        hints += 1;
                        hint = elsewhere;
                        continue;
                    }
                }
                Heard::Said(Said::Busy) | Heard::Nothing => *so_far = before,
            }
            hints = 0;
            time::sleep(pause).await;
            pause = (pause * 2).min(self.timing.longest_pause());
        }
    }

    async fn ask_once(
        &self,
        command: &Command,
        directions: &impl Directions,
        hint: Option<String>,
        route: &mut Route,
    ) -> Heard {
        // A leader that agrees on nothing any more asks elsewhere every second time, unless others say that
        // it is this very node that leads: they may know since it asked itself.
        route.here = !route.here;
        let is_said_to_lead = hint.as_ref() == Some(&self.own);
        if (is_said_to_lead || route.here && hint.is_none())
            && let Some(said) = directions.ask_here(command).await
        {
            return Heard::Said(said);
        }
        let is_other = |address: &String| *address != self.own;
        let mut addresses = directions.addresses();
        addresses.retain(is_other);
        let Some(address) = route.next(hint.filter(is_other), &addresses) else {
            return Heard::Nothing;
        };
        let message = Message::ask(directions.cluster(), directions.part(), command.clone());
        let Some(bytes) = encode(&message) else {
            return Heard::Nothing;
        };
        let carrying = self
            .carrier
            .carry(&address, bytes.into(), self.timing.attempt());
        match time::timeout(self.timing.attempt(), carrying).await {
            Ok(Ok(bytes)) => match decode(&bytes) {
                Some(Reply::Said(said)) => Heard::Said(said),
                Some(_) => Heard::Nothing,
                // An answer that cannot be read may have been "agreed".
                None => Heard::Silence,
            },
            Ok(Err(NotCarried::NotDelivered)) => Heard::Nothing,
            Ok(Err(NotCarried::NoAnswer)) | Err(_) => Heard::Silence,
        }
    }
}

/// Where one question has been.
#[derive(Debug, Default)]
struct Route {
    /// Whether this very node was asked last.
    here: bool,
    /// Whose turn is next, of those who are asked in turn.
    turn: usize,
    /// The last of them.
    last: Option<String>,
}

impl Route {
    /// Who is asked next: whoever is said to lead, but never the same twice in a row where there are
    /// others.
    fn next(&mut self, hint: Option<String>, addresses: &[String]) -> Option<String> {
        let is_other = |address: &&String| Some(*address) != self.last.as_ref();
        let likeliest = hint.as_ref().filter(is_other);
        let likeliest = likeliest.or_else(|| addresses.first().filter(is_other));
        let next = match likeliest {
            Some(likeliest) => likeliest.clone(),
            // Only then does the turn go on, or every second one would never have it.
            None => {
                let places = self.turn..self.turn + addresses.len();
                let mut in_turn = places.map(|place| place % addresses.len());
                let is_other = |place: &usize| Some(&addresses[*place]) != self.last.as_ref();
                let place = in_turn.clone().find(is_other).or_else(|| in_turn.next())?;
                self.turn = place + 1;
                addresses[place].clone()
            }
        };
        self.last = Some(next.clone());
        Some(next)
    }
}

/// How many times in a row one who says who leads is followed without a pause.
const MOST_HINTS: u32 = 3;

/// What one attempt came to.
enum Heard {
    Said(Said),
    /// Certainly nothing happened there.
    Nothing,
    /// It may have been heard.
    Silence,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use bytes::Bytes;

    use super::*;
    use crate::member::Incarnation;
    use crate::transport::{Answers, Carrying};

    fn addresses(all: &[&str]) -> Vec<String> {
        all.iter().map(|address| (*address).to_owned()).collect()
    }

    #[test]
    fn whoever_is_said_to_lead_is_asked_first_and_everybody_in_turn() {
        let mut route = Route::default();
        let all = addresses(&["a", "b", "c"]);
        let mut asked = Vec::new();
        for _ in 0..6 {
            asked.extend(route.next(None, &all));
        }
        assert_eq!(asked[0], "a");
        for address in &all {
            assert!(asked.contains(address), "{asked:?}");
        }
        assert!(asked.windows(2).all(|pair| pair[0] != pair[1]), "{asked:?}");
        let hint = Some("d".to_owned());
        assert_eq!(route.next(hint.clone(), &all), hint);
        assert_ne!(route.next(hint.clone(), &all), hint);
    }

    #[test]
    fn everybody_is_asked_however_many_there_are() {
        for count in 1..9 {
            let all: Vec<String> = (0..count).map(|n: usize| n.to_string()).collect();
            let mut route = Route::default();
            let asked: Vec<_> = (0..2 * count)
                .filter_map(|_| route.next(None, &all))
                .collect();
            for address in &all {
                assert!(asked.contains(address), "{address} of {count}: {asked:?}");
            }
        }
    }

    #[test]
    fn a_single_other_is_asked_again_and_nobody_where_there_is_none() {
        let mut route = Route::default();
        let one = addresses(&["a"]);
        assert_eq!(route.next(None, &one), Some("a".to_owned()));
        assert_eq!(route.next(None, &one), Some("a".to_owned()));
        assert_eq!(route.next(None, &[]), None);
    }

    /// The only other node, which knows that n1 leads; so many questions do not reach it.
    #[derive(Debug)]
    struct Knows(AtomicU32);

    impl Carrier for Knows {
        fn carry<'a>(&'a self, _: &'a str, _: Bytes, _: Duration) -> Carrying<'a> {
            let said = Reply::Said(Said::Elsewhere(Some("n1".to_owned())));
            let said = encode(&said).expect("it is short");
            let lost = self.0.load(Relaxed);
            self.0.store(lost.saturating_sub(1), Relaxed);
            Box::pin(async move {
                (lost == 0)
                    .then(|| said.into())
                    .ok_or(NotCarried::NotDelivered)
            })
        }

        fn serve(&self, _: Arc<dyn Answers>) {}
    }

    /// Leads from some question on.
    struct Leads(AtomicU32);

    impl Directions for Leads {
        async fn ask_here(&self, _: &Command) -> Option<Said> {
            let leads_not_yet = self.0.load(Relaxed);
            self.0.store(leads_not_yet.saturating_sub(1), Relaxed);
            let said = Said::Answered(Answer::TookOver, LayoutVersion::ZERO);
            (leads_not_yet == 0).then_some(said)
        }

        fn addresses(&self) -> Vec<String> {
            addresses(&["n2"])
        }

        fn part(&self) -> Option<Part> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_to_lead_while_it_asks_is_answered_by_itself() {
        for (asked_before, lost) in [(1, 0), (1, 1), (1, 2), (2, 1), (3, 3)] {
            let asker = Asker {
                own: "n1".to_owned(),
                carrier: Arc::new(Knows(AtomicU32::new(lost))),
                timing: Timing::of(Duration::from_secs(4)),
            };
            let directions = Leads(AtomicU32::new(asked_before));
            let renew = Command::Renew(Incarnation::new(1));
            let answered = asker.ask(renew, &directions, Duration::from_secs(20)).await;
            assert!(answered.is_ok(), "{asked_before}, {lost}: {answered:?}");
        }
    }
}
