//! What waits for one connection: encoded messages in two lanes, small ones and large ones.
//!
//! What waits is gathered as it comes and written together, so many small messages cost one write; a few
//! are written by whoever sends them. A small message never stands behind large ones that have not begun to be written; within a lane,
//! order is kept.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use crate::frame::{self, FrameError};
use crate::wire::Wire;

/// The longest message of the small lane, encoded: what decides and confirms, and carries no state.
const SMALL: usize = 512;

/// Bytes gathered before they are written together.
pub(crate) const GATHER: usize = 64 * 1024;

/// So much is written by whoever sends it; with more than that a task of its own is busy long enough.
const FEW: usize = 16 * 1024;

/// A message that is not sent, and will not be.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection now. Ask again later; [`crate::Link::state`] says why.
    #[error("there is no connection to this peer now")]
    NotConnected,
    /// As much as may wait already waits: the peer is slower than the sender. Ask again later.
    #[error("as much as may wait for this peer already waits")]
    Full,
    /// It is longer than a message may be. Sending it again fails again.
    #[error(
        "the message has {length} bytes encoded, and may have {limit}: raise frame_bytes on all nodes"
    )]
    TooLong {
        /// Its length, encoded.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// Its own serialisation failed. Sending it again fails again.
    #[error(transparent)]
    Encoding(#[from] FrameError),
}

/// What may wait; each lane has room for as much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) frame_bytes: usize,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What waits for one connection.
pub(crate) struct Outgoing {
    room: Room,
    lanes: Mutex<Lanes>,
    changed: Notify,
    wire: Wire,
}

#[derive(Default)]
struct Lanes {
    small: Lane,
    large: Lane,
    /// Where a message is encoded before it is known how long it is.
    scratch: BytesMut,
    closed: bool,
}

/// Whole frames, in order, gathered into pieces.
#[derive(Default)]
struct Lane {
    pieces: VecDeque<Piece>,
    messages: usize,
    bytes: usize,
}

struct Piece {
    frames: BytesMut,
    messages: usize,
}

impl Outgoing {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room,
            lanes: Mutex::default(),
            changed: Notify::new(),
            wire: Wire::none(),
        }
    }

    /// The writing end of its connection.
    pub(crate) const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Adds a message, if there is room for it. It goes out at [`Outgoing::flush`] at the latest.
    pub(crate) fn push<M: Serialize>(&self, message: &M) -> Result<(), SendError> {
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            return Err(SendError::NotConnected);
        }
        let Lanes {
            small,
            large,
            scratch,
            ..
        } = &mut *lanes;
        scratch.clear();
        scratch.put_u32(0);
        frame::encode_into(scratch, message)?;
        let (length, limit) = (scratch.len() - frame::LENGTH_BYTES, self.room.frame_bytes);
        let header = u32::try_from(length).ok().filter(|_| length <= limit);
        let header = header.ok_or(SendError::TooLong { length, limit })?;
        let lane = if length <= SMALL { small } else { large };
        if lane.messages >= self.room.messages || lane.bytes + length > self.room.bytes {
            return Err(SendError::Full);
        }
        scratch[..frame::LENGTH_BYTES].copy_from_slice(&header.to_be_bytes());
        lane.messages += 1;
        lane.bytes += length;
        if length > GATHER / 4 {
            // Another like it may follow, and it does not occupy memory for as long as the connection lives.
            let next = BytesMut::with_capacity(scratch.len().min(2 * GATHER));
            lane.pieces.push_back(Piece {
                frames: std::mem::replace(scratch, next),
                messages: 1,
            });
        } else {
            let piece = lane.piece_for(length);
            piece.frames.extend_from_slice(scratch);
            piece.messages += 1;
        }
        let is_much = lanes.small.bytes + lanes.large.bytes > FEW;
        drop(lanes);
        if is_much {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// What waits goes out, by the connection's own task.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Has an empty frame wait, which says that this node is alive.
    pub(crate) fn show_life(&self) {
        let mut lanes = self.lanes.lock();
        let sign = lanes.small.piece_for(0);
        sign.frames.put_u32(0);
        lanes.small.bytes += frame::LENGTH_BYTES;
    }

    /// What waits goes out: here and now, where it is little and nothing else is being written.
    pub(crate) fn flush(&self) {
        let Some(mut end) = self.wire.idle() else {
            self.changed.notify_one();
            return;
        };
        loop {
            let frames = {
                let mut lanes = self.lanes.lock();
                if lanes.small.bytes + lanes.large.bytes > FEW {
                    break;
                }
                match lanes.take() {
                    Some(frames) => frames,
                    None => return,
                }
            };
            if !end.try_write(frames) {
                break;
            }
        }
        drop(end);
        self.changed.notify_one();
    }

    /// Whole frames to be written next, small ones first; waits for some. `None` when it is closed
    /// and nothing waits any more. One task calls it, and has written what it had before; cancelled, it
    /// loses nothing.
    pub(crate) async fn next(&self) -> Option<BytesMut> {
        loop {
            if let Some(frames) = self.wire.claim(|| self.lanes.lock().take()) {
                return Some(frames);
            }
            if self.is_closed_and_empty() {
                return None;
            }
            self.changed.notified().await;
        }
    }

    fn is_closed_and_empty(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.closed && lanes.small.messages + lanes.large.messages == 0
    }

    /// Whether something waits.
    pub(crate) fn has_more(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.small.messages + lanes.large.messages > 0
    }

    /// Takes nothing more; what waits is still given out.
    pub(crate) fn close(&self) {
        self.lanes.lock().closed = true;
        self.changed.notify_one();
    }
}

