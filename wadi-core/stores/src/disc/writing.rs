//! The thread that writes: it takes what waits together, changes the store in one step, and then answers.
//!
//! Nobody is answered before it is certain whether the change was made.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use wadi_core::clock::Moment;
use wadi_core::session::SessionId;
use wadi_core::store::{Claim, Ended, Put, Row, StoreError, Took};

use super::codec::State;
use super::earliest::Earliest;
use super::engine::{Engine, NotWritten, io_error, is_full};
use super::mending;
use super::place::Place;
use super::queue::{Incoming, Next, Waiting};
use super::reading::Shared;
use super::round::Round;
use super::settings::DiscSettings;
use super::time::Axis;

/// How many calls, and about how many bytes, are written in one step.
const CALLS_MOST: usize = 256;
const BYTES_MOST: usize = 8 << 20;
/// How many ends are forgotten beside other work.
const FORGET_MOST: usize = 256;
/// After a write failed, how long none is tried: at first, and at most.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(30);
/// An engine that has stopped so often may be one that is to sort what it cannot read.
const STOPPED_MOST: u32 = 3;
/// With less room than this the engine's own thread stops for want of it.
const SHORT: u64 = 128 << 20;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Call {
    Put(Vec<Row>, Answer<Vec<Put>>),
    Take(SessionId, Claim, Answer<Took>),
    End(Vec<Ended>, Answer<()>),
    Begin(u32, Answer<u32>),
}

/// What is to be said, once it may be.
enum Said {
    Put(Vec<Put>),
    Took(Took),
    Ended,
    Begun(u32),
}

impl Call {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(rows, _) => rows.iter().map(|row| row.payload.as_bytes().len()).sum(),
            Self::Take(..) | Self::End(..) | Self::Begin(..) => 0,
        }
    }

    /// Whether it may still be left undone: who asked has gone, and would never hear of the row.
    fn is_void(&self) -> bool {
        matches!(self, Self::Take(_, _, answer) if answer.is_closed())
    }

    fn answer(self, said: Result<Said, StoreError>) {
        // Who asked may have gone; then nobody is told.
        match (self, said) {
            (Self::Put(_, answer), Ok(Said::Put(puts))) => drop(answer.send(Ok(puts))),
            (Self::Take(_, _, answer), Ok(Said::Took(took))) => drop(answer.send(Ok(took))),
            (Self::End(_, answer), Ok(Said::Ended)) => drop(answer.send(Ok(()))),
            (Self::Begin(_, answer), Ok(Said::Begun(number))) => drop(answer.send(Ok(number))),
            (Self::Put(_, answer), Err(error)) => drop(answer.send(Err(error))),
            (Self::Take(_, _, answer), Err(error)) => drop(answer.send(Err(error))),
            (Self::End(_, answer), Err(error)) => drop(answer.send(Err(error))),
            (Self::Begin(_, answer), Err(error)) => drop(answer.send(Err(error))),
            (_, Ok(_)) => unreachable!("each call is answered in its own words"),
        }
    }
}

pub(super) struct Writer {
    pub(super) place: Place,
    pub(super) settings: DiscSettings,
    pub(super) engine: Shared,
    pub(super) earliest: Arc<Earliest>,
    pub(super) axis: Axis,
    pub(super) state: State,
    pub(super) rows: Arc<AtomicU64>,
    /// Changes that are on the disc for certain.
    pub(super) synced: u64,
    pub(super) synced_at: Moment,
    /// Nothing is written before that moment, because of this.
    pub(super) paused: Option<(Moment, StoreError)>,
    /// For how long the next time.
    pub(super) pause: Duration,
    /// How often the engine has stopped by itself since it was last looked through for damage.
    pub(super) stopped: u32,
}

impl Writer {
    /// Works until no more calls can come, and then closes the store.
    pub(super) fn run(mut self, incoming: &Incoming<Call>) {
        loop {
            let mut calls = Vec::new();
            match incoming.wait(self.settings.sync_every) {
                Next::Call(first) => {
                    let mut bytes = first.call.bytes();
                    calls.push(first);
                    while calls.len() < CALLS_MOST && bytes < BYTES_MOST {
                        let Some(next) = incoming.look() else { break };
                        bytes += next.call.bytes();
                        calls.push(next);
                    }
                }
                Next::None => {}
                Next::Closed => break,
            }
            self.serve(calls);
            let since = self.settings.clock.now().since(self.synced_at);
            if since >= self.settings.sync_every {
                self.sync();
            }
        }
        self.sync();
        // The last of it: this waits for the engine's own thread.
        self.close_engine();
    }

