//! One node with a participant, among members that may say anything: it does what the participant says, as
//! a driver would, and checks after each input what must hold whatever was said.
//!
//! Its six buckets are in every state that a bucket can be in: founded here and elsewhere, being pulled,
//! handed over, being rebuilt, and managed elsewhere with a session that came from here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use wadi_core::bucket::{BucketCount, BucketId, Layout, LayoutVersion, Placement};
use wadi_core::clock::Moment;
use wadi_core::member::{Incarnation, Member, NodeName, Standing};
use wadi_core::message::{Body, Message, Want};
use wadi_core::protocol::{
    Copy, Found, Holdings, Input, Output, Participant, ReturnedCopy, SealedCopy, Settings,
};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

const BUCKETS: BucketCount = BucketCount::new(6).expect("it is not zero");
/// Sessions of each bucket that have names in told messages.
const NAMED: usize = 3;

const ME: Incarnation = Incarnation::new(1);
const OTHERS: [Incarnation; 2] = [Incarnation::new(2), Incarnation::new(3)];
/// It was a member in the first layout.
const DEAD: Incarnation = Incarnation::new(4);
/// No layout here names it.
const NEWCOMER: Incarnation = Incarnation::new(5);

const LEASE: Duration = Duration::from_secs(3);

/// Outputs of one input, beside those that its own length explains.
const MOST_OUTPUTS: usize = 256;

/// By bucket, and then by number.
static IDS: LazyLock<Vec<SessionId>> = LazyLock::new(|| {
    let mut found: BTreeMap<BucketId, Vec<SessionId>> = BTreeMap::new();
    for number in 0..u32::MAX {
        let mut random = [0; 16];
        random[..4].copy_from_slice(&number.to_le_bytes());
        let id = SessionId::from_parts(random, 0);
        let named = found.entry(id.bucket(BUCKETS)).or_default();
        if named.len() < NAMED {
            named.push(id);
        }
        if found.values().map(Vec::len).sum::<usize>() == NAMED * usize::from(BUCKETS.get()) {
            break;
        }
    }
    found.into_values().flatten().collect()
});

static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(|| {
    Arc::new(Settings {
        evacuate_at_once: 2,
        evacuate_bytes: 32,
        ..Settings::default()
    })
});

/// The layouts that are agreed, one after the other.
static LAYOUTS: LazyLock<Vec<Arc<Layout>>> = LazyLock::new(|| {
    let [i2, i3] = OTHERS;
    // Who manages each bucket: at first, then when i4 has died, then when i3 goes, too.
    let managers = [
        [ME, i2, i2, ME, DEAD, i3],
        [ME, i2, ME, i2, ME, i3],
        [ME, i2, i2, ME, i2, ME],
    ];
    let members = [vec![ME, i2, i3, DEAD], vec![ME, i2, i3], vec![ME, i2]];
    let mut layouts: Vec<Arc<Layout>> = Vec::new();
    for (managers, members) in managers.into_iter().zip(members) {
        let before = layouts.last().cloned();
        let version = LayoutVersion::from_u64(layouts.len() as u64 + 1);
        let placement = |(number, manager): (usize, Incarnation)| {
            let known = before.as_ref().map(|before| &before.placements[number]);
            let kept = known.filter(|known| known.manager == manager);
            Placement {
                manager,
                deputies: members
                    .iter()
                    .copied()
                    .filter(|who| *who != manager)
                    .take(1)
                    .collect(),
                since: kept.map_or(version, |kept| kept.since),
                previous: kept.map_or(known.map(|known| known.manager), |kept| kept.previous),
            }
        };
        let layout = Layout {
            version,
            unproven: LayoutVersion::ZERO,
            members: members.iter().map(|who| (*who, member(*who))).collect(),
            placements: managers.into_iter().enumerate().map(placement).collect(),
        };
        assert_eq!(layout.check(), Ok(()));
        layouts.push(Arc::new(layout));
    }
    layouts
});

fn member(who: Incarnation) -> Member {
    Member {
        node: NodeName::new(format!("n{}", who.get())),
        address: format!("127.0.0.1:{}", who.get()),
        standing: Standing::Ready,
        place: None,
    }
}

/// A session in the node's map.
struct Resident {
    copy: Copy,
    confirmed: bool,
}

#[derive(Default)]
struct SessionMap(BTreeMap<SessionId, Resident>);

impl Holdings for SessionMap {
    fn get(&self, id: &SessionId) -> Option<Copy> {
        self.0.get(id).map(|resident| resident.copy)
    }

