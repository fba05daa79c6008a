//! Where a stray request and its session come together.

use std::fmt;

use crate::member::NodeName;

/// Decides where a request and its session, which another node holds, come together.
///
/// It is asked twice. First by the node that the request came to, which knows nothing of the session
/// yet ([`Stray::streak`] is 0); then, where the request was proxied, by the session's holder with
/// its answer, about the requests that will follow. It is called for every such request, on the
/// request's own task, and must not wait. A choice that cannot be had (a session that is in use
/// for long does not migrate, a body without a way through is not proxied) becomes the other one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no relocation policy",
    note = "implement `wadi_core::relocate::Relocation`, or use `Adaptive`, `Migrate`, `Proxy`, `Redirect` or `Neither`"
)]
pub trait Relocation: fmt::Debug + Send + Sync + 'static {
    /// Where they come together.
    fn choose(&self, stray: &Stray) -> Choice;
}

/// Where a request and its session come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// The session comes to the request's node, and stays there.
    Migrate,
    /// The request goes to the session's node.
    Proxy,
    /// The client is told to send the request to the session's node itself.
    Redirect,
    /// The request is refused (503), and its client told which node has its session.
    Refuse,
}

/// A request whose session another node holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stray {
    /// Whether its method changes nothing (RFC 9110, 9.2.1).
    pub is_safe: bool,
    /// Whether it asks for a connection of its own (a WebSocket, for instance).
    pub is_upgrade: bool,
    /// How many requests of this session, this one included, came in a row by way of the same other
    /// node. 0: not known.
    pub streak: u32,
    /// How many bytes the session's attributes take. `None`: not known.
    pub session_bytes: Option<usize>,
    /// Whether the node that the request came to is leaving, and so can hold nothing for long.
    pub is_leaving: bool,
    /// The node that the request came to: where a session that migrates comes. `None`: not known.
    pub asked: Option<NodeName>,
    /// The node that manages the session's bucket: there it is at home, which saves every other node a
    /// hop on the way to it. `None`: not known.
    pub manager: Option<NodeName>,
    /// The node that holds the session. Known where that node is asked itself, and so never while
    /// [`Stray::streak`] is 0.
    pub holder: Option<NodeName>,
}

/// A stray request goes to its session, whose client is sent there from then on; where requests keep
/// coming by way of one other node all the same, the session goes there.
///
/// A request that comes by any other way ends the row, so that a balancer which deals requests out in
/// turn moves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// After how many requests in a row the session follows. Default 4; below 2 is the same as
    /// [`Migrate`] from the second request on.
    pub follow_after: u32,
    /// Above this size a session follows only after four times as many. Default 256 KiB.
    pub large: usize,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            follow_after: 4,
            large: 256 * 1024,
        }
    }
}

impl Relocation for Adaptive {
    fn choose(&self, stray: &Stray) -> Choice {
        let is_large = stray.session_bytes.is_some_and(|bytes| bytes > self.large);
        let follow_after = self
            .follow_after
            .saturating_mul(if is_large { 4 } else { 1 });
        if stray.streak > 0 && stray.streak >= follow_after && !stray.is_leaving {
            Choice::Migrate
        } else {
            Choice::Proxy
        }
    }
}

/// Sessions always come to the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrate;

impl Relocation for Migrate {
    fn choose(&self, stray: &Stray) -> Choice {
        if stray.is_leaving {
            Choice::Proxy
        } else {
            Choice::Migrate
        }
    }
}

/// Requests always go to the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proxy;

impl Relocation for Proxy {
    fn choose(&self, _: &Stray) -> Choice {
        Choice::Proxy
    }
}

/// Clients are sent to the session's node with their requests, where they can be: a request that
/// changes nothing, from a client that follows. All others are proxied.
///
/// For clients that go to nodes by addresses of their own (the same host, a port for each node), or through
/// a balancer that goes by the route cookie and is to carry each session's traffic to one node only:
/// where proxied bodies would be a burden on the way. It costs the client a round trip, which
/// proxying does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Whether requests that may change something are redirected too. 307 keeps the method and the
    /// body, and nothing was done with the request here, so it is as safe to send as it was the first
    /// time. But a client has to send its body twice, some cannot (a stream that was read), and after
    /// a redirect to another port a browser says `Origin: null`, which defences against forged requests
    /// refuse. Default `false`.
    pub every_method: bool,
}

impl Relocation for Redirect {
    fn choose(&self, stray: &Stray) -> Choice {
        let is_asked_first = stray.streak == 0;
        if is_asked_first && !stray.is_upgrade && (stray.is_safe || self.every_method) {
            Choice::Redirect
        } else {
            Choice::Proxy
        }
    }
}

/// Neither goes to the other: a request whose session is elsewhere is refused, and its client told
/// where to.
///
/// For those who want a balancer's mistakes to be seen, and not mended: with a balancer that goes by the
/// route cookie, a client that tries again comes to its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neither;

impl Relocation for Neither {
    fn choose(&self, stray: &Stray) -> Choice {
        if stray.streak == 0 {
            Choice::Refuse
        } else {
            Choice::Proxy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(streak: u32) -> Stray {
        Stray {
            streak,
            ..Stray::default()
        }
    }

    #[test]
    fn a_session_follows_who_keeps_coming() {
        let adaptive = Adaptive::default();
        let choices = (0..=5).map(|streak| adaptive.choose(&after(streak)));
        use Choice::{Migrate, Proxy};
        assert!(choices.eq([Proxy, Proxy, Proxy, Proxy, Migrate, Migrate]));
    }

    #[test]
    fn a_large_one_needs_more_of_it_and_nobody_follows_into_a_leaving_node() {
        let adaptive = Adaptive::default();
        let large = |streak| Stray {
            session_bytes: Some(1 << 20),
            ..after(streak)
        };
        assert_eq!(adaptive.choose(&large(15)), Choice::Proxy);
        assert_eq!(adaptive.choose(&large(16)), Choice::Migrate);
        let leaving = Stray {
            is_leaving: true,
            ..after(99)
        };
        assert_eq!(adaptive.choose(&leaving), Choice::Proxy);
        assert_eq!(Migrate.choose(&leaving), Choice::Proxy);
    }

    #[test]
    fn only_what_changes_nothing_is_redirected_unless_the_owner_says_so() {
        let safe = Stray {
            is_safe: true,
            ..Stray::default()
        };
        let upgrade = Stray {
            is_upgrade: true,
            ..safe.clone()
        };
        let write = Stray::default();
        let (usual, every) = (Redirect::default(), Redirect { every_method: true });
        assert_eq!(usual.choose(&safe), Choice::Redirect);
        assert_eq!(usual.choose(&write), Choice::Proxy);
        assert_eq!(every.choose(&write), Choice::Redirect);
        for policy in [usual, every] {
            assert_eq!(policy.choose(&upgrade), Choice::Proxy);
            assert_eq!(policy.choose(&after(9)), Choice::Proxy, "nothing follows");
        }
    }

    #[test]
    fn the_simple_ones_are_simple() {
        assert_eq!(Neither.choose(&after(0)), Choice::Refuse);
        assert_eq!(Neither.choose(&after(1)), Choice::Proxy);
        assert_eq!(Migrate.choose(&after(0)), Choice::Migrate);
        assert_eq!(Proxy.choose(&after(99)), Choice::Proxy);
    }
}
