//! Names of the files in a ledger's directory.

use crate::disk::TEMPORARY;

/// Locked by the process that has the directory open.
pub(crate) const LOCK: &str = "lock";
/// What the directory was made for.
pub(crate) const IDENTITY: &str = "identity";
/// Vote and commit point.
pub(crate) const HARD_STATE: &str = "hard-state";
/// Where the log begins, and the membership there.
pub(crate) const START: &str = "start";
/// A segment file prepared ahead, not in use yet.
pub(crate) const SPARE: &str = "spare";
/// Blocks set aside so that a purge can be recorded on a full disk.
pub(crate) const BALLAST: &str = "ballast";
/// Ending of a segment's index.
const INDEX: &str = ".index";
/// Ending of a file's name while a start renames the file away and back.
const RENAMING: &str = ".again";

/// The segment file that begins at `position`: 20 digits.
pub(crate) fn segment(position: u64) -> String {
    format!("{position:020}")
}

/// The index file of the segment that begins at `position`.
pub(crate) fn index(position: u64) -> String {
    format!("{position:020}{INDEX}")
}

/// The name of the file `name` while a start renames it away and back.
pub(in crate::log) fn renaming(name: &str) -> String {
    format!("{name}{RENAMING}")
}

/// The name that a file called `name` is to get back; `None` if no start was renaming it.
pub(in crate::log) fn final_name(name: &str) -> Option<&str> {
    let usual = name.strip_suffix(RENAMING)?;
    (usual == START || matches!(kind(usual), Some(FileKind::Segment(_)))).then_some(usual)
}

/// A file of a ledger's directory by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A segment and its position.
    Segment(u64),
    /// The index of a segment.
    Index(u64),
    /// A file that a start was renaming when it died.
    Renaming,
    /// One of the fixed names.
    Fixed,
    /// Left over from an interrupted write: safe to remove.
    Temporary,
}

/// What the file `name` is; `None` if it is not ours.
pub(crate) fn kind(name: &str) -> Option<FileKind> {
    let position = |digits: &str| (digits.len() == 20).then(|| digits.parse().ok()).flatten();
    match name {
        LOCK | IDENTITY | HARD_STATE | START | SPARE | BALLAST => Some(FileKind::Fixed),
        _ if name.ends_with(TEMPORARY) => Some(FileKind::Temporary),
        _ if final_name(name).is_some() => Some(FileKind::Renaming),
        _ => match name.strip_suffix(INDEX) {
            Some(digits) => position(digits).map(FileKind::Index),
            None => position(name).map(FileKind::Segment),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(segment(4096), "00000000000000004096");
        assert_eq!(kind(&segment(u64::MAX)), Some(FileKind::Segment(u64::MAX)));
        assert_eq!(kind(&index(80)), Some(FileKind::Index(80)));
        assert_eq!([kind(&renaming(&segment(80))), kind("start.again")], [Some(FileKind::Renaming); 2]);
        assert_eq!(final_name(&renaming(&segment(80))), Some(&*segment(80)));
        assert_eq!(kind("hard-state"), Some(FileKind::Fixed));
        assert_eq!(kind("start.tmp"), Some(FileKind::Temporary));
        for strange in ["", "1", "0000000000000000409x", "99999999999999999999", "notes.txt", "lock.again"] {
            assert_eq!(kind(strange), None, "{strange}");
        }
    }
}