    fn for_each_in(&self, bucket: BucketId, each: &mut dyn FnMut(SessionId, Copy)) {
        let of_bucket = self.0.iter().filter(|(id, _)| id.bucket(BUCKETS) == bucket);
        of_bucket.for_each(|(id, resident)| each(*id, resident.copy));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) struct World {
    now: Moment,
    leased_until: Moment,
    agreed: VecDeque<Arc<Layout>>,
    layout: Arc<Layout>,
    participant: Participant,
    map: SessionMap,
    open: BTreeMap<BucketId, LayoutVersion>,
    ids: Vec<SessionId>,
    /// Sessions whose lock is waited for.
    locked: BTreeSet<SessionId>,
    /// Whether requests hold the sessions' locks now.
    busy: bool,
    /// Bytes of everything that was heard.
    heard: usize,
}

impl World {
    /// In the middle: i4 has died, and nobody has said anything since.
    pub(crate) fn new() -> Self {
        let mut agreed: VecDeque<_> = LAYOUTS.iter().cloned().collect();
        let first = agreed.pop_front().expect("there are three");
        let mut world = Self {
            now: Moment::ZERO + Duration::from_secs(1),
            leased_until: Moment::ZERO,
            layout: first.clone(),
            agreed,
            participant: Participant::new(ME, SETTINGS.clone()),
            map: SessionMap::default(),
            open: BTreeMap::new(),
            ids: IDS.clone(),
            locked: BTreeSet::new(),
            busy: false,
            heard: 0,
        };
        world.renew();
        world.give(Input::Layout(first));
        for bucket in BUCKETS.iter() {
            // At home, in the buckets that are managed here; brought by their managers' word elsewhere.
            let id = IDS[bucket.index() * NAMED];
            let placement = world.layout.placement(bucket).clone();
            if placement.manager == ME {
                world.create(id);
            } else {
                let tenure = Tenure::new(placement.since, 1);
                let (revision, state) = (Revision::new(1), Bytes::from_static(b"state"));
                let arrives = Body::State {
                    id,
                    tenure,
                    revision,
                    state,
                };
                world.says(OTHERS[1], placement.since, arrives);
                world.says(
                    placement.manager,
                    placement.since,
                    Body::Confirmed { id, tenure },
                );
            }
            assert!(world.map.0[&id].confirmed);
        }
        world.next_layout();
        world
    }

    /// Sessions that a message may well speak of.
    pub(crate) fn ids(&self) -> &[SessionId] {
        &self.ids
    }

    /// What happens on the node itself before the next message comes.
    pub(crate) fn goes_on(&mut self, what: u8) {
        let id = self.ids[usize::from(what >> 3) % self.ids.len()];
        self.busy = what >> 3 & 1 == 1;
        match what & 7 {
            0 => self.goes_off(),
            1 => self.give(Input::Find {
                id,
                want: Want::Move,
            }),
            2 => self.give(Input::Find {
                id,
                want: Want::Locate,
            }),
            3 => self.creates(),
            4 => self.ends(id),
            5 => self.unlocks(),
            6 => match what >> 3 {
                0 => self.give(Input::Evacuate),
                1 => self.next_layout(),
                2 => self.now = self.leased_until,
                3 => self.give(Input::Congested),
                _ => self.renew(),
            },
            _ => {}
        }
    }

    /// A message comes from one of those who might send any.
    pub(crate) fn hears(&mut self, who: u8, message: Message) {
        let senders = [OTHERS[0], OTHERS[1], DEAD, NEWCOMER];
        let from = senders[usize::from(who) % senders.len()];
        let bytes = wadi_transport::frame::encode(&message).expect("it can be encoded");
        self.heard += bytes.len();
        let before = self.participant.clone();
        let bucket = message.body.bucket(BUCKETS);
        let epoch = message.epoch;
        let since = self
            .layout
            .placements
            .get(bucket.index())
            .map(|placement| placement.since);
        let out = self.reads(from, &message);
        let is_void = self.now >= self.leased_until
            || !self.layout.is_member(from)
            || since.is_none_or(|since| epoch != since);
        if is_void {
            // A directory may be asked for under a layout that is not known yet; that is remembered.
            let is_early = matches!(message.body, Body::Pull { .. });
            assert!(
                is_early || self.participant == before,
                "what is void changed something"
            );
            assert!(out.len() <= 1, "what is void is answered at length");
            assert!(out.iter().all(|output| match output {
                Output::WantLayout(_) => true,
                Output::Send { to, message } =>
                    *to == from && matches!(message.body, Body::Stale { .. }),
                _ => false,
            }));
        }
        self.perform(Some((from, &message)), out);
    }

