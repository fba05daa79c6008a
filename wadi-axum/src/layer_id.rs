//! Which layer of a program's something belongs to: an application may have several.

use std::sync::Arc;

/// One layer, however often it was cloned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerId(usize);

impl LayerId {
    /// Of the layer whose services share this; good for as long as that exists.
    pub(crate) fn of<T>(shared: &Arc<T>) -> Self {
        Self(Arc::as_ptr(shared).addr())
    }
}
