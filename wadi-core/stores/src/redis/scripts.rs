//! The steps that are done in the server, each whole or not at all, and what they are called there.

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Put,
    Take,
    End,
    Due,
    Tidy,
    Begin,
    Form,
}

macro_rules! text {
    ($file:literal) => {
        concat!(
            include_str!("scripts/session.lua"),
            include_str!(concat!("scripts/", $file, ".lua"))
        )
    };
}

/// What the server is given of each, in their order.
pub(super) const TEXTS: [&str; 7] = [
    text!("put"),
    text!("take"),
    text!("end"),
    text!("due"),
    text!("tidy"),
    text!("begin"),
    text!("form"),
];

impl Script {
    /// Its place in [`TEXTS`].
    pub(super) const fn place(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::value::HEAD;

    #[test]
    fn each_step_is_in_its_place_and_knows_how_long_a_head_is() {
        for (script, word) in [
            (Script::Put, "1 where it is stored"),
            (Script::Take, "the tenure granted"),
            (Script::End, "for how long it is remembered"),
            (Script::Due, "From the list by time"),
            (Script::Tidy, "not there any more"),
            (Script::Begin, "the last number that was said"),
            (Script::Form, "the form of all that is kept"),
        ] {
            let text = TEXTS[script.place()];
            assert!(text.contains(word), "{script:?}");
            assert!(text.contains(&format!("local HEAD = {HEAD}\n")));
        }
    }
}
