//! What the fuzz target calls beside what is public: the readers that stand before the decoders.
//!
//! Only in test and fuzz builds. Each function takes any bytes and panics when a promise is broken.

use std::io::Cursor;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::farewell::Farewell;
use crate::greeting;
use crate::handshake::LIMIT;
use crate::medium::Socket;
use crate::network::read_frame;

/// Of something that never waits: the bytes are all there.
fn now<T>(reading: impl Future<Output = T>) -> T {
    let mut reading = pin!(reading);
    match reading
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(read) => read,
        Poll::Pending => panic!("it waits, and everything is there"),
    }
}

/// A connection's first bytes, as they are read before anybody is believed: frame by frame, each
/// bounded, and nothing of the next.
pub fn greetings(bytes: &[u8]) {
    let there = Cursor::new(bytes.to_vec());
    let mut socket: Socket = Box::new(tokio::io::join(there, tokio::io::sink()));
    let mut read = 0;
    while let Ok(body) = now(greeting::receive(&mut socket)) {
        assert!(body.len() <= LIMIT, "a greeting over the limit was read");
        assert_eq!(body, &bytes[read + 4..read + 4 + body.len()]);
        read += 4 + body.len();
    }
}

/// Questions as they come on a stream: each bounded, and nothing of the next.
pub fn questions(mut bytes: &[u8], limit: usize) {
    let all = bytes;
    let mut read = 0;
    while let Ok(body) = now(read_frame(&mut bytes, limit)) {
        assert!(body.len() <= limit, "a question over the limit was read");
        assert_eq!(body, all[read + 4..read + 4 + body.len()]);
        read += 4 + body.len();
    }
}

/// The last frame of a connection: whatever it says does no harm.
pub fn farewell(body: &[u8]) {
    let farewell = Farewell::decode(body);
    assert_eq!(Farewell::decode(&farewell.encode()), farewell);
    assert!(farewell.to_string().is_ascii());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_begins_with_holds() {
        greetings(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x09abc");
        greetings(b"\x16\x03\x01\0abcd");
        questions(b"\0\0\0\x02ab\0\0\0\x01c\0\0\x10\0", 64);
        farewell(&[1]);
        farewell(&[]);
        farewell(&[77, 1]);
    }
}
