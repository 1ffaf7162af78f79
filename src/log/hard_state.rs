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
    /// Opens the file; in a directory that is `fresh` (it has no log yet), makes it.
    ///
    /// # Errors
    /// If the system fails, or if a vote may have been lost: a node that cannot know whom it voted for must not vote.
    pub(super) fn open(disk: &dyn Disk, path: &Path, fresh: bool) -> Result<Self, OpenError> {
        let io = |op| move |source| OpenError::Io { op, path: path.to_owned(), source };
        let found = match disk.open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("open")(error)),
        };
        let file = match found {
            Some(file) if file.size() == HARD_STATE_SIZE => file,
            _ if fresh => {
                disk.write_atomic(path, &blank_file()).map_err(io("create"))?;
                disk.open(path).map_err(io("open"))?
            }
            found => {
                let found = found.map_or("no file".into(), |file| format!("{} bytes", file.size()));
                return Err(damaged(path, "vote", found, format!("{HARD_STATE_SIZE} bytes beside the log")));
            }
        };
        let read = |slot: u64| {
            let mut bytes = [0; SLOT];
            file.read_at(&mut bytes, slot * SLOT_DISTANCE).map(|()| bytes).map_err(io("read"))
        };
        // What is read may only be in the page cache, after a sync that failed in an earlier life: a vote that is acted
        // on must be on the disk, and so must a commit point that is not written again before it moves.
        for slot in 0..4 {
            file.write_at(&read(slot)?, slot * SLOT_DISTANCE).map_err(io("rewrite"))?;
        }
        let vote = newest_vote(path, decode_vote(&read(0)?), decode_vote(&read(1)?))?;
        file.sync().map_err(io("sync"))?;
        // A commit slot may be torn: it was not synced. The other one, or none, is as good.
        let commit =
            [decode_commit(&read(2)?), decode_commit(&read(3)?)].into_iter().filter_map(valid).max_by_key(|c| c.0);
        let (commit_sequence, commit) = commit.unwrap_or_default();
        let (vote_sequence, vote) = vote;
        let vote = (vote != NOBODY).then_some(vote);
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

/// The votes a file is made with.
const NOBODY: HardVote = HardVote { term: 0, node: None, granted: false };

fn blank_file() -> Vec<u8> {
    let mut bytes = vec![0; HARD_STATE_SIZE as usize];
    for sequence in 0..2 {
        let start = sequence as usize * SLOT_DISTANCE as usize;
        bytes[start..start + SLOT].copy_from_slice(&encode_vote(sequence, &NOBODY));
    }
    bytes
}

fn valid<T>(slot: Slot<T>) -> Option<(u64, T)> {
    match slot {
        Slot::Valid(sequence, value) => Some((sequence, value)),
        Slot::Empty | Slot::Damaged => None,
    }
}

/// The vote that counts.
///
/// The file is made with two votes for nobody, and votes go to the two slots in turn, each synced before the next: so
/// the slots always hold two that follow each other. Anything else means that a vote was lost or went bad, and the one
/// that is left may be stale. Slots are smaller than a disk's sector, so a torn slot is as good as impossible; stop
/// rather than guess.
fn newest_vote(path: &Path, even: Slot<HardVote>, odd: Slot<HardVote>) -> Result<(u64, HardVote), OpenError> {
    match (even, odd) {
        (Slot::Valid(even, vote), Slot::Valid(odd, _)) if even == odd + 1 => Ok((even, vote)),
        (Slot::Valid(even, _), Slot::Valid(odd, vote)) if odd == even + 1 => Ok((odd, vote)),
        (even, odd) => {
            let found = format!("{} and {}", named(&even), named(&odd));
            Err(damaged(path, "vote slot", found, "two votes that follow each other".into()))
        }
    }
}

fn named(slot: &Slot<HardVote>) -> String {
    match slot {
        Slot::Empty => "an empty slot".into(),
        Slot::Valid(sequence, _) => format!("vote number {sequence}"),
        Slot::Damaged => "a slot whose checksum does not fit".into(),
    }
}

fn damaged(path: &Path, what: &'static str, found: String, expected: String) -> OpenError {
    Damage { file: path.to_owned(), position: 0, index: 0, what, found, expected }.into()
}
