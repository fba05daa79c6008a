//! What a member says, hostile or broken: its frames are cut and decoded, and what decodes is handled by a
//! participant that holds sessions, with some of them on their way. Never a panic, and the rules hold.
//!
//! Besides frames as they are, messages are made of few bytes each (`terse.rs`), because chance alone
//! would hardly name a session that exists. These travel as frames, too.

mod world;

use bytes::{Buf, BufMut, BytesMut};
use serde::Deserialize;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};
use wadi_core::message::Message;
use wadi_transport::frame;

use crate::terse::Terse;
use world::World;

/// As long as a frame may be here; a real one may be longer, which inputs of this size cannot show.
const LIMIT: usize = 4096;

/// Whether a step's message is told in few bytes, rather than a frame as it is.
const TERSE: u8 = 0x80;

/// One input.
pub fn target(data: &[u8]) {
    let mut rest = BytesMut::from(data);
    let mut world = World::new();
    let mut codec = frame::codec(LIMIT);
    while rest.len() >= 2 {
        let (step, who) = (rest.get_u8(), rest.get_u8());
        world.goes_on(step & !TERSE);
        let message = if step & TERSE == 0 {
            next(&mut codec, &mut rest)
        } else {
            let mut terse = Terse::new(&rest, world.ids());
            let told = Message::deserialize(&mut terse).ok();
            let taken = rest.len() - terse.left();
            rest.advance(taken);
            told.map(|message| sent(&mut codec, &message))
        };
        match message {
            Some(message) => world.hears(who, message),
            None => break,
        }
    }
    world.comes_back();
}

/// The next message on a connection; `None` where the connection ends, or waits for more.
fn next(codec: &mut LengthDelimitedCodec, bytes: &mut BytesMut) -> Option<Message> {
    loop {
        let body = codec.decode(bytes).ok()??;
        assert!(body.len() <= LIMIT, "a frame over the limit was read");
        if body.is_empty() {
            continue;
        }
        let message: Message = frame::decode(&body).ok()?;
        let again = frame::encode(&message).expect("it can be encoded");
        assert!(frame::decode::<Message>(&again).expect("it is ours") == message);
        return Some(message);
    }
}

/// The same message after it has travelled.
fn sent(codec: &mut LengthDelimitedCodec, message: &Message) -> Message {
    let body = frame::encode(message).expect("it can be encoded");
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(body.len()).expect("it is small"));
    bytes.put(body);
    let arrived = next(codec, &mut bytes).expect("what was encoded is decoded");
    assert!(arrived == *message, "it arrived as another one");
    arrived
}