    fn serve(&mut self, waiting: Vec<Waiting<Call>>) {
        let waiting: Vec<_> = waiting
            .into_iter()
            .filter(|waiting| !waiting.call.is_void())
            .collect();
        let mut said = self.attempt(&waiting);
        if said.is_none() && self.is_paused().is_none() {
            // The engine had stopped before, so nothing of this was done.
            self.open_again();
            self.stopped += 1;
            said = self.attempt(&waiting);
        }
        if (said.is_none() || self.stopped >= STOPPED_MOST) && self.is_paused().is_none() {
            // Where it stops again and again there may be something that it cannot sort.
            self.stopped = 0;
            self.mend();
            said = said.or_else(|| self.attempt(&waiting));
        }
        let mut said = said.unwrap_or_else(|| {
            let refused = self
                .is_paused()
                .unwrap_or_else(|| self.refusal("its engine has stopped", &fjall::Error::Poisoned));
            waiting.iter().map(|_| Err(refused.clone())).collect()
        });
        self.sync_numbers(&mut said);
        for (waiting, said) in waiting.into_iter().zip(said) {
            waiting.call.answer(said);
        }
    }

    /// Does what is asked in one step; none where the engine takes nothing any more.
    fn attempt(&mut self, waiting: &[Waiting<Call>]) -> Option<Vec<Result<Said, StoreError>>> {
        let engine = self
            .engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()?;
        let mut round = Round::new(&engine, self.axis.now());
        let has_room = self.place.free_bytes() >= self.settings.keep_free_bytes;
        let mut said: Vec<_> = waiting
            .iter()
            .map(|waiting| ask(&mut round, &waiting.call, has_room))
            .collect();
        // Ends that cannot be read are tried again another time.
        let _ = caught(|| round.forget(FORGET_MOST));
        if round.is_empty() {
            return Some(said);
        }
        let failed = if let Some(error) = self.is_paused() {
            Some(error)
        } else {
            let (change, state) = round.change(&self.state, self.axis.anchor());
            let written = catch_unwind(AssertUnwindSafe(|| change.write(&state)))
                .unwrap_or(Err(NotWritten::Stopped(fjall::Error::Poisoned)));
            match written {
                Ok(()) => {
                    (self.paused, self.pause) = (None, PAUSE);
                    self.earliest.written(&round.runs_out());
                    self.have(state);
                    None
                }
                Err(NotWritten::Held) => {
                    let refused = self.refusal(
                        "what was written is not sorted yet",
                        &fjall::Error::Poisoned,
                    );
                    self.pause(refused.clone());
                    Some(refused)
                }
                Err(NotWritten::Stopped(fjall::Error::Poisoned)) => return None,
                Err(NotWritten::Stopped(error)) => {
                    drop(round);
                    drop(engine);
                    self.settle(&state, &error)
                }
            }
        };
        if let Some(error) = failed {
            for said in &mut said {
                *said = Err(error.clone());
            }
        }
        Some(said)
    }

    /// The engine failed while it wrote this. It is opened again, which tells whether it was written.
    fn settle(&mut self, state: &State, error: &fjall::Error) -> Option<StoreError> {
        self.open_again();
        if self.state.changes == state.changes {
            return None;
        }
        let is_open = self
            .engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        let refused = match self.refusal("writing failed", error) {
            // It may have been done, for nobody can look.
            StoreError::Full(why) if !is_open => StoreError::Unavailable(why),
            refused => refused,
        };
        self.pause(refused.clone());
        Some(refused)
    }

    /// Why the engine takes nothing, as its callers are told.
    fn refusal(&self, what: &str, error: &fjall::Error) -> StoreError {
        let io = io_error(error);
        let why = io.map_or_else(|| format!("{error:?}"), ToString::to_string);
        let text = format!("{}: {what}: {why}", self.place.directory().display());
        // Where its own thread stopped, it says only that it has.
        let is_short =
            io.is_none() && self.place.free_bytes() < self.settings.keep_free_bytes.max(SHORT);
        if is_short || io.is_some_and(is_full) {
            StoreError::Full(text)
        } else {
            StoreError::Unavailable(text)
        }
    }

    /// Nothing is written for a while, which is longer each time until something could be.
    fn pause(&mut self, error: StoreError) {
        self.paused = Some((self.settings.clock.now() + self.pause, error));
        self.pause = (2 * self.pause).min(PAUSE_MOST);
    }

    fn is_paused(&self) -> Option<StoreError> {
        let (until, error) = self.paused.as_ref()?;
        (self.settings.clock.now() < *until).then(|| error.clone())
    }

    fn have(&mut self, state: State) {
        self.rows.store(state.rows, Relaxed);
        self.state = state;
    }

