//! How a node behaves: every option, its default, and how they relate.
//!
//! A [`WadiConfig`] is checked: whoever holds one need not ask again whether it makes sense. There
//! is no option that this version does not honour.

mod environment;
mod error;
mod key_file;
mod options;
mod relations;
mod serde;
mod value;

pub use error::ConfigError;
#[cfg(any(test, fuzzing))]
pub(crate) use key_file::check as check_key_file;
pub use key_file::{keys_from_file, keys_kept_at};
pub use options::{WadiConfig, WadiConfigBuilder};
pub(crate) use relations::is_node_name;
pub use value::{CookieMode, Relocate, StaleCopies, copies_from_text, duration_from_text};

pub use crate::cookie::SameSite;
pub use wadi_core::authority::OnQuorumLoss;
pub use wadi_core::tier::Copies;
