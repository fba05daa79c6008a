//! A request's way out: the second look at the lease, and the cookie where it is due.

use http::Response;
use http::header::SET_COOKIE;
use wadi_core::session::{CookieChange, Visit};

use crate::rejection::unavailable;
use crate::served;
use crate::shared::Shared;

/// Ends the visit with this response head; a head that may not go out becomes a 503.
pub(crate) fn commit<B: Default>(
    visit: &Visit,
    mut response: Response<B>,
    shared: &Shared,
) -> Response<B> {
    let served = served::before_commit(visit, &shared.node);
    let cookie = &shared.cookie;
    let header = match visit.commit() {
        Ok(CookieChange::Keep) => {
            served::tell(response.headers_mut(), served);
            return response;
        }
        Ok(CookieChange::Set { text, max_age }) => cookie.set(&text, max_age),
        Ok(CookieChange::Clear) => cookie.clear(),
        Err(_) => return unavailable(),
    };
    served::tell(response.headers_mut(), served);
    response.headers_mut().append(SET_COOKIE, header);
    response
}
