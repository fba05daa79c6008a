//! Attribute values: what may be stored, and how a value becomes bytes and a value again.
//!
//! The encoding is MessagePack with named fields, so that a later version of the program can add
//! one. What an encoder says about a value is never passed on: it may quote it.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rmp_serde::encode::Error as EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that can be stored: it can be encoded, and is shared between threads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in a session",
    label = "not storable",
    note = "a session stores owned values that are `Serialize + Send + Sync + 'static`: derive \
            `serde::Serialize`, and turn borrowed values into owned ones (`to_owned()`)"
)]
pub trait Storable: Serialize + Send + Sync + 'static {}

impl<T: Serialize + Send + Sync + 'static> Storable for T {}

/// A value that can be stored and read back.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from a session",
    label = "not a session attribute",
    note = "a session reads back values that are `Clone + Serialize + DeserializeOwned + Send + \
            Sync + 'static`: derive `Clone`, `serde::Serialize` and `serde::Deserialize`"
)]
pub trait Attribute: Storable + DeserializeOwned + Clone {}

impl<T: Storable + DeserializeOwned + Clone> Attribute for T {}

/// A stored value whose type only its writer knows.
pub(super) trait Value: Any + Send + Sync {
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), EncodeFault>;
    fn type_name(&self) -> &'static str;
}

impl<T: Storable> Value for T {
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), EncodeFault> {
        rmp_serde::encode::write_named(into, self).map_err(|error| EncodeFault::new::<T>(&error))
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }
}

/// Encodes a value, where a panic of its own must not become one of whoever asks: the background
/// task freezes the sessions of everybody.
pub(super) fn encode(value: &dyn Value, into: &mut Vec<u8>) -> Result<(), EncodeFault> {
    // What was written of it before the panic is not used.
    catch_unwind(AssertUnwindSafe(|| value.encode(into))).unwrap_or_else(|_| {
        Err(EncodeFault {
            type_name: value.type_name(),
            reason: "its `Serialize` panicked",
        })
    })
}

/// Why a value has no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EncodeFault {
    pub(super) type_name: &'static str,
    pub(super) reason: &'static str,
}

impl EncodeFault {
    fn new<T>(error: &EncodeError) -> Self {
        Self {
            type_name: std::any::type_name::<T>(),
            reason: match error {
                EncodeError::InvalidValueWrite(_) => "it is too long for MessagePack",
                EncodeError::UnknownLength => "a sequence or map does not know its length",
                EncodeError::InvalidDataModel(reason) => reason,
                EncodeError::DepthLimitExceeded => "it is nested too deeply",
                _ => "its `Serialize` gave an error",
            },
        }
    }
}

/// Which type a value is of, when it is `T`.
pub(super) fn as_type<T: Any>(value: &Arc<dyn Value>) -> Option<&T> {
    let any: &dyn Any = &**value;
    any.downcast_ref()
}

/// The value itself to change in place, when it is of type `T` and nobody else looks at it.
pub(super) fn as_type_mut<T: Any>(value: &mut Arc<dyn Value>) -> Option<&mut T> {
    let any: &mut dyn Any = Arc::get_mut(value)?;
    any.downcast_mut()
}

/// Reads `bytes` as a `T`; `None` when they are of another type.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    rmp_serde::from_slice(bytes).ok()
}

/// What `value` counts against its session's budget, in bytes.
///
/// The bytes of its encoding, measured by a walk that keeps none of them: no type says how long
/// its values are (a `&'static str` owns nothing and may be long). So a value that cannot be
/// encoded fails where it is stored.
pub(super) fn charge<T: Storable>(value: &T) -> Result<usize, EncodeFault> {
    let mut counted = Counted(0);
    rmp_serde::encode::write_named(&mut counted, value)
        .map_err(|error| EncodeFault::new::<T>(&error))?;
    Ok(counted.0)
}

struct Counted(usize);

impl io::Write for Counted {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0 += bytes.len();
        Ok(())
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