    /// Opens the engine again, as after a crash.
    fn open_again(&mut self) {
        self.close_engine();
        self.earliest.clear();
        let path = self.place.engine();
        let opened = Engine::open(&path, self.place.directory(), self.settings.cache_bytes);
        let opened = opened
            .map_err(|error| error.to_string())
            .and_then(|engine| {
                let state = engine.state().map_err(|error| error.to_string())?;
                let changes = state.as_ref().map_or(0, |state| state.changes);
                if changes < self.synced {
                    let synced = self.synced;
                    return Err(format!(
                        "it has {changes} changes, and {synced} were on the disc"
                    ));
                }
                Ok((engine, state))
            });
        match opened {
            Ok((engine, state)) => {
                if let Some(state) = state {
                    self.have(state);
                }
                *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Some(engine);
            }
            Err(error) => self.pause(StoreError::Unavailable(error)),
        }
    }

    /// Where the engine has something that it cannot read, another one takes its place, with all that is whole.
    fn mend(&mut self) {
        // For want of room it stops, too, and that is another thing.
        if self.place.free_bytes() < self.settings.keep_free_bytes.max(SHORT) {
            return;
        }
        let engine = self
            .engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(engine) = engine else { return };
        if !mending::is_damaged(&engine) {
            return;
        }
        let mended = self.copy(&engine);
        drop(engine);
        let mended = mended.and_then(|()| {
            self.close_engine();
            self.place.swap_engine().map_err(|error| error.to_string())
        });
        self.open_again();
        if let Err(why) = mended {
            let directory = self.place.directory().display();
            self.pause(StoreError::Unavailable(format!(
                "the store in {directory} is damaged, and what is whole of it cannot be put in order ({why}): make \
                 room, or stop this node and put back a copy of the whole directory"
            )));
        }
    }

    fn copy(&self, engine: &Engine) -> Result<(), String> {
        let (needs, has) = (self.place.engine_bytes(), self.place.free_bytes());
        if has < needs {
            return Err(format!("that takes {needs} bytes, and {has} are free"));
        }
        let path = self
            .place
            .mended_engine()
            .map_err(|error| error.to_string())?;
        let made = Engine::open(&path, self.place.directory(), self.settings.cache_bytes);
        let made = made.map_err(|error| error.to_string())?;
        let copied = mending::copy(engine, &made, &self.state);
        copied.map(drop).map_err(|error| error.to_string())
    }

    fn close_engine(&mut self) {
        let engine = self
            .engine
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // It may hold damage for impossible, also here.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(engine)));
    }

    /// Has what was written on the disc, where anything was.
    fn sync(&mut self) {
        self.synced_at = self.settings.clock.now();
        if self.synced == self.state.changes || self.is_paused().is_some() {
            return;
        }
        let mut synced = self.sync_engine();
        if let Err(fjall::Error::Poisoned) = synced {
            self.open_again();
            self.stopped += 1;
            synced = self.sync_engine();
        }
        if let Err(fjall::Error::Poisoned) = synced
            && self.is_paused().is_none()
        {
            self.stopped = 0;
            self.mend();
            synced = self.sync_engine();
        }
        match synced {
            Ok(()) => {
                self.synced = self.state.changes;
                // Without the note there is one thing less to compare when it is opened.
                let _ = self.place.note_synced(self.synced);
            }
            Err(error) => {
                let refused =
                    self.refusal("what was written cannot be brought to the disc", &error);
                self.pause(refused);
            }
        }
    }

    /// A number that was said is never said again, also after a power cut.
    fn sync_numbers(&mut self, said: &mut [Result<Said, StoreError>]) {
        let is_number = |said: &Result<Said, StoreError>| matches!(said, Ok(Said::Begun(_)));
        if !said.iter().any(is_number) {
            return;
        }
        self.sync();
        if self.synced != self.state.changes {
            let why = "a number cannot be brought to the disc".to_owned();
            for number in said.iter_mut().filter(|said| is_number(said)) {
                *number = Err(StoreError::Unavailable(why.clone()));
            }
        }
    }

    fn sync_engine(&self) -> fjall::Result<()> {
        let engine = self
            .engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        engine.map_or(Err(fjall::Error::Poisoned), |engine| engine.sync())
    }
}

fn ask(round: &mut Round<'_>, call: &Call, has_room: bool) -> Result<Said, StoreError> {
    caught(|| match call {
        Call::Put(rows, _) if !has_room && !rows.is_empty() => Err(StoreError::Full(
            "what is left of the disc is kept free".to_owned(),
        )),
        Call::Put(rows, _) => round.put(rows).map(Said::Put),
        Call::Take(id, claim, _) => round.take(*id, *claim).map(Said::Took),
        Call::End(ended, _) => round.end(ended).map(|()| Said::Ended),
        Call::Begin(after, _) => round.begin(*after).map(Said::Begun),
    })
}

/// The engine holds some damage for impossible.
fn caught<T>(read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(StoreError::Damaged("it cannot be read".to_owned())))
}
