//! What a node says of itself, for whoever asks at any time.

use std::sync::Arc;

use crate::bucket::Layout;
use crate::member::{Incarnation, Standing};

/// How far a node is.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Who it is now; `None` while it is no member.
    pub incarnation: Option<Incarnation>,
    /// The latest layout that it knows.
    pub layout: Option<Arc<Layout>>,
    /// How far its evacuation is, while it leaves.
    pub evacuation: Option<Evacuation>,
    /// How its leaving ended, when it has left.
    pub left: Option<Left>,
}

/// How far an evacuation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evacuation {
    /// Sessions that were here when it began.
    pub began_with: usize,
    /// Sessions that are still here.
    pub left: usize,
}

/// How a node left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whether everything was handed over, and the cluster agreed.
    pub in_good_order: bool,
    /// Sessions that found no other place in time.
    pub left_behind: usize,
}

impl Status {
    /// How far it is in its life as a member.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let (me, layout) = (self.incarnation?, self.layout.as_ref()?);
        layout.members.get(&me).map(|member| member.standing)
    }
}