    /// This node is fenced, and comes back as somebody new with what it has.
    pub(crate) fn comes_back(mut self) {
        let held = self.map.0.len();
        let sealed = self.participant.sealed();
        let copies = std::mem::take(&mut self.map.0).into_iter();
        let copies = copies.map(|(id, Resident { copy, confirmed })| ReturnedCopy {
            id,
            tenure: copy.tenure,
            revision: copy.revision,
            held: confirmed,
            away_since: None,
            state: Bytes::new(),
        });
        let markers = self.participant.markers();
        let came_back = self
            .participant
            .clone()
            .come_back(NEWCOMER, copies.collect());
        assert!(came_back.sealed() >= held.max(sealed), "a copy was lost");
        assert_eq!(came_back.markers(), markers, "a marker was lost");
    }

    fn says(&mut self, from: Incarnation, epoch: LayoutVersion, body: Body) {
        let message = Message::new(epoch, body);
        let out = self.reads(from, &message);
        self.perform(Some((from, &message)), out);
    }

    fn renew(&mut self) {
        self.leased_until = self.now + LEASE;
        self.give(Input::Lease(self.leased_until));
    }

    fn next_layout(&mut self) {
        if self.now < self.leased_until
            && let Some(next) = self.agreed.pop_front()
        {
            self.layout = next.clone();
            self.give(Input::Layout(next));
        }
    }

    /// The next timer goes off; the lease is renewed meanwhile, unless it has run out.
    fn goes_off(&mut self) {
        let Some((at, timer)) = self.participant.next_timer() else {
            return;
        };
        let was_leased = self.now < self.leased_until;
        self.now = self.now.max(at);
        if was_leased {
            self.renew();
        }
        self.give(Input::Timer(timer));
    }

    /// A request creates a session: in an open bucket, or it is registered. Nobody has heard its id.
    fn creates(&mut self) {
        if self.ids.len() >= 2 * IDS.len() {
            return;
        }
        let mut random = [0xFF; 16];
        random[0] = self.ids.len() as u8;
        let id = SessionId::from_parts(random, 1);
        self.ids.push(id);
        if self.open.contains_key(&id.bucket(BUCKETS)) {
            self.create(id);
        } else {
            self.give(Input::Register(id));
        }
    }

    fn create(&mut self, id: SessionId) {
        let epoch = self.open[&id.bucket(BUCKETS)];
        self.put(id, Tenure::new(epoch, 0), Revision::ZERO, true);
    }

    fn put(&mut self, id: SessionId, tenure: Tenure, revision: Revision, confirmed: bool) {
        let copy = Copy { tenure, revision };
        self.map.0.insert(id, Resident { copy, confirmed });
    }

    fn ends(&mut self, id: SessionId) {
        if self.locked.contains(&id) || self.map.0.get(&id).is_none_or(|held| !held.confirmed) {
            return;
        }
        let tenure = self.map.0[&id].copy.tenure;
        self.map.0.remove(&id);
        self.give(Input::End { id, tenure });
    }

    /// Whoever waits for a lock has it now, or has waited for long enough.
    fn unlocks(&mut self) {
        for id in std::mem::take(&mut self.locked) {
            let mut inputs = VecDeque::new();
            self.seal(id, &mut inputs);
            for input in inputs {
                self.give(input);
            }
        }
    }

    fn seal(&mut self, id: SessionId, inputs: &mut VecDeque<Input>) {
        if self.map.get(&id).is_none() {
            inputs.push_back(Input::Gone(id));
        } else if self.busy {
            inputs.push_back(Input::Busy(id));
        } else {
            let copy = self.map.0.remove(&id).expect("it is there").copy;
            inputs.push_back(Input::Sealed(vec![SealedCopy {
                id,
                tenure: copy.tenure,
                revision: copy.revision,
                state: Bytes::from_static(b"sealed"),
            }]));
        }
    }

    fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.handle(input, &mut out);
        self.perform(None, out);
    }

    /// One message, without what comes of it.
    fn reads(&mut self, from: Incarnation, message: &Message) -> Vec<Output> {
        let message = message.clone();
        let mut out = Vec::new();
        self.handle(Input::Message { from, message }, &mut out);
        out
    }

    /// One input, without what comes of it.
    fn handle(&mut self, input: Input, out: &mut Vec<Output>) {
        let sealed = match &input {
            Input::Sealed(copies) => Some((copies[0].id, self.participant.sealed())),
            _ => None,
        };
        self.participant.handle(self.now, input, &self.map, out);
        assert_eq!(self.participant.check(), Ok(()));
        assert!(
            out.len() <= MOST_OUTPUTS + self.heard,
            "too much comes of one input"
        );
        assert!(
            self.remembered() <= MOST_OUTPUTS + self.heard,
            "too much is remembered"
        );
        if let Some((id, before)) = sealed {
            let is_restored = |output: &Output| matches!(output, Output::Restore { id: restored, .. } if *restored == id);
            assert!(
                self.participant.sealed() > before
                    || self.participant.keeps_marker(&id)
                    || out.iter().any(is_restored),
                "a sealed session is nowhere"
            );
        }
    }

