//! The log, in memory: a voter that restarts is somebody new, so nothing has to outlive it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    Entry, EntryPayload, LogId, LogState, OptionalSend, RaftLogReader, StorageError, Vote,
};
use parking_lot::Mutex;

use super::types::{Proposal, RaftTypes, What};
use crate::authority::{Command, Electorate};

/// One replica's log; clones are the same log.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    vote: Option<Vote<u64>>,
    committed: Option<LogId<u64>>,
    /// The last entry that was purged; what is kept begins right after it.
    purged: Option<LogId<u64>>,
    entries: BTreeMap<u64, Entry<RaftTypes>>,
}

impl Log {
    /// Whether nothing ever came in: not even who votes.
    pub(super) fn is_untouched(&self) -> bool {
        let kept = self.0.lock();
        kept.entries.is_empty() && kept.purged.is_none()
    }
}

impl Log {
    /// The electorates that are named in entries after this one, whether those are ever agreed or not.
    pub(super) fn named_after(&self, index: u64) -> Vec<Electorate> {
        let kept = self.0.lock();
        let entries = kept.entries.range(index.saturating_add(1)..);
        let commands = entries.filter_map(|(_, entry)| match &entry.payload {
            EntryPayload::Normal(Proposal {
                what: What::Commands(commands),
                ..
            }) => Some(commands),
            _ => None,
        });
        let named = commands.flatten().filter_map(|command| match command {
            Command::Name(electorate) => Some(electorate.clone()),
            _ => None,
        });
        named.collect()
    }
}

impl RaftLogReader<RaftTypes> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<RaftTypes>>, StorageError<u64>> {
        let kept = self.0.lock();
        Ok(kept
            .entries
            .range(range)
            .map(|(_, entry)| entry.clone())
            .collect())
    }
}

impl RaftLogStorage<RaftTypes> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<RaftTypes>, StorageError<u64>> {
        let kept = self.0.lock();
        let last = kept.entries.values().next_back().map(|entry| entry.log_id);
        Ok(LogState {
            last_purged_log_id: kept.purged,
            last_log_id: last.or(kept.purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        self.0.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.0.lock().vote)
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId<u64>>,
    ) -> Result<(), StorageError<u64>> {
        self.0.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError<u64>> {
        Ok(self.0.lock().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<RaftTypes>,
    ) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<RaftTypes>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        {
            let mut kept = self.0.lock();
            for entry in entries {
                kept.entries.insert(entry.log_id.index, entry);
            }
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.0.lock().entries.split_off(&log_id.index);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let mut kept = self.0.lock();
        kept.entries = kept.entries.split_off(&(log_id.index + 1));
        kept.purged = Some(log_id);
        Ok(())
    }
}
