//! The contract, on a Redis server.

use std::time::Duration;

use redis::{RedisResult, Value};
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Damaged, Ended, FENCED_FOR, Head, Kept, Page, Payload, Put, Row, SessionStore,
    StoreError, Storing, Took,
};

use super::connection::Server;
use super::error::{RedisOpenError, refused, unreadable};
use super::page;
use super::scripts::Script;
use super::settings::RedisSettings;
use super::value::{self, RowHead};

/// How many steps go out together, and about how many bytes of sessions.
const ROWS_MOST: usize = 256;
const BYTES_MOST: usize = 1 << 20;
/// How often a row that changes under one's hands is looked at again.
const LOOKS_MOST: usize = 8;

/// Sessions in a Redis or Valkey server that several nodes share.
///
/// All its keys begin with `wadi:{`, the application's name, and `}`; applications with other names may use the same
/// server. Times are counted by the server's clock on the wall, so a jump of that one is a jump for what runs out here. It
/// takes Redis from 6.2 on or Valkey, one server: a cluster of Redis is not supported, and is refused.
///
/// # What a server loses
///
/// What a call has done survives what the server's own persistence survives, and no more:
///
/// * `appendonly yes` with `appendfsync always`: everything.
/// * `appendonly yes` with `appendfsync everysec`, the default then: the server's machine, when it stops at once, takes
///   the last second or two with it. Sessions that went down then are lost, those that ended or were taken come
///   back as they were, and what was fenced is not. The server's process alone, when it is killed, takes
///   nothing, but where its disc was slower than that. [`SessionStore::begin`] waits for the disc where the server can (Redis 7.2, Valkey).
/// * without it: all since the last snapshot, or everything.
/// * Replicas follow late: when one takes over, what it had not heard is lost in the same way; and while two take themselves for the one to
///   write to, they are two stores, and nothing that is said here holds between them.
///
/// The server's `maxmemory-policy` is to be `noeviction`, or it would lose sessions whenever its memory is full. One that says otherwise is
/// refused, each time that it is connected to; one that says nothing (some providers forbid `INFO` and `CONFIG GET`) is taken at its owner's word.
/// When it is full, nothing more is put, and all else goes on.
///
/// What has run out comes into the list of it when somebody asks for that list. Where it is very much at once (millions), such a call may run
/// out of time; the next one goes on from there. Over TLS the server's certificate is held against those of the system, or those
/// in the file that `SSL_CERT_FILE` names.
#[derive(Debug)]
pub struct RedisStore {
    server: Server,
    timeout: Duration,
}

impl RedisStore {
    /// Connects. `address` is like `redis://user:password@host:6379/0`, or `rediss://…` over TLS; `application` is what all nodes of one
    /// cluster say, and nobody else.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError`], by what mends it.
    pub async fn open(
        address: &str,
        application: &str,
        settings: RedisSettings,
    ) -> Result<Self, RedisOpenError> {
        let timeout = settings.timeout;
        let opening = Server::open(address, application);
        let server = tokio::time::timeout(timeout, opening)
            .await
            .unwrap_or_else(|_| {
                let why = format!("no answer within {timeout:?}");
                Err(RedisOpenError::Unreachable(why))
            })?;
        Ok(Self { server, timeout })
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let waited = self.timeout;
        tokio::time::timeout(waited, answer)
            .await
            .unwrap_or_else(|_| {
                // It may be one that nobody hears any more, and that no error will ever end.
                self.server.forget();
                let why = format!("no answer within {waited:?}");
                Err(StoreError::Unavailable(why))
            })
    }

    async fn put_all(&self, rows: Vec<Row>) -> Result<Vec<Put>, StoreError> {
        let mut puts = Vec::with_capacity(rows.len());
        let mut failed = None;
        for batch in batches(&rows) {
            let answers = self.server.ask(Script::Put, batch, |row, command| {
                let keys = self.server.names.keys(row.id);
                command
                    .arg(keys.len())
                    .arg(keys)
                    .arg(value::id(row.id))
                    .arg(&value::bucket(row.bucket))
                    .arg(value::stamp(row.tenure, row.revision))
                    .arg(value::micros(row.left))
                    .arg(row.payload.as_bytes());
            });
            for answer in answers.await? {
                match answer {
                    Ok(Value::Int(1)) => puts.push(Put::Stored),
                    Ok(Value::Int(_)) => puts.push(Put::Refused),
                    Ok(_) => failed = failed.or_else(|| Some(unreadable())),
                    Err(error) => failed = failed.or_else(|| Some(refused(&error))),
                }
            }
        }
        match failed {
            None => Ok(puts),
            // Then it cannot be that nothing changed.
            Some(StoreError::Full(why)) if puts.contains(&Put::Stored) => {
                Err(StoreError::Unavailable(why))
            }
            Some(error) => Err(error),
        }
    }

