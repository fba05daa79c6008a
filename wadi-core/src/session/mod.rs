//! Sessions: ids, attributes, the lock, and a node's map of the sessions it holds.

mod arrivals;
mod attributes;
mod census;
mod departures;
mod desk;
mod detached;
mod endings;
mod error;
mod frozen;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod id;
mod keyring;
mod known;
mod leave;
mod limits;
mod map;
mod mint;
mod named;
mod nested;
mod origin;
mod others;
mod registered;
mod renew;
mod resting;
mod seal;
mod sessions;
mod sweep;
mod value;
mod visit;
mod waiting;

pub use census::Census;
pub use departures::{Departed, Departures, Parting};
pub use detached::{Attachment, DetachedSession};
pub use endings::Ending;
pub use error::{DecodeFault, SessionError};
pub use frozen::check_frozen;
pub use held::{Guard, Held};
pub use id::SessionId;
pub use keyring::{ClusterKey, ID_TEXT_LEN, IdText, Keyring, PresentedId};
pub use leave::CookieChange;
pub use limits::{Expiry, Limits};
pub use map::SessionMap;
#[cfg(feature = "test-util")]
pub use mint::Bits;
pub use mint::{Managed, ManagesAll};
pub use origin::Origin;
pub use others::{Others, Recalling, Registering};
pub use registered::Registered;
pub use resting::Resting;
pub use seal::{CopyOut, Drained, Sealed, aged, check_sealed, kept, leaving};
pub use sessions::{Look, Sessions, SessionsBuilder};
pub use sweep::Swept;
pub use value::{Attribute, Storable};
pub use visit::Visit;
