//! One simulated browser: its cookies, what it knows of its session, and what it does next.
//!
//! It never asks again what failed: what an error leaves open stays open in its history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::check::{Asked, Ended, Event, Life, Told, judge_ended};
use super::door::{Door, Reply, Request, SESSION_COOKIE};
use super::options::Affinity;

/// A list that grew to this is left alone, so that answers stay small.
const LONG: u32 = 24;
/// Ended ids that are tried again now and then.
const GRAVES: usize = 3;

/// An id that has ended, kept to see that it stays so.
#[derive(Debug)]
struct Grave {
    id: String,
    why: Ended,
    session: String,
}

#[derive(Debug)]
pub(super) struct Browser {
    door: Arc<Door>,
    random: fastrand::Rng,
    affinity: Affinity,
    number: u32,
    sessions: u32,
    jar: BTreeMap<String, String>,
    life: Option<Life>,
    graves: Vec<Grave>,
    written: u32,
    /// The node that answered last.
    last: Option<usize>,
    /// When its session's requests began to fail.
    failing: Option<Duration>,
    /// Whether a login of its session was acknowledged.
    is_logged_in: bool,
}

impl Browser {
    pub(super) fn new(number: u32, seed: u64, affinity: Affinity, door: Arc<Door>) -> Self {
        // Neighbouring seeds must not give neighbouring browsers the same numbers.
        let own = seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            door,
            random: fastrand::Rng::with_seed(own),
            affinity,
            number,
            sessions: 0,
            jar: BTreeMap::new(),
            life: None,
            graves: Vec::new(),
            written: 0,
            last: None,
            failing: None,
            is_logged_in: false,
        }
    }

    /// A time between nothing and twice `mean`.
    pub(super) fn pause(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(self.random.f64() * 2.0)
    }

    /// Does one thing.
    pub(super) async fn step(&mut self) {
        if self.life.is_none() {
            return self.begin().await;
        }
        let step = self.random.u32(0..100);
        // Whoever meets an error looks again what became of the session, before ending it in one way or
        // another: so each session in doubt is followed until it is served or told lost.
        if self.failing.is_some() && (31..38).contains(&step) {
            return self.ask_alone(Asked::Count).await;
        }
        match step {
            0..25 => self.overlap().await,
            25..31 if !self.graves.is_empty() => self.visit_a_grave().await,
            31..34 => self.log_in().await,
            34..37 => self.log_out().await,
            37 => self.close(),
            _ => {
                let asked = self.something();
                self.ask_alone(asked).await;
            }
        }
    }

    /// Looks at everything once more, when all is quiet.
    pub(super) async fn finish(&mut self) {
        if self.life.is_some() {
            self.ask_alone(Asked::Count).await;
            self.ask_alone(Asked::Me).await;
        }
        for list in 0..=self.list() {
            if self.life.is_some() {
                self.ask_alone(Asked::List { list }).await;
            }
        }
        while !self.graves.is_empty() {
            self.visit(0).await;
            self.graves.remove(0);
        }
        if self.life.is_some() {
            self.door.ledger.seen().alive += 1;
        }
        self.close();
    }

    /// A session begins with an increment, alone: two at once would be two sessions.
    async fn begin(&mut self) {
        self.sessions += 1;
        (self.written, self.failing, self.is_logged_in) = (0, None, false);
        self.jar.clear();
        let session = format!("{}.{}", self.number, self.sessions);
        let request = self.request(Asked::Increment, session.clone());
        let reply = self.door.ask(request).await;
        if reply.event.told == Told::Count(1) {
            self.take_cookies(&reply);
            self.last = reply.event.at;
            self.door.ledger.seen().tally.created += 1;
            self.life = Some(Life {
                name: session,
                events: vec![reply.event],
            });
        }
    }

    /// What a page does: reads and writes.
    fn something(&mut self) -> Asked {
        let list = self.list();
        match self.random.u32(0..10) {
            0..4 => Asked::Increment,
            4..6 => Asked::Count,
            6..8 => {
                self.written += 1;
                let value = self.written;
                Asked::Append { list, value }
            }
            8 => Asked::List { list },
            _ => Asked::Me,
        }
    }

    /// The list that is written now.
    fn list(&self) -> u8 {
        u8::try_from(self.written / LONG).unwrap_or(u8::MAX)
    }

    async fn ask_alone(&mut self, asked: Asked) {
        let Some(life) = &self.life else { return };
        let request = self.request(asked, life.name.clone());
        let reply = self.door.clone().ask(request).await;
        self.take(vec![reply]).await;
    }

    /// Several requests of one session at once.
    async fn overlap(&mut self) {
        let mut together = JoinSet::new();
        for _ in 0..self.random.u32(2..=4) {
            let Some(life) = &self.life else { return };
            let session = life.name.clone();
            let asked = self.something();
            let request = self.request(asked, session);
            let door = Arc::clone(&self.door);
            together.spawn(async move { door.ask(request).await });
        }
        let replies = together.join_all().await;
        self.take(replies).await;
    }

    async fn log_in(&mut self) {
        let Some(life) = &self.life else { return };
        let session = life.name.clone();
        let request = self.request(Asked::Login, session.clone());
        let reply = self.door.clone().ask(request.clone()).await;
        let renewed = reply.event.told == Told::Done;
        self.is_logged_in |= renewed;
        self.take(vec![reply]).await;
        if renewed && let Some(id) = request.id {
            self.bury(id, Ended::Renewed, session);
            self.ask_alone(Asked::Count).await;
            self.ask_alone(Asked::Me).await;
        }
    }

    async fn log_out(&mut self) {
        let Some(life) = &self.life else { return };
        let session = life.name.clone();
        let request = self.request(Asked::Logout, session.clone());
        let reply = self.door.clone().ask(request.clone()).await;
        let (told, event) = (reply.event.told.clone(), reply.event);
        self.record(event);
        match (told, request.id) {
            (Told::NotSent, _) => {}
            (Told::Done, Some(id)) => {
                self.bury(id, Ended::LoggedOut, session);
                self.close();
                self.visit(self.graves.len() - 1).await;
            }
            _ => self.close(),
        }
    }

    /// Takes answers in: what they tell, their cookies, and whether the session is gone.
    async fn take(&mut self, replies: Vec<Reply>) {
        let mut surprised = false;
        for reply in replies {
            let alive = reply.event.is_acknowledged();
            let forgotten = Told::Me { logged_in: false };
            surprised |= reply.event.told == Told::List(Vec::new());
            surprised |= self.is_logged_in && reply.event.told == forgotten;
            if alive {
                self.take_cookies(&reply);
            }
            self.record(reply.event);
        }
        // Either nothing was written to it yet, or the session is gone, or only its login: the counter
        // knows.
        if surprised && let Some(life) = &self.life {
            let request = self.request(Asked::Count, life.name.clone());
            let reply = self.door.clone().ask(request).await;
            self.record(reply.event);
        }
        let gone = self
            .life
            .take_if(|life| life.events.iter().any(Event::is_fresh));
        if let Some(life) = gone {
            if let Some(id) = self.jar.remove(SESSION_COOKIE) {
                self.bury(id, Ended::Lost, life.name.clone());
            }
            self.door.ledger.close(&life);
        }
    }

    fn record(&mut self, event: Event) {
        let Some(life) = &mut self.life else { return };
        if event.is_acknowledged() {
            let mut seen = self.door.ledger.seen();
            if let (Some(last), Some(at)) = (self.last, event.at)
                && last != at
            {
                seen.tally.moves += 1;
            }
            self.last = event.at.or(self.last);
            if let Some(began) = self.failing.filter(|began| event.span.began >= *began) {
                seen.tally.gap(event.span.ended - began, &life.name);
                self.failing = None;
            }
        } else if !event.is_fresh() {
            self.failing.get_or_insert(event.span.began);
        }
        life.events.push(event);
    }

    /// Leaves the session as it is, and has its history judged.
    fn close(&mut self) {
        if let Some(life) = self.life.take() {
            self.door.ledger.close(&life);
        }
    }

    fn bury(&mut self, id: String, why: Ended, session: String) {
        if self.graves.len() >= GRAVES {
            self.graves.remove(0);
        }
        self.graves.push(Grave { id, why, session });
    }

    async fn visit_a_grave(&mut self) {
        let index = self.random.usize(0..self.graves.len());
        self.visit(index).await;
    }

    /// Asks with an id that has ended, and judges the answer.
    async fn visit(&mut self, index: usize) {
        let to = self.door.balancer.random(&mut self.random);
        let grave = &self.graves[index];
        // It is asked for as somebody who never had a session: anything goes but the old values.
        let request = Request {
            asked: Asked::Count,
            session: grave.session.clone(),
            cookie: format!("{SESSION_COOKIE}={}", grave.id),
            id: None,
            to,
        };
        let reply = self.door.ask(request).await;
        let at = reply.event.span.ended;
        if let Some(found) = judge_ended(&grave.session, grave.why, &reply.event.told, at) {
            self.door.ledger.violated(found);
        }
    }

    fn take_cookies(&mut self, reply: &Reply) {
        for (name, value) in &reply.cookies {
            if value.is_empty() {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.clone(), value.clone());
            }
        }
    }

    fn request(&mut self, asked: Asked, session: String) -> Request {
        let balancer = &self.door.balancer;
        let stuck = self.last.filter(|last| {
            self.affinity == Affinity::Sticky && self.life.is_some() && balancer.is_ready(*last)
        });
        let to = stuck.or_else(|| balancer.random(&mut self.random));
        let pairs = self
            .jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        Request {
            asked,
            session,
            cookie: pairs.collect::<Vec<_>>().join("; "),
            id: self.jar.get(SESSION_COOKIE).cloned(),
            to,
        }
    }
}