    async fn take_one(&self, id: SessionId, claim: Claim) -> Result<Took, StoreError> {
        // What is damaged is not given out: so it is read first, and then taken as it was read.
        let mut read: Option<(Vec<u8>, Payload)> = None;
        for _ in 0..LOOKS_MOST {
            let under = match claim {
                Claim::Own => Vec::new(),
                Claim::Granted(tenure) => value::tenure(tenure),
            };
            let seen = read.as_ref().map_or(&[][..], |(version, _)| version);
            let answer = self.server.ask_one(Script::Take, |command| {
                let keys = self.server.names.keys(id);
                command
                    .arg(keys.len())
                    .arg(keys)
                    .arg(value::id(id))
                    .arg(&under)
                    .arg(seen)
                    .arg(value::millis(FENCED_FOR));
            });
            let said = Said::read(answer.await?).ok_or_else(unreadable)?;
            match (said, read.take()) {
                (Said::Nothing, _) => return Ok(Took::Nothing),
                (Said::Ended, _) => return Ok(Took::Ended),
                (Said::Superseded, _) => return Ok(Took::Superseded),
                (Said::Damaged, _) => return Err(damaged()),
                (Said::Taken(head, now), Some((_, payload))) => {
                    let kept = kept(&head, claim, now, payload);
                    return kept.map(Took::Row).ok_or_else(damaged);
                }
                (Said::Taken(..), None) => return Err(unreadable()),
                (Said::Row(head, payload), _) => {
                    let payload = Payload::read(payload).ok();
                    let payload = payload.filter(|payload| payload.is_of(id));
                    let payload =
                        payload.ok_or_else(|| StoreError::Damaged(Damaged.to_string()))?;
                    RowHead::read(&head).ok_or_else(damaged)?;
                    read = Some((value::version(&head), payload));
                }
            }
        }
        let why = "others change the same row again and again";
        Err(StoreError::Unavailable(why.to_owned()))
    }

    async fn end_all(&self, ended: Vec<Ended>) -> Result<(), StoreError> {
        for batch in ended.chunks(ROWS_MOST) {
            let answers = self.server.ask(Script::End, batch, |ended, command| {
                let keys = self.server.names.keys(ended.id);
                command
                    .arg(keys.len())
                    .arg(keys)
                    .arg(value::id(ended.id))
                    .arg(&value::bucket(ended.bucket))
                    .arg(value::millis(ended.remember_for));
            });
            for answer in answers.await? {
                // Others of them may have been done.
                answer.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            }
        }
        Ok(())
    }

    async fn number_above(&self, after: u32) -> Result<u32, StoreError> {
        // A connection of its own, which waits for the disc and keeps nobody else waiting.
        let link = self.server.connect().await?;
        let mut pipeline = redis::pipe();
        let mut begin = link.command(Script::Begin);
        begin
            .arg(1)
            .arg(&self.server.names.began)
            .arg(after)
            .arg(u32::MAX - 1);
        pipeline.add_command(begin);
        let wait = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        pipeline.cmd("WAITAOF").arg(1).arg(0).arg(wait);
        let answers = link.send(pipeline).await;
        let mut answers = answers.map_err(|error| refused(&error))?.into_iter();
        let said = answers.next().ok_or_else(unreadable)?;
        let number = match said.map_err(|error| refused(&error))? {
            Value::Int(0) => {
                let why = "it has no number left".to_owned();
                return Err(StoreError::Full(why));
            }
            Value::Int(number) => u32::try_from(number).map_err(|_| unreadable())?,
            Value::Nil => {
                let why = "the last number that it said cannot be read".to_owned();
                return Err(StoreError::Damaged(why));
            }
            _ => return Err(unreadable()),
        };
        if is_late(answers.next()) {
            // The next one could be told the same after a power cut.
            let why = "its disc is too slow".to_owned();
            return Err(StoreError::Unavailable(why));
        }
        Ok(number)
    }
}

