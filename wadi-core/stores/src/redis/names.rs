//! What keys are called. All of one application's begin the same, and nobody else's do.

use wadi_core::session::SessionId;

use super::error::RedisOpenError;
use super::value;

const LONGEST: usize = 64;

/// The keys of one application.
#[derive(Clone, Debug)]
pub(super) struct Names {
    sessions: String,
    /// Which sessions there are, by bucket and id.
    pub(super) listed: String,
    /// Of those that were not given out, when they run out.
    pub(super) ends: String,
    /// Of those, the ones that did, by bucket and id.
    pub(super) due: String,
    /// The last number that was said.
    pub(super) began: String,
    /// The form of all this.
    pub(super) form: String,
}

impl Names {
    pub(super) fn of(application: &str) -> Result<Self, RedisOpenError> {
        let is_sign = |sign: u8| sign.is_ascii_alphanumeric() || b"-_.".contains(&sign);
        if application.is_empty()
            || application.len() > LONGEST
            || !application.bytes().all(is_sign)
        {
            return Err(RedisOpenError::Name);
        }
        let named = |what: &str| format!("wadi:{{{application}}}:{what}");
        Ok(Self {
            sessions: named("session:"),
            listed: named("listed"),
            ends: named("ends"),
            due: named("due"),
            began: named("began"),
            form: named("form"),
        })
    }

    pub(super) fn session(&self, id: SessionId) -> Vec<u8> {
        [self.sessions.as_bytes(), &value::id(id)].concat()
    }

    /// What a step on one session touches, in the order in which its script has them.
    pub(super) fn keys(&self, id: SessionId) -> Vec<Vec<u8>> {
        let lists = [&self.listed, &self.ends, &self.due];
        let mut keys = vec![self.session(id)];
        keys.extend(lists.map(|list| list.as_bytes().to_vec()));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_applications_cannot_be_taken_for_one_another() {
        assert!(Names::of("shop-2.eu_west").is_ok());
        let long = "a".repeat(65);
        for name in ["", "a b", "a:b", "{a}", "ä", long.as_str()] {
            assert!(
                matches!(Names::of(name), Err(RedisOpenError::Name)),
                "{name}"
            );
        }
    }
}
