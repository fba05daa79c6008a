//! Lists, in bounded batches: what they say of a session is what its key says.

use redis::Value;
use wadi_core::bucket::BucketId;
use wadi_core::session::SessionId;
use wadi_core::store::{Head, Page, StoreError};

use super::connection::Server;
use super::error::{refused, unreadable};
use super::scripts::Script;
use super::value::{self, RowHead};

/// How many entries are looked at together.
const ENTRIES: usize = 256;
/// How many come from the list by time into the other one in one step.
const OVER: usize = 512;

pub(super) async fn list(server: &Server, page: Page) -> Result<Vec<Head>, StoreError> {
    let now = if page.due {
        Some(ripen(server).await?)
    } else {
        None
    };
    let names = &server.names;
    let list = if page.due { &names.due } else { &names.listed };
    let mut heads = Vec::new();
    let Some((mut from, to)) = bounds(&page) else {
        return Ok(heads);
    };
    while heads.len() < page.most {
        let most = ENTRIES.min(page.most - heads.len());
        let mut reads = redis::pipe();
        reads
            .cmd("ZRANGEBYLEX")
            .arg(list)
            .arg(&from)
            .arg(&to)
            .arg("LIMIT")
            .arg(0)
            .arg(most);
        let members = server.read(reads).await?.pop().ok_or_else(unreadable)?;
        let members: Vec<Vec<u8>> = members
            .and_then(|members| Ok(redis::from_redis_value(members)?))
            .map_err(|error| refused(&error))?;
        let Some(last) = members.last() else {
            break;
        };
        from = after(last);
        let is_last = members.len() < most;
        heads.extend(look(server, members, now).await?);
        if is_last {
            break;
        }
    }
    Ok(heads)
}

/// Has all that has run out in the list of what is due, a bounded step at a time; what time it is there.
async fn ripen(server: &Server) -> Result<i64, StoreError> {
    loop {
        let names = &server.names;
        let answer = server.ask_one(Script::Due, |command| {
            command.arg(2).arg(&names.ends).arg(&names.due).arg(OVER);
        });
        let Value::Array(answer) = answer.await? else {
            return Err(unreadable());
        };
        let [Value::Int(moved), Value::Int(now)] = answer[..] else {
            return Err(unreadable());
        };
        if moved < OVER as i64 {
            return Ok(now);
        }
    }
}

/// What the keys of these say. Who is gone meanwhile is not listed, nor what cannot be read.
async fn look(
    server: &Server,
    members: Vec<Vec<u8>>,
    due_at: Option<i64>,
) -> Result<Vec<Head>, StoreError> {
    let members: Vec<(BucketId, SessionId)> = members
        .iter()
        .filter_map(|member| value::read_member(member))
        .collect();
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let mut reads = redis::pipe();
    for (_, id) in &members {
        reads
            .cmd("GETRANGE")
            .arg(server.names.session(*id))
            .arg(0)
            .arg(value::HEAD - 1);
    }
    let found = server.read(reads).await?;
    let mut heads = Vec::with_capacity(members.len());
    let mut gone = Vec::new();
    for ((bucket, id), found) in members.into_iter().zip(found) {
        let found = match found {
            Ok(Value::BulkString(found)) => found,
            Err(error) if error.code() != Some("WRONGTYPE") => return Err(refused(&error)),
            _ => continue,
        };
        if found.is_empty() {
            gone.push((bucket, id));
            continue;
        }
        let Some(head) = RowHead::read(&found).filter(|head| head.bucket == bucket) else {
            continue;
        };
        if due_at.is_none_or(|now| head.given_out.is_none() && head.ends <= now) {
            heads.push(head.listed(id));
        }
    }
    if !gone.is_empty() {
        // Where somebody else removed a key, its entries would stay for ever.
        let tidied = server.ask(Script::Tidy, &gone, |(bucket, id), command| {
            let keys = server.names.keys(*id);
            command
                .arg(keys.len())
                .arg(keys)
                .arg(value::member(*bucket, *id));
        });
        tidied.await?;
    }
    Ok(heads)
}

fn after(member: &[u8]) -> Vec<u8> {
    [b"(", member].concat()
}

/// From where to where, in the words of a list by bytes; none where there can be nothing.
fn bounds(page: &Page) -> Option<(Vec<u8>, Vec<u8>)> {
    let (first, last) = (*page.buckets.start(), *page.buckets.end());
    let from = match page.after {
        Some((bucket, id)) if bucket >= first => {
            if bucket > last {
                return None;
            }
            after(&value::member(bucket, id))
        }
        _ => [b"[", &value::bucket(first)[..]].concat(),
    };
    let to = match last.get().checked_add(1) {
        Some(next) => after(&value::bucket(BucketId::new(next))),
        None => b"+".to_vec(),
    };
    (first <= last).then_some((from, to))
}
