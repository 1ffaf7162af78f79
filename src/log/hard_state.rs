//! The hard-state file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, OpenError};
use crate::format::hard_state::{
    CommitPoint, HARD_STATE_SIZE, HardVote, SLOT, SLOT_DISTANCE, Slot, decode_commit, decode_vote, encode_commit,
    encode_vote,
};

/// Two slots for the vote, two for the commit point.
#[derive(Debug)]
pub(super) struct HardStateFile {
    file: Arc<dyn DiskFile>,
    vote: Option<HardVote>,
    vote_sequence: u64,
    commit: CommitPoint,
    commit_sequence: u64,
}

impl HardStateFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// If the system fails, or if a vote may have been lost: a node that cannot know whom it voted for must not vote.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, OpenError> {
        let io = |op| move |source| OpenError::Io { op, path: path.to_owned(), source };
        let file = match disk.open(path) {
            Ok(file) if file.size() == HARD_STATE_SIZE => file,
            Ok(file) => {
                let (found, expected) = (file.size().to_string(), HARD_STATE_SIZE.to_string());
                return Err(damaged(path, "size", found, expected));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.create(path, HARD_STATE_SIZE).map_err(io("create"))?
            }
            Err(error) => return Err(io("open")(error)),
        };
        let read = |slot: u64| {
            let mut bytes = [0; SLOT];
            file.read_at(&mut bytes, slot * SLOT_DISTANCE).map(|()| bytes).map_err(io("read"))
        };
        // What is read may only be in the page cache, after a sync that failed in an earlier life: a vote that is acted
        // on must be on the disk.
        for slot in [0, 1] {
            file.write_at(&read(slot)?, slot * SLOT_DISTANCE).map_err(io("rewrite"))?;
        }
        let vote = newest_vote(path, decode_vote(&read(0)?), decode_vote(&read(1)?))?;
        file.sync().map_err(io("sync"))?;
        // A commit slot may be torn: it was not synced. The other one, or none, is as good.
        let commit =
            [decode_commit(&read(2)?), decode_commit(&read(3)?)].into_iter().filter_map(valid).max_by_key(|c| c.0);
        let (commit_sequence, commit) = commit.unwrap_or_default();
        let (vote_sequence, vote) = vote.map_or((0, None), |(sequence, vote)| (sequence, Some(vote)));
        Ok(Self { file, vote, vote_sequence, commit, commit_sequence })
    }

    pub(super) fn vote(&self) -> Option<HardVote> {
        self.vote.clone()
    }

    /// Writes and syncs the vote.
    pub(super) fn save_vote(&mut self, vote: HardVote) -> io::Result<()> {
        let sequence = self.vote_sequence + 1;
        self.file.write_at(&encode_vote(sequence, &vote), (sequence % 2) * SLOT_DISTANCE)?;
        self.file.sync()?;
        (self.vote, self.vote_sequence) = (Some(vote), sequence);
        Ok(())
    }

    pub(super) fn commit_point(&self) -> CommitPoint {
        self.commit
    }

    /// Writes the commit point if it has moved. Not synced: it may only lag.
    pub(super) fn remember_commit(&mut self, point: CommitPoint) -> io::Result<()> {
        if point.number <= self.commit.number {
            return Ok(());
        }
        let sequence = self.commit_sequence + 1;
        self.file.write_at(&encode_commit(sequence, &point), (2 + sequence % 2) * SLOT_DISTANCE)?;
        (self.commit, self.commit_sequence) = (point, sequence);
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn valid<T>(slot: Slot<T>) -> Option<(u64, T)> {
    match slot {
        Slot::Valid(sequence, value) => Some((sequence, value)),
        Slot::Empty | Slot::Damaged => None,
    }
}

/// The vote that counts.
///
/// A damaged slot beside a valid one may be a write that a crash tore: that vote never counted, the valid one does.
/// But it may also be the newer vote gone bad, and then the valid one is stale. A torn write can only hit the slot that
/// is not the newest, so a slot of sequence n beside a damaged one leaves both open. Votes are synced before anybody
/// hears of them and slots are smaller than a disk's sector, so a torn slot is as good as impossible; stop rather than
/// guess.
fn newest_vote(path: &Path, even: Slot<HardVote>, odd: Slot<HardVote>) -> Result<Option<(u64, HardVote)>, OpenError> {
    if even == Slot::Damaged || odd == Slot::Damaged {
        return Err(damaged(path, "vote slot", "checksum does not fit".into(), "a vote".into()));
    }
    Ok([even, odd].into_iter().filter_map(valid).max_by_key(|slot| slot.0))
}

fn damaged(path: &Path, what: &'static str, found: String, expected: String) -> OpenError {
    Damage { file: path.to_owned(), position: 0, index: 0, what, found, expected }.into()
}
