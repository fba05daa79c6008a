//! Safety rules that a test build can switch off, to show that a test notices.
//!
//! In an ordinary build [`is_off`] is the constant `false`. Only the compiler flag
//! `--cfg wadi_sabotage="<rule>"` (or `"choose"`, and then `choose` or `choose_everywhere` at run time)
//! changes that; it is never a cargo feature, so no dependency can turn it on.

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal,)*) => {
        /// A rule that can be switched off in a test build.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule { $($(#[$doc])* $rule,)* }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// Its name on the compiler's command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// The rule of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|rule| rule.name() == name)
            }
        }

        /// Whether this build leaves `rule` out.
        #[inline]
        #[must_use]
        pub fn is_off(rule: Rule) -> bool {
            if cfg!(wadi_sabotage = "choose") {
                return chosen::get() == Some(rule);
            }
            match rule { $(Rule::$rule => cfg!(wadi_sabotage = $name),)* }
        }
    };
}

rules! {
    /// Rule 1: death is declared only after the authority's own record of the lease ran out.
    Wait = "wait",
    /// Rule 1: only a refusal proves that a process has ended, a timeout never.
    Proof = "proof",
    /// Rule 2: a node counts its lease from when it sent the renewal.
    CountFromSend = "count-from-send",
    /// Rule 2: a node counts only nine tenths of its lease.
    NineTenths = "nine-tenths",
    /// Rule 3: the lease is checked again at commit.
    CheckAtCommit = "check-at-commit",
    /// Rule 4: a message of an older epoch is refused, also a former manager's.
    Epoch = "epoch",
    /// Rule 5: whoever comes back comes back as somebody new.
    Incarnation = "incarnation",
    /// Session rules a and c: an answer, confirmation, refusal or report of an older tenure is ignored.
    OlderTenure = "older-tenure",
    /// Session rule b: the highest tenure of a dropped session is remembered.
    Floor = "floor",
    /// Session rule c and d: a sealing that ends after a report has no effect.
    LateSeal = "late-seal",
    /// Session rule d: in a rebuild only a held copy serves before everybody has answered.
    RebuildWaits = "rebuild-waits",
    /// Session rule d: whoever has an older copy is told to drop it.
    DropOlder = "drop-older",
    /// Session rule d: what was not held serves under a tenure above every one reported.
    FreshTenure = "fresh-tenure",
    /// A new manager that cannot have the directory asks everybody.
    Rebuild = "rebuild",
    /// Session rule e: a move whose party died is resolved, never given back blindly.
    Resolve = "resolve",
    /// Session rule e: "not here" is resolved, never taken for "absent".
    ResolveNotHere = "resolve-not-here",
    /// Session rule f: without a valid lease nothing is installed, confirmed or called absent.
    LeaseGate = "lease-gate",
    /// Session rule g: an end is answered only when its markers are in place.
    MarkBeforeAnswer = "mark-before-answer",
    /// Session rule g: whoever may have a copy keeps a marker, too, also when the bucket is handed over
    /// meanwhile.
    MarkCopies = "mark-copies",
    /// Session rule g: a new deputy is given the markers, so that they outlive their keepers.
    ShareMarkers = "share-markers",
    /// Session rule g: a marker beats any copy and offer.
    MarkerBeats = "marker-beats",
    /// Session rule i: a copy that may not be the latest serves only with an event.
    StaleEvent = "stale-event",
    /// Session rule j: every step is asked again until it is answered.
    AskAgain = "ask-again",
    /// Session rule j: who refused a tenure remembers it and refuses it again.
    RefuseAgain = "refuse-again",
    /// Session rule j: who is in the middle of a step takes it up with the new manager.
    TakeUp = "take-up",
    /// Hand-over: no session is created in a bucket once its directory is sealed.
    HandOverSeals = "hand-over-seals",
    /// Rebuild: after an unproven death nobody can say for a while what nobody holds.
    Doubt = "doubt",
    /// Rebuild: a proven death ends no doubt that an earlier, unproven one left.
    DoubtLasts = "doubt-lasts",
    /// Rebuild, offers: a copy that may not be the latest waits for one that may come back.
    OlderWaits = "older-waits",
    /// A message from somebody who is no member is void.
    MembersOnly = "members-only",
    /// Leaving: an older copy that waits is kept by its manager, and does not go with its node.
    Entrust = "entrust",
    /// Leaving: who has said that nothing is left takes nothing more.
    TakesNothingMore = "takes-nothing-more",
    /// Migration: a session is sealed before its state is sent.
    Seal = "seal",
    /// Migration: the sealed copy is kept until a newer one is current.
    KeepSealed = "keep-sealed",
    /// Migration: an arrival is confirmed by its manager, and not by who took it in.
    AwaitConfirm = "await-confirm",
    /// Migration: what ran on an unconfirmed arrival answers only when the arrival is confirmed.
    HeadWaits = "head-waits",
    /// Store: what nobody has is asked of the store before it is called absent.
    AskStore = "ask-store",
    /// Store: what may have been put there lately is made stale before another copy serves.
    FenceRow = "fence-row",
    /// Store: a row that was given out by an earlier manager is taken for a stale copy.
    StaleRow = "stale-row",
    /// Store: an end counts when the store knows it.
    EndRow = "end-row",
    /// A new leader of the authority waits one whole lease before it declares death without proof.
    Grace = "grace",
}

#[cfg(wadi_sabotage = "choose")]
mod chosen {
    use super::Rule;
    use std::cell::Cell;
    use std::sync::OnceLock;

    thread_local!(static CHOSEN: Cell<Option<Rule>> = const { Cell::new(None) });
    static EVERYWHERE: OnceLock<Rule> = OnceLock::new();

    pub(super) fn get() -> Option<Rule> {
        CHOSEN.get().or_else(|| EVERYWHERE.get().copied())
    }

    pub(super) fn set(rule: Option<Rule>) {
        CHOSEN.set(rule);
    }

    pub(super) fn set_everywhere(rule: Rule) {
        let first = EVERYWHERE.get_or_init(|| rule);
        assert_eq!(*first, rule, "a process leaves one rule out");
    }
}

#[cfg(not(wadi_sabotage = "choose"))]
mod chosen {
    use super::Rule;

    pub(super) const fn get() -> Option<Rule> {
        None
    }
}

/// Leaves `rule` out on this thread from now on; only in a build with `--cfg wadi_sabotage="choose"`.
#[cfg(wadi_sabotage = "choose")]
pub fn choose(rule: Option<Rule>) {
    chosen::set(rule);
}

/// Leaves `rule` out on every thread that has chosen none of its own, for as long as the process runs;
/// only in a build with `--cfg wadi_sabotage="choose"`.
///
/// # Panics
///
/// When another one was chosen before.
#[cfg(wadi_sabotage = "choose")]
pub fn choose_everywhere(rule: Rule) {
    chosen::set_everywhere(rule);
}
