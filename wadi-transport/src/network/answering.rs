//! Answering other nodes' questions: on each stream one at a time, as long as its asker keeps it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wadi_core::transport::Answers;

use super::pool::kept_there;
use crate::shared::Shared;
use crate::stream::{Stream, Streams};

/// How long a stream's end may take to be said.
const PARTING: Duration = Duration::from_secs(1);

/// A frame's body is read in parts of this many bytes, so that its length alone takes no memory.
const PART: usize = 64 * 1024;

/// Who answers; another one may take over at any time.
pub(super) type Answering = Arc<RwLock<Arc<dyn Answers>>>;

/// Answers what comes on these streams, until the endpoint closes.
pub(super) async fn answer_all(shared: Arc<Shared>, mut streams: Streams, answering: Answering) {
    while let Some(mut stream) = streams.next().await {
        let (served, answering) = (shared.clone(), answering.clone());
        shared.spawn(async move {
            let closing = served.closing.clone();
            let answered = answer(&served, &mut stream, &answering);
            if let Some(Err(why)) = closing.run_until_cancelled(answered).await {
                tracing::debug!("questions of {} ended: {why}", stream.peer());
            }
            // Its end is understood from the connection's closing, if it cannot be said.
            let _ = timeout(PARTING, stream.shutdown()).await;
        });
    }
}

async fn answer(shared: &Shared, stream: &mut Stream, answering: &Answering) -> io::Result<()> {
    let limits = &shared.limits;
    loop {
        let length = timeout(kept_there(limits.question_idle), stream.read_u32()).await;
        let length = match length {
            Ok(Ok(length)) => length,
            // Nobody asks any more.
            Err(_) => return Ok(()),
            Ok(Err(cause)) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(cause)) => return Err(cause),
        };
        let question = read_body(stream, length, limits.question_bytes);
        let question = timeout(limits.write, question).await??;
        let answers = answering.read().clone();
        let mut more = [0];
        let answer = tokio::select! {
            answer = timeout(limits.answer, answers.answer(question)) => answer?,
            more = stream.read(&mut more) => {
                // One question at a time: either nobody waits for the answer, or it is no asker of ours.
                return match more? {
                    0 => Ok(()),
                    _ => Err(io::Error::other("a question came before the last was answered")),
                };
            }
        };
        if answer.len() > limits.question_bytes {
            let (length, limit) = (answer.len(), limits.question_bytes);
            let why = format_args!(
                "an answer has {length} bytes, and may have {limit}: raise question_bytes on all nodes"
            );
            shared.journal.failed(&why, true);
            return Ok(());
        }
        timeout(limits.write, write_frame(stream, &answer)).await??;
    }
}

/// Writes one frame, and sends it.
pub(super) async fn write_frame(stream: &mut Stream, body: &Bytes) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    if body.len() <= PART {
        let mut frame = BytesMut::with_capacity(body.len() + 4);
        frame.put_u32(length);
        frame.extend_from_slice(body);
        stream.write_all(&frame).await?;
    } else {
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(body).await?;
    }
    stream.flush().await
}

/// Reads one frame's body.
pub(crate) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> io::Result<Bytes> {
    let length = stream.read_u32().await?;
    read_body(stream, length, limit).await
}

async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    length: u32,
    limit: usize,
) -> io::Result<Bytes> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > limit {
        let told = format!("a frame of {length} bytes, which may have {limit}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    }
    let mut body = BytesMut::new();
    while body.len() < length {
        let missing = length - body.len();
        body.reserve(missing.min(PART));
        if stream.read_buf(&mut (&mut body).limit(missing)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(body.freeze())
}
