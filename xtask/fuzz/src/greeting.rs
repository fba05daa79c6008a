//! A connection's bytes as a stranger sends them: cut into frames by each of those who do that, and each
//! frame read as a greeting, as an answer, as a message and as a farewell. Refused or understood, never a
//! panic, and what is understood is written again and understood as the same.

use bytes::BytesMut;
use tokio_util::codec::Decoder;
use wadi_core::message::Message;
use wadi_transport::handshake::{Hello, LIMIT, Reply};
use wadi_transport::{frame, fuzzing};

/// One input.
pub fn target(data: &[u8]) {
    fuzzing::greetings(data);
    fuzzing::questions(data, LIMIT);
    let mut bytes = BytesMut::from(data);
    let mut codec = frame::codec(LIMIT);
    while let Ok(Some(body)) = codec.decode(&mut bytes) {
        fuzzing::farewell(&body);
        if let Ok(hello) = Hello::decode(&body) {
            let again = hello.encode().expect("it fitted");
            assert_eq!(Hello::decode(&again).expect("it is ours"), hello);
        }
        if let Ok(reply) = Reply::decode(&body) {
            let again = reply.encode().expect("it fitted");
            assert_eq!(Reply::decode(&again).expect("it is ours"), reply);
        }
        if let Ok(message) = frame::decode::<Message>(&body) {
            let again = frame::encode(&message).expect("it can be encoded");
            assert!(frame::decode::<Message>(&again).expect("it is ours") == message);
        }
    }
}
