//! The hard-state file: the vote, and the notes of how far the log is committed and durable.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, is_bad_sector};
use crate::error::{Damage, Mismatch, OpenError};
use crate::format::FORMAT_VERSION;
use crate::format::hard_state::{
    HARD_STATE_SIZE, HardVote, LogPoint, Noted, SLOT, SLOT_DISTANCE, Slot, Slots, decode_noted, decode_vote,
    encode_noted, encode_vote,
};
use crate::log::recovery::{FileDecision, HardStateCase, decide_state};

/// The open hard-state file. It has two slots for the vote and two for the note of the log's progress; each write takes
/// the older slot, so that a crash leaves the newer one good.
#[derive(Debug)]
pub(in crate::log) struct HardStateFile {
    file: Arc<dyn DiskFile>,
    state: State,
}

/// The newest vote and note, with the sequence numbers of their slots.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    vote: Option<HardVote>,
    vote_sequence: u64,
    noted: Noted,
    noted_sequence: u64,
}

impl HardStateFile {
    /// Opens the file; in a directory that is `fresh` (it has no log yet), makes it.
    ///
    /// # Errors
    /// As [`HardStateFile::inspect`], or if the system fails a write.
    pub(in crate::log) fn open(disk: &dyn Disk, path: &Path, fresh: bool) -> Result<Self, OpenError> {
        Self::inspect(disk, path, fresh)?.open(disk, path)
    }

    /// Reads the file and writes nothing.
    ///
    /// # Errors
    /// If the system fails, or if a vote or both notes may have been lost: a node that cannot know whom it voted for
    /// must not vote.
    pub(in crate::log) fn inspect(disk: &dyn Disk, path: &Path, fresh: bool) -> Result<Inspected, OpenError> {
        let io = |op| move |source| OpenError::Io { op, path: path.to_owned(), source };
        let found = match disk.open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("open")(error)),
        };
        let (file, look) = match found {
            Some(file) if file.size() == HARD_STATE_SIZE => {
                let look = look(file.as_ref()).map_err(io("read"))?;
                (Some(file), look)
            }
            found => {
                let found = found.map_or("no file".into(), |file| format!("{} bytes", file.size()));
                (None, Looked { case: HardStateCase::Absent, what: "file", found, state: State::new(), version: None })
            }
        };
        match (decide_state(look.case, fresh), file) {
            // The file is as it was made, so nothing proves that its name is on the disk: it is made anew.
            (FileDecision::Use, _) if look.state == State::new() => {
                Ok(Inspected { file: None, state: look.state, lost: None })
            }
            (FileDecision::Use, Some(file)) => Ok(Inspected { file: Some(file), state: look.state, lost: None }),
            (FileDecision::Report, Some(file)) => {
                Ok(Inspected { file: Some(file), state: look.state, lost: Some(look.found) })
            }
            (FileDecision::Make, _) => Ok(Inspected { file: None, state: look.state, lost: None }),
            _ => {
                let file = path.to_owned();
                if let Some(found) = look.version {
                    return Err(OpenError::Version { file, found, supported: FORMAT_VERSION });
                }
                let expected = match look.case {
                    HardStateCase::Absent => format!("{HARD_STATE_SIZE} bytes beside the log"),
                    _ => "two votes with consecutive numbers, and a readable progress slot".into(),
                };
                let mismatch = Mismatch::new(look.what, look.found, expected);
                Err(Damage { file, position: 0, index: 0, mismatch }.into())
            }
        }
    }

    pub(in crate::log) fn vote(&self) -> Option<HardVote> {
        self.state.vote.clone()
    }

    /// Writes and syncs the vote.
    pub(in crate::log) fn save_vote(&mut self, vote: HardVote) -> io::Result<()> {
        let sequence = self.state.vote_sequence + 1;
        self.file.write_at(&encode_vote(sequence, &vote), (sequence % 2) * SLOT_DISTANCE)?;
        self.file.sync()?;
        (self.state.vote, self.state.vote_sequence) = (Some(vote), sequence);
        Ok(())
    }

    pub(in crate::log) fn noted(&self) -> Noted {
        self.state.noted
    }

    /// Notes how far the log is committed and durable, if that has changed, and that no zeros are being written. Does
    /// not sync: a start may find an older note, but never a note of entries that are not durable.
    pub(in crate::log) fn note(&mut self, committed: LogPoint, durable: LogPoint) -> io::Result<()> {
        let noted = self.state.noted;
        let newer = if committed.number > noted.committed.number { committed } else { noted.committed };
        self.write(Noted { committed: newer, durable, clearing: false })
    }

    /// To be called before the log removes the entries behind `cut` and overwrites them with zeros. Notes that nothing
    /// behind `cut` is durable, and that a start must write the zeros again. Durable on return.
    pub(in crate::log) fn lower(&mut self, cut: LogPoint) -> io::Result<()> {
        let durable = self.state.noted.durable.at_most(cut);
        self.write(Noted { durable, clearing: true, ..self.state.noted })?;
        self.file.sync()
    }

    /// Notes `durable` in place of a durable point that a repair has removed from the log. Durable on return.
    pub(in crate::log) fn correct(&mut self, durable: LogPoint) -> io::Result<()> {
        self.write(Noted { durable, ..self.state.noted })?;
        self.file.sync()
    }

    fn write(&mut self, noted: Noted) -> io::Result<()> {
        if noted == self.state.noted { Ok(()) } else { self.put(noted) }
    }

    fn put(&mut self, noted: Noted) -> io::Result<()> {
        let sequence = self.state.noted_sequence + 1;
        self.file.write_at(&encode_noted(sequence, &noted), (2 + sequence % 2) * SLOT_DISTANCE)?;
        (self.state.noted, self.state.noted_sequence) = (noted, sequence);
        Ok(())
    }

    pub(in crate::log) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Overwrites both slots with `noted`, which names earlier points: no later start reads the old ones. Durable on
    /// return.
    pub(in crate::log) fn take_back(&mut self, noted: Noted) -> io::Result<()> {
        for _ in 0..2 {
            self.put(noted)?;
            self.file.sync()?;
        }
        Ok(())
    }
}