    fn remembered(&self) -> usize {
        let participant = &self.participant;
        participant.displaced()
            + participant.sealed()
            + participant.markers()
            + participant.running_timers().count()
    }

    /// Does what came of an input, and gives what comes of that.
    fn perform(&mut self, said: Option<(Incarnation, &Message)>, out: Vec<Output>) {
        let mut inputs = VecDeque::new();
        self.perform_each(said, out, &mut inputs);
        let mut steps = 0;
        while let Some(input) = inputs.pop_front() {
            steps += 1;
            assert!(
                steps <= MOST_OUTPUTS + self.heard,
                "it talks to itself without end"
            );
            let mut out = Vec::new();
            let said = match &input {
                Input::Message { from, message } => Some((*from, message.clone())),
                _ => None,
            };
            self.handle(input, &mut out);
            let said = said.as_ref().map(|(from, message)| (*from, message));
            self.perform_each(said, out, &mut inputs);
        }
    }

    fn perform_each(
        &mut self,
        said: Option<(Incarnation, &Message)>,
        out: Vec<Output>,
        inputs: &mut VecDeque<Input>,
    ) {
        // Whoever lets go of a session or installs one does so by a valid lease.
        let may_act = self.now < self.leased_until;
        for output in out {
            match output {
                Output::Send { to, message } => {
                    let placement = self.layout.placement(message.body.bucket(BUCKETS));
                    assert_eq!(
                        message.epoch, placement.since,
                        "an epoch that is not the bucket's"
                    );
                    if to == ME {
                        inputs.push_back(Input::Message { from: ME, message });
                    }
                }
                Output::Store { .. } => unreachable!("there is no store below this node"),
                Output::Seal(id) => {
                    assert!(
                        self.manager_said(&id, said),
                        "let go without its manager's word"
                    );
                    assert!(!self.locked.contains(&id), "its lock is waited for already");
                    if self.busy && self.map.get(&id).is_some() {
                        inputs.push_back(Input::Waits(id));
                        self.locked.insert(id);
                    } else {
                        self.seal(id, inputs);
                    }
                }
                Output::Restore {
                    id,
                    tenure,
                    revision,
                    ..
                } => {
                    assert!(self.map.get(&id).is_none(), "restored in another's place");
                    self.put(id, tenure, revision, true);
                }
                Output::Install {
                    id,
                    tenure,
                    revision,
                    ..
                } => {
                    assert!(may_act, "installed without a lease");
                    let is_held = self.map.0.get(&id).is_some_and(|here| here.confirmed);
                    assert!(!is_held, "installed in place of a held session");
                    assert!(
                        !self.participant.keeps_marker(&id),
                        "installed after its end"
                    );
                    self.put(id, tenure, revision, false);
                }
                Output::Confirm { id, tenure } => {
                    assert!(may_act, "confirmed without a lease");
                    let here = self
                        .map
                        .0
                        .get_mut(&id)
                        .expect("only what is here is confirmed");
                    assert_eq!(here.copy.tenure, tenure, "confirmed under another tenure");
                    here.confirmed = true;
                }
                Output::Discard(id) => {
                    assert!(
                        self.manager_said(&id, said),
                        "dropped without its manager's word"
                    );
                    self.map.0.remove(&id);
                }
                Output::Found {
                    id,
                    found: Found::Registered(tenure),
                } => {
                    if self.map.get(&id).is_none() {
                        self.put(id, tenure, Revision::ZERO, true);
                    }
                }
                Output::Open(bucket, epoch) => {
                    let placement = self.layout.placement(bucket);
                    assert_eq!((placement.manager, placement.since), (ME, epoch));
                    self.open.insert(bucket, epoch);
                }
                Output::Close(bucket) => {
                    self.open.remove(&bucket);
                }
                Output::Found { .. }
                | Output::Ended(_)
                | Output::WantLayout(_)
                | Output::Evacuated
                | Output::Event(_) => {}
            }
        }
    }

    /// Whether this was said by the session's manager, under its bucket's epoch.
    fn manager_said(&self, id: &SessionId, said: Option<(Incarnation, &Message)>) -> bool {
        let placement = self.layout.placement(id.bucket(BUCKETS));
        said.is_some_and(|(from, message)| {
            from == placement.manager && message.epoch == placement.since
        })
    }
}
