//! The decision table of recovery: what a start can find, what is known about it, and what the start does.
//! `docs/recovery.md` is the same table with the reasons.
//!
//! Nothing here reads a disk: [`open`](super::open) finds the case, and does what is decided.

use crate::segment::scanner::Break;

/// Where the walk over the segments ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EndCase {
    /// Zeros to the end of the last file.
    CleanEnd,
    /// A blank that fills the last file.
    SealedEnd,
    /// A last file that was made and never written to: zeros to its end.
    UnwrittenEnd,
    /// A last file that is shorter than a segment.
    ShortEnd,
    /// Zeros where an entry would begin in the last file, and something behind them.
    StaleTail,
    /// Zeros where an entry would begin, and later files.
    LostPage,
    /// A file whose header is zeros, and something behind it: bytes in the file, or later files.
    LostHeader,
    /// A missing file, and later files.
    MissingSegment,
    /// A file that does not have the size of a segment, unless it is the last one and short (`ShortEnd`).
    WrongSize,
    /// A file whose header is neither zeros nor good.
    RottenSegment,
    /// A file with a good header that belongs elsewhere or to another past.
    OtherSegment,
    /// Bytes in a segment that do not continue the log.
    Broken(Break),
    /// The log leads past a noted point, but has another chain value there than the noted one.
    OtherHistory,
    /// The segments do not lead to the recorded start of the log.
    StartNotReached,
}

/// What is known about the place where the walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Known {
    /// Nothing says that anything from there on was ever synced.
    Nothing,
    /// Something from there on was synced, and may have been acknowledged.
    Durable,
    /// Something from there on is committed.
    Committed,
}

/// What a start does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The log ends there. Nothing is lost, nothing is reported.
    Keep,
    /// The log ends there. The bytes behind were never synced, so nobody relied on them: the start removes and reports
    /// them.
    Cut,
    /// The log begins anew at its recorded start: a reset was interrupted.
    Restart,
    /// The start refuses the directory and leaves it as it is.
    Refuse,
}

/// The table. An unfinished write or an unsynced name explains the cases that are cut. Nothing of that kind explains
/// the others, so the entries there may have been acknowledged, however little is known.
pub(crate) const fn decide(case: EndCase, known: Known) -> Decision {
    use Break::*;
    use EndCase::*;
    match (case, known) {
        (CleanEnd | SealedEnd | UnwrittenEnd, Known::Nothing) => Decision::Keep,
        (ShortEnd | StaleTail | LostPage | LostHeader | MissingSegment, Known::Nothing) => Decision::Cut,
        (Broken(TornHeader | TornBody | TornBlank), Known::Nothing) => Decision::Cut,
        (CleanEnd | SealedEnd | UnwrittenEnd, Known::Durable | Known::Committed) => Decision::Refuse,
        (ShortEnd | StaleTail | LostPage | LostHeader | MissingSegment, Known::Durable | Known::Committed) => {
            Decision::Refuse
        }
        (Broken(TornHeader | TornBody | TornBlank), Known::Durable | Known::Committed) => Decision::Refuse,
        (Broken(RottenHeader | RottenBody | RottenBlank | OtherPast | Unreadable), _) => Decision::Refuse,
        (WrongSize | RottenSegment | OtherSegment | OtherHistory, _) => Decision::Refuse,
        // A reset lowers the noted durable point before it records the new start.
        (StartNotReached, Known::Nothing) => Decision::Restart,
        (StartNotReached, Known::Durable | Known::Committed) => Decision::Refuse,
    }
}

impl EndCase {
    /// The name of the case's row in `docs/recovery.md`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CleanEnd => "clean end",
            Self::SealedEnd => "sealed end",
            Self::UnwrittenEnd => "unwritten end",
            Self::ShortEnd => "short end",
            Self::StaleTail => "stale tail",
            Self::LostPage => "lost page",
            Self::LostHeader => "lost header",
            Self::MissingSegment => "missing segment",
            Self::WrongSize => "wrong size",
            Self::RottenSegment => "rotten segment",
            Self::OtherSegment => "other segment",
            Self::Broken(Break::TornHeader) => "torn header",
            Self::Broken(Break::TornBody) => "torn body",
            Self::Broken(Break::TornBlank) => "torn blank",
            Self::Broken(Break::RottenHeader) => "rotten header",
            Self::Broken(Break::RottenBody) => "rotten body",
            Self::Broken(Break::RottenBlank) => "rotten blank",
            Self::Broken(Break::OtherPast) => "other past",
            Self::Broken(Break::Unreadable) => "unreadable",
            Self::OtherHistory => "other history",
            Self::StartNotReached => "start not reached",
        }
    }
}

/// What a start finds of the hard-state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HardStateCase {
    /// Two votes with consecutive numbers, and two readable progress slots.
    Good,
    /// No file, or one of another size.
    Absent,
    /// A vote is missing or cannot be read: the vote that is left may be the older one.
    VoteLost,
    /// One of the two progress slots cannot be read: the other one is as good, but may be a little older.
    NoteHalfLost,
    /// Neither progress slot can be read.
    NoteLost,
    /// A slot of a later format.
    Later,
}

/// What a start does about a file beside the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileDecision {
    /// Uses the file.
    Use,
    /// Uses the file, and reports the lost part.
    Report,
    /// Makes the file anew.
    Make,
    /// Refuses the directory and leaves it as it is.
    Refuse,
}

/// The table of the hard state. A directory is `fresh` if it has no segment and no start: it never had a vote.
pub(crate) const fn decide_state(case: HardStateCase, fresh: bool) -> FileDecision {
    match (case, fresh) {
        (HardStateCase::Good, _) => FileDecision::Use,
        (HardStateCase::NoteHalfLost, _) => FileDecision::Report,
        (HardStateCase::Absent, true) => FileDecision::Make,
        (HardStateCase::Absent, false) => FileDecision::Refuse,
        (HardStateCase::VoteLost | HardStateCase::NoteLost | HardStateCase::Later, _) => FileDecision::Refuse,
    }
}

/// What a start finds of the index file of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum IndexCase {
    /// The index fits the segment.
    Fits,
    /// No file, as after a crash soon after the roll.
    Absent,
    /// Damaged, or of another segment.
    Unusable,
    /// Of a later format.
    Later,
}

/// The table of index files. A bad index is no reason to refuse, because it is only a cache. A later format is: the
/// program that wrote it may have written other files in a later format too.
pub(crate) const fn decide_index(case: IndexCase) -> FileDecision {
    match case {
        IndexCase::Fits => FileDecision::Use,
        IndexCase::Absent | IndexCase::Unusable => FileDecision::Make,
        IndexCase::Later => FileDecision::Refuse,
    }
}