impl Lanes {
    fn take(&mut self) -> Option<BytesMut> {
        self.small.take().or_else(|| self.large.take())
    }
}

impl Lane {
    fn piece_for(&mut self, length: usize) -> &mut Piece {
        let needed = length + frame::LENGTH_BYTES;
        let fits = |piece: &Piece| piece.frames.len() + needed <= GATHER;
        if !self.pieces.back().is_some_and(fits) {
            self.pieces.push_back(Piece {
                frames: BytesMut::with_capacity(needed),
                messages: 0,
            });
        }
        self.pieces.back_mut().expect("one was just made sure of")
    }

    fn take(&mut self) -> Option<BytesMut> {
        let Piece { frames, messages } = self.pieces.pop_front()?;
        self.messages -= messages;
        self.bytes -= frames.len() - messages * frame::LENGTH_BYTES;
        Some(frames)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::AsyncReadExt;

    use super::*;

    const ROOM: Room = Room {
        frame_bytes: 1 << 20,
        messages: 100,
        bytes: 2 << 20,
    };

    fn outgoing() -> Outgoing {
        Outgoing::new(ROOM)
    }

    async fn lengths(outgoing: &Outgoing) -> Vec<u32> {
        let mut lengths = Vec::new();
        outgoing.close();
        while let Some(mut frames) = outgoing.next().await {
            while !frames.is_empty() {
                let mut frame = frames.split_to(4);
                let length = bytes::Buf::get_u32(&mut frame);
                let _ = frames.split_to(length as usize);
                lengths.push(length);
            }
        }
        lengths
    }

    fn long(length: usize) -> Bytes {
        vec![7; length].into()
    }

    #[tokio::test]
    async fn small_ones_overtake_large_ones_and_nothing_else_does() {
        let outgoing = outgoing();
        for length in [1000, 10, 2000, 20, 600, 30] {
            outgoing.push(&long(length)).unwrap();
        }
        // Each has two or three bytes more for what it is.
        assert_eq!(lengths(&outgoing).await, [12, 22, 32, 1003, 2003, 603]);
    }

    #[tokio::test]
    async fn a_lane_that_is_full_leaves_the_other_its_room() {
        let outgoing = outgoing();
        for _ in 0..2 {
            outgoing.push(&long(1_000_000)).unwrap();
        }
        let full = outgoing.push(&long(1_000_000));
        assert!(matches!(full, Err(SendError::Full)));
        (0..100).for_each(|_| outgoing.push(&7_u8).unwrap());
        assert!(matches!(outgoing.push(&7_u8), Err(SendError::Full)));
        let too_long = outgoing.push(&long(1 << 20));
        assert!(matches!(too_long, Err(SendError::TooLong { .. })));
        assert_eq!(lengths(&outgoing).await.len(), 102);
        assert!(matches!(outgoing.push(&7_u8), Err(SendError::NotConnected)));
    }

    #[tokio::test]
    async fn a_sign_of_life_is_a_frame_of_its_own() {
        let outgoing = outgoing();
        outgoing.push(&7_u8).unwrap();
        outgoing.show_life();
        outgoing.push(&long(20)).unwrap();
        assert_eq!(lengths(&outgoing).await, [1, 0, 22]);
        assert!(!outgoing.has_more());
        assert_eq!(outgoing.lanes.lock().small.bytes, 0);
    }

    #[tokio::test]
    async fn a_little_is_written_by_whoever_flushes_and_much_by_the_connections_task() {
        let (here, mut there) = tokio::io::duplex(1 << 20);
        let (_read, write) = tokio::io::split(Box::new(here) as crate::medium::Socket);
        let outgoing = outgoing();
        outgoing.wire().connect(write);
        outgoing.push(&long(1000)).unwrap();
        outgoing.push(&7_u8).unwrap();
        outgoing.flush();
        assert!(!outgoing.has_more());
        let mut read = vec![0; 5 + 4 + 1003];
        there.read_exact(&mut read).await.unwrap();
        assert_eq!(read[..5], [0, 0, 0, 1, 7]);
        (0..20).for_each(|_| outgoing.push(&long(1000)).unwrap());
        outgoing.flush();
        assert!(outgoing.has_more(), "it is too much");
        assert!(outgoing.next().await.is_some());
        outgoing.push(&7_u8).unwrap();
        outgoing.flush();
        assert!(outgoing.has_more(), "the task writes");
    }

    #[tokio::test]
    async fn what_was_taken_makes_room() {
        let outgoing = outgoing();
        for _ in 0..10 {
            (0..100).for_each(|_| outgoing.push(&long(1000)).unwrap());
            while outgoing.has_more() {
                outgoing.next().await.unwrap();
            }
        }
    }

    /// What was sent, by number, as the other side reads it; ends with the connection.
    async fn numbers(mut there: tokio::io::DuplexStream) -> (Vec<u32>, Vec<u32>) {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        while let Ok(length) = there.read_u32().await {
            let mut body = vec![0; length as usize];
            there.read_exact(&mut body).await.unwrap();
            let bytes: Bytes = frame::decode(&body).unwrap();
            let number = u32::from_be_bytes(*bytes.first_chunk().unwrap());
            assert!(bytes[4..].iter().all(|byte| *byte == number as u8));
            let lane = if body.len() <= SMALL {
                &mut small
            } else {
                &mut large
            };
            lane.push(number);
        }
        (small, large)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn frames_stay_whole_and_in_order_whoever_writes_them() {
        const ALL: u32 = 1000;
        const LONG: std::time::Duration = std::time::Duration::from_secs(30);
        for (room, buffered) in [(1, 1), (13, 7), (64, 200), (700, 64), (20_000, 3000)] {
            let (here, there) = tokio::io::duplex(room);
            // What is written is not sent off before it is flushed, as with TLS.
            let here = tokio::io::BufWriter::with_capacity(buffered, here);
            let (_read, write) = tokio::io::split(Box::new(here) as crate::medium::Socket);
            let outgoing = std::sync::Arc::new(outgoing());
            outgoing.wire().connect(write);
            let reading = tokio::spawn(numbers(there));
            let writing = tokio::spawn({
                let outgoing = outgoing.clone();
                async move {
                    while let Some(frames) = outgoing.next().await {
                        outgoing.wire().write_all(&frames).await.unwrap();
                        if !outgoing.has_more() {
                            outgoing.wire().flush().await.unwrap();
                        }
                    }
                    let mut write = outgoing.wire().disconnect().unwrap();
                    tokio::io::AsyncWriteExt::shutdown(&mut write)
                        .await
                        .unwrap();
                }
            });
            let mut given = (Vec::new(), Vec::new());
            for number in 0..ALL {
                let is_large = number % 7 == 0;
                let length = if is_large { 600 } else { 4 } + number as usize % 90;
                let mut bytes = vec![number as u8; length];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                let bytes = Bytes::from(bytes);
                let pushed = async {
                    while outgoing.push(&bytes).is_err() {
                        outgoing.flush();
                        tokio::task::yield_now().await;
                    }
                };
                let pushed = tokio::time::timeout(LONG, pushed).await;
                assert!(pushed.is_ok(), "{room} {buffered}: nothing is written");
                let lane = if is_large { &mut given.1 } else { &mut given.0 };
                lane.push(number);
                if number % 3 == 0 {
                    outgoing.flush();
                }
                if number % 40 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            outgoing.flush();
            outgoing.close();
            tokio::time::timeout(LONG, writing).await.unwrap().unwrap();
            let seen = tokio::time::timeout(LONG, reading).await.unwrap().unwrap();
            assert!(seen == given, "{room} {buffered}");
        }
    }
}