/// A hard-state file that was read and can be used, or must be made.
pub(in crate::log) struct Inspected {
    /// `None` if it has to be made.
    file: Option<Arc<dyn DiskFile>>,
    state: State,
    /// What the two progress slots hold, if one of them is lost.
    lost: Option<String>,
}

impl Inspected {
    pub(in crate::log) fn noted(&self) -> Noted {
        self.state.noted
    }

    /// Makes the file if it is not there. Writes and syncs all slots again, so that what was read is on the disk.
    ///
    /// # Errors
    /// If the system fails.
    pub(in crate::log) fn open(self, disk: &dyn Disk, path: &Path) -> Result<HardStateFile, OpenError> {
        let io = |op| move |source| OpenError::Io { op, path: path.to_owned(), source };
        if let Some(found) = self.lost {
            tracing::warn!(file = %path.display(), %found, "cannot read a progress slot, uses the other one");
        }
        let file = match self.file {
            Some(file) => file,
            None => {
                disk.write_atomic(path, &blank_file()).map_err(io("create"))?;
                disk.open(path).map_err(io("open"))?
            }
        };
        let mut state = self.state;
        // After a sync that failed in an earlier process, the bytes read here may be in the page cache only. A vote
        // must be on the disk before this node acts on it, and so must a note, which `write` skips until it changes.
        for slot in 0..4 {
            let at = slot * SLOT_DISTANCE;
            match slot_bytes(file.as_ref(), slot).map_err(io("read"))? {
                Some(bytes) => file.write_at(&bytes, at),
                // An unreadable slot is a note: with an unreadable vote `inspect` refuses. Its whole page is written,
                // because the system would read the page first to write a part of it.
                None => {
                    state.noted_sequence += 1;
                    let mut page = [0; SLOT_DISTANCE as usize];
                    page[..SLOT].copy_from_slice(&encode_noted(state.noted_sequence, &state.noted));
                    file.write_at(&page, at)
                }
            }
            .map_err(io("rewrite"))?;
        }
        file.sync().map_err(io("sync"))?;
        Ok(HardStateFile { file, state })
    }
}

/// The content of a hard-state file, and the row of the recovery table for it.
struct Looked {
    case: HardStateCase,
    /// The part of the file that is wrong, and its content; only for messages.
    what: &'static str,
    found: String,
    state: State,
    /// Format version of the first slot that has a later one.
    version: Option<u32>,
}

impl State {
    fn new() -> Self {
        Self { vote: None, vote_sequence: 1, noted: Noted::default(), noted_sequence: 1 }
    }
}

/// The bytes of a slot; `None` if the disk cannot read them.
fn slot_bytes(file: &dyn DiskFile, slot: u64) -> io::Result<Option<[u8; SLOT]>> {
    let mut bytes = [0; SLOT];
    match file.read_at(&mut bytes, slot * SLOT_DISTANCE) {
        Err(error) if is_bad_sector(&error) => Ok(None),
        read => read.map(|()| Some(bytes)),
    }
}

