//! What stages say: shown at once or, where a line of stages runs beside another, kept until the stage ends.
//!
//! It goes by thread: whoever starts a thread that speaks for it hands its own voice on.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

thread_local! {
    static HERE: RefCell<Voice> = const { RefCell::new(Voice::Loud) };
}

/// Where what is said goes.
#[derive(Clone, Debug)]
pub(crate) enum Voice {
    /// To standard output.
    Loud,
    /// To whoever asks for it.
    Kept(Arc<Mutex<String>>),
}

impl Voice {
    /// This thread's.
    pub(crate) fn here() -> Self {
        HERE.with_borrow(Clone::clone)
    }

    /// From now on this thread's words are kept.
    pub(crate) fn keep() {
        HERE.set(Self::Kept(Arc::default()));
    }

    pub(crate) fn is_loud(&self) -> bool {
        matches!(self, Self::Loud)
    }

    pub(crate) fn line(&self, line: &str) {
        match self {
            Self::Loud => println!("{line}"),
            Self::Kept(kept) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }

    /// What was kept since somebody asked last.
    pub(crate) fn take(&self) -> String {
        match self {
            Self::Loud => String::new(),
            Self::Kept(kept) => {
                std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}

/// As `println!`, with this thread's voice.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::say::Voice::here().line(&format!($($words)*))
    };
}

pub(crate) use say;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_kept_is_given_once_and_another_threads_voice_is_its_own() {
        let heard = thread::spawn(|| {
            Voice::keep();
            let handed_on = Voice::here();
            say!("one {}", 1);
            thread::spawn(move || handed_on.line("two"))
                .join()
                .expect("it speaks");
            (Voice::here().take(), Voice::here().take())
        });
        let heard = heard.join().expect("it speaks");
        assert_eq!(heard, ("one 1\ntwo\n".to_owned(), String::new()));
        assert!(Voice::here().is_loud());
    }
}
