//! A request whose session is busy, or may be in the store below this node's memory; on a node that is alone.
//!
//! It looks, waits, has the session come up and looks again, for a bounded number of times. Where the store
//! does not answer, the request is refused: it is never given a new session in the place of one that may
//! exist.

use std::sync::Arc;

use tracing::Instrument;
use wadi_core::evict::{AfterIdle, Any, Evicter, MoreThan, Pressure};
use wadi_core::session::{Look, Origin, PresentedId, SessionError, SessionId, Sessions, Visit};
use wadi_core::store::SessionStore;
use wadi_core::tier::{Promoted, Recall, Tier, Told};

use crate::config::WadiConfig;
use crate::future::Waited;
use crate::mode::Wanted;
use crate::seldom::Seldom;
use crate::served::How;
use crate::shared::Shared;
use crate::way::Way;
use crate::why::Why;

/// How often one session is looked for: each time it was there, and has gone down or come up meanwhile.
const LOOKS: usize = 8;
/// In thousandths of the memory: above it, sessions go down for its sake.
const MOST_MEMORY: u16 = 900;

/// The store below these sessions, with the usual policy where none is given.
pub(crate) fn tier(
    sessions: &Arc<Sessions>,
    store: Arc<dyn SessionStore>,
    evicter: Option<Arc<dyn Evicter>>,
    config: &WadiConfig,
) -> Arc<Tier> {
    let evicter = chosen(evicter, config);
    let sessions_of_tier = Arc::clone(sessions);
    let copies = config.store_copies();
    let tier = Tier::new(sessions_of_tier, store, evicter, copies, Box::new(tell));
    let tier = Arc::new(tier);
    sessions.among(Arc::new(Recall::by(&tier)));
    tier
}

/// The policy that is given, or the usual one.
pub(crate) fn chosen(evicter: Option<Arc<dyn Evicter>>, config: &WadiConfig) -> Arc<dyn Evicter> {
    evicter.unwrap_or_else(|| {
        let most = config.max_sessions() / 10 * 9;
        let for_all = Any(MoreThan(most), Pressure(MOST_MEMORY));
        Arc::new(Any(AfterIdle(config.demote_after()), for_all))
    })
}

/// Brings a request to one of these sessions; else it goes on without one.
pub(crate) async fn seek(
    shared: Arc<Shared>,
    presented: Vec<PresentedId>,
    mut origin: Origin,
    wanted: Wanted,
) -> Result<Waited, Why> {
    for presented in presented {
        match find(&shared, &presented, wanted).await? {
            Ok(waited) => return Ok(waited),
            // Of several dead ids the first that was ours says what became of it.
            Err(gone) if origin == Origin::New => origin = gone,
            Err(_) => {}
        }
    }
    let visit = Visit::without(Arc::clone(&shared.sessions), origin);
    Ok((served(visit, wanted), None))
}

/// One session; else what became of it.
async fn find(
    shared: &Arc<Shared>,
    presented: &PresentedId,
    wanted: Wanted,
) -> Result<Result<Waited, Origin>, Why> {
    let sessions = &shared.sessions;
    let id = *presented.unverified();
    let mut way = None;
    for _ in 0..LOOKS {
        match sessions.look(presented, sessions.now()) {
            Look::Here(guard) => {
                let visit = Visit::holding(Arc::clone(sessions), guard, id);
                if wanted.exclusive && !visit.try_alone() {
                    match visit.alone().await {
                        Ok(()) => {}
                        Err(SessionError::Moved) => continue,
                        Err(_) => return Err(Why::InUse),
                    }
                }
                return Ok(Ok((served(visit, wanted), way)));
            }
            Look::Busy(held) => {
                let sessions = Arc::clone(sessions);
                let span = tracing::info_span!("wadi.wait");
                let visit = if wanted.exclusive {
                    sessions.wait_alone(presented, held).instrument(span).await
                } else {
                    sessions.wait(presented, held).instrument(span).await
                };
                match visit {
                    Ok(visit) if visit.origin() == Origin::Existing => {
                        return Ok(Ok((served(visit, wanted), way)));
                    }
                    // It has gone down while it was waited for.
                    Ok(visit) if visit.origin() == Origin::Lost && shared.tier.is_some() => {}
                    Err(SessionError::Moved) if shared.tier.is_some() => {}
                    Ok(visit) => return Ok(Err(visit.origin())),
                    Err(_) => return Err(Why::InUse),
                }
            }
            Look::NotHere(Origin::Lost) => {
                let Some(tier) = &shared.tier else {
                    return Ok(Err(Origin::Lost));
                };
                let span = tracing::info_span!("wadi.promote");
                match tier.promote(id).instrument(span).await {
                    Promoted::Look => way = Some(Box::new(Way::new(How::Promoted, 0, false))),
                    Promoted::Absent => return Ok(Err(became(sessions, &id))),
                    Promoted::Unreadable | Promoted::Damaged => return Ok(Err(Origin::Lost)),
                    Promoted::Unavailable => return Err(Why::Store),
                }
            }
            Look::NotHere(origin) => return Ok(Err(origin)),
        }
    }
    Err(Why::InUse)
}

/// What became of a session that is nowhere, and of whose end nothing is known.
fn became(sessions: &Sessions, id: &SessionId) -> Origin {
    let age = u64::from(sessions.unix_seconds().saturating_sub(id.issued()));
    if age > sessions.limits().absolute.as_secs() {
        Origin::Expired
    } else {
        Origin::Lost
    }
}

fn served(visit: Visit, wanted: Wanted) -> Arc<Visit> {
    if wanted.read_only {
        visit.make_read_only();
    }
    Arc::new(visit)
}

/// Says what an operator may want to mend.
fn tell(what: Told) {
    static NOT_PROMOTED: Seldom = Seldom::new();
    static NOT_COPIED: Seldom = Seldom::new();
    static NOT_ENDED: Seldom = Seldom::new();
    static NOT_SWEPT: Seldom = Seldom::new();
    static REFUSED: Seldom = Seldom::new();
    static UNREADABLE: Seldom = Seldom::new();
    static UNENCODABLE: Seldom = Seldom::new();
    match what {
        Told::NotDemoted(error) => {
            tracing::warn!(%error, "sessions stay in memory, for the store does not take them");
        }
        Told::NotPromoted(error) if NOT_PROMOTED.is_due() => {
            tracing::error!(
                %error,
                "the store does not give sessions, so their requests are answered with 503"
            );
        }
        Told::NotCopied(error) if NOT_COPIED.is_due() => {
            tracing::warn!(
                %error,
                "the store does not take copies of sessions in memory: what was written since is lost if this \
                 process is killed"
            );
        }
        Told::NotEnded(error) if NOT_ENDED.is_due() => {
            tracing::warn!(%error, "the store was not told of sessions that have ended; it is told again");
        }
        Told::NotSwept(error) if NOT_SWEPT.is_due() => {
            tracing::warn!(%error, "the store does not say which sessions have run out");
        }
        Told::Refused if REFUSED.is_due() => tracing::error!(
            "the store has something newer of a session than this node, so the session stays in memory: \
             another node uses the store, which is to be one node's alone"
        ),
        Told::Unreadable if UNREADABLE.is_due() => tracing::error!(
            "a session in the store is damaged, or of another version, and counts as lost; it stays there"
        ),
        Told::Unencodable { type_name, reason } if UNENCODABLE.is_due() => tracing::warn!(
            type_name,
            reason,
            "a session stays in memory, because a value in it cannot be encoded"
        ),
        // Said a moment ago.
        _ => {}
    }
}