impl SessionStore for RedisStore {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        Box::pin(self.within(self.put_all(rows)))
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        Box::pin(self.within(self.take_one(id, claim)))
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        Box::pin(self.within(self.end_all(ended)))
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        Box::pin(self.within(self.number_above(after)))
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        Box::pin(self.within(page::list(&self.server, page)))
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// What the server said of a session that is to be taken.
enum Said {
    Nothing,
    Ended,
    Superseded,
    Damaged,
    /// It is there, and nothing changed.
    Row(Vec<u8>, Vec<u8>),
    /// It was taken at this time, with this head: as it was, or as it is now where the row stays.
    Taken(Vec<u8>, i64),
}

impl Said {
    fn read(answer: Value) -> Option<Self> {
        let Value::Array(parts) = answer else {
            return None;
        };
        let mut parts = parts.into_iter();
        let Some(Value::BulkString(word)) = parts.next() else {
            return None;
        };
        Some(match (&*word, parts.next(), parts.next()) {
            (b"nothing", None, None) => Self::Nothing,
            (b"ended", None, None) => Self::Ended,
            (b"superseded", None, None) => Self::Superseded,
            (b"damaged", None, None) => Self::Damaged,
            (b"row", Some(Value::BulkString(head)), Some(Value::BulkString(payload))) => {
                Self::Row(head, payload)
            }
            (b"taken", Some(Value::BulkString(head)), Some(Value::Int(now))) => {
                Self::Taken(head, now)
            }
            _ => return None,
        })
    }
}

/// Whether a disc that was waited for was not done in time. A server that has none, or cannot wait, answers otherwise.
fn is_late(waited: Option<RedisResult<Value>>) -> bool {
    matches!(waited, Some(Ok(Value::Array(discs))) if discs.first() == Some(&Value::Int(0)))
}

fn damaged() -> StoreError {
    StoreError::Damaged("a session's key has something else".to_owned())
}

fn kept(head: &[u8], claim: Claim, now: i64, payload: Payload) -> Option<Kept> {
    let head = RowHead::read(head)?;
    let age = u64::try_from(now.saturating_sub(head.put_at)).unwrap_or(0);
    Some(Kept {
        tenure: head.tenure,
        revision: head.revision,
        given_out: match claim {
            Claim::Own => head.given_out,
            Claim::Granted(_) => head.given_before,
        },
        age: Duration::from_micros(age),
        payload,
    })
}

/// These in their order, so many and about so many bytes at once.
fn batches(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take(ROWS_MOST).take_while(|row| {
            let is_first = bytes == 0;
            bytes += row.payload.as_bytes().len();
            is_first || bytes <= BYTES_MOST
        });
        let (batch, others) = rest.split_at(fits.count());
        rest = others;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wadi_core::bucket::BucketId;
    use wadi_core::tenure::{Revision, Tenure};

    #[test]
    fn a_disc_that_was_not_waited_for_is_not_late() {
        let discs = |own: i64| Some(Ok(Value::Array(vec![Value::Int(own), Value::Int(0)])));
        assert!(is_late(discs(0)));
        let unknown = redis::RedisError::from((redis::ErrorKind::Client, "unknown command"));
        for waited in [discs(1), Some(Err(unknown)), None] {
            assert!(!is_late(waited));
        }
    }

    #[test]
    fn batches_are_small_and_complete() {
        let id = SessionId::from_parts([0; 16], 0);
        let row = |bytes: usize| Row {
            id,
            bucket: BucketId::new(0),
            tenure: Tenure::NONE,
            revision: Revision::ZERO,
            left: Duration::ZERO,
            payload: Payload::seal(id, &vec![0; bytes]),
        };
        let sizes = |rows: &[Row]| batches(rows).map(<[Row]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&vec![row(10); 600]), [256, 256, 88]);
        let large = [
            row(10),
            row(BYTES_MOST),
            row(2 * BYTES_MOST),
            row(10),
            row(10),
        ];
        assert_eq!(sizes(&large), [1, 1, 1, 2]);
    }
}