pub(in crate::log) fn slots(file: &dyn DiskFile) -> io::Result<Slots> {
    let (vote, note) = (|at| slot(file, at, decode_vote), |at| slot(file, at, decode_noted));
    Ok(([vote(0)?, vote(1)?], [note(2)?, note(3)?]))
}

fn slot<T>(file: &dyn DiskFile, at: u64, decode: impl Fn(&[u8]) -> Slot<T>) -> io::Result<Slot<T>> {
    Ok(slot_bytes(file, at)?.map_or(Slot::Unreadable, |bytes| decode(&bytes)))
}

fn look(file: &dyn DiskFile) -> io::Result<Looked> {
    let (votes, notes) = slots(file)?;
    let version = votes.iter().find_map(later).or_else(|| notes.iter().find_map(later));
    let mut state = State::new();
    let looked = |case, what, found, state| Ok(Looked { case, what, found, state, version });
    if version.is_some() {
        return looked(HardStateCase::Later, "format version", String::new(), state);
    }
    let [even, odd] = votes;
    let (named_even, named_odd) = (named(&even), named(&odd));
    let Some((sequence, vote)) = newest_vote(even, odd) else {
        return looked(HardStateCase::VoteLost, "vote slot", format!("{named_even} and {named_odd}"), state);
    };
    (state.vote_sequence, state.vote) = (sequence, (vote != NOBODY).then_some(vote));
    let lost = notes.iter().filter(|note| !matches!(note, Slot::Valid(..))).count();
    let found = format!("{} and {}", named(&notes[0]), named(&notes[1]));
    let newest = notes.into_iter().filter_map(valid).max_by_key(|note| note.0);
    let case = match (lost, &newest) {
        (0, _) => HardStateCase::Good,
        (_, Some(_)) => HardStateCase::NoteHalfLost,
        (_, None) => HardStateCase::NoteLost,
    };
    if let Some((sequence, noted)) = newest {
        // The lost slot may have been the newer one: the next note goes there, with a number that slot never had.
        (state.noted_sequence, state.noted) = (sequence + 2 * lost as u64, noted);
    }
    looked(case, "progress slot", found, state)
}

/// The vote in both vote slots of a new file. Both progress slots of a new file hold an empty note, so an empty slot is
/// a lost one.
const NOBODY: HardVote = HardVote { term: 0, node: None, granted: false };

fn blank_file() -> Vec<u8> {
    let mut bytes = vec![0; HARD_STATE_SIZE as usize];
    for sequence in 0..2 {
        let start = sequence as usize * SLOT_DISTANCE as usize;
        bytes[start..start + SLOT].copy_from_slice(&encode_vote(sequence, &NOBODY));
        let start = start + 2 * SLOT_DISTANCE as usize;
        bytes[start..start + SLOT].copy_from_slice(&encode_noted(sequence, &Noted::default()));
    }
    bytes
}

fn valid<T>(slot: Slot<T>) -> Option<(u64, T)> {
    match slot {
        Slot::Valid(sequence, value) => Some((sequence, value)),
        Slot::Empty | Slot::Damaged { .. } | Slot::Version { .. } | Slot::Unreadable => None,
    }
}

/// The vote that counts.
///
/// A new file holds two votes for nobody, and later votes go to the two slots in turn, each synced before the next: so
/// the slots always hold two votes with consecutive numbers. Anything else means that a vote was lost or went bad, and
/// the vote that is left may be stale: stop rather than guess. A slot is smaller than a disk's sector, so a torn slot
/// is as good as impossible.
fn newest_vote(even: Slot<HardVote>, odd: Slot<HardVote>) -> Option<(u64, HardVote)> {
    match (even, odd) {
        (Slot::Valid(even, vote), Slot::Valid(odd, _)) if even == odd + 1 => Some((even, vote)),
        (Slot::Valid(even, _), Slot::Valid(odd, vote)) if odd == even + 1 => Some((odd, vote)),
        _ => None,
    }
}

fn later<T>(slot: &Slot<T>) -> Option<u32> {
    if let Slot::Version { found } = slot { Some(*found) } else { None }
}

fn named<T>(slot: &Slot<T>) -> String {
    match slot {
        Slot::Empty => "an empty slot".into(),
        Slot::Valid(sequence, _) => format!("number {sequence}"),
        Slot::Damaged { found, computed } => format!("a slot with checksum {found:#010x}, computed {computed:#010x}"),
        Slot::Version { found } => format!("a slot of format version {found}"),
        Slot::Unreadable => "a slot that cannot be read".into(),
    }
}
