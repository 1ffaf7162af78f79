//! [`StoppedLedger::dump`]: shows everything in a ledger's directory, in order.

use std::io;

use super::item::{DumpItem, DumpPoint, EntryItem, records};
use super::start_prediction::StartPrediction;
use super::survey::{NOWHERE, Surveyed};
use super::{Finding, OfflineError, StoppedLedger};
use crate::format::entry::EntryKind;
use crate::format::hard_state::{LogPoint, Slot};
use crate::log::names::{self, FileKind};
use crate::segment::after;

/// Which part of a ledger [`StoppedLedger::dump`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DumpOptions {
    /// Index of the first record. With `from` or `to`, the dump shows only the segments that hold such records.
    pub from: Option<u64>,
    /// Index after the last record.
    pub to: Option<u64>,
    /// Whether to show the bytes of the records.
    pub bodies: bool,
}

impl DumpOptions {
    /// Records from `from` on.
    pub fn from(self, from: Option<u64>) -> Self {
        Self { from, ..self }
    }

    /// Records below `to`.
    pub fn to(self, to: Option<u64>) -> Self {
        Self { to, ..self }
    }

    /// With or without the bytes of the records.
    pub fn bodies(self, bodies: bool) -> Self {
        Self { bodies, ..self }
    }
}

impl StoppedLedger {
    /// Shows everything: files, identity, start, hard state, then the segments with all their entries. Damage is an
    /// item like the others, and the entries found behind it follow. Writes nothing.
    ///
    /// # Errors
    /// If the system fails, or a file is of a later format version; or what `visit` returns.
    pub fn dump<E: From<OfflineError>>(
        &self,
        options: DumpOptions,
        visit: &mut dyn FnMut(DumpItem) -> Result<(), E>,
    ) -> Result<(), E> {
        let prediction = StartPrediction::new(self)?;
        let whole = options.from.is_none() && options.to.is_none();
        let mut damages = 0;
        if whole {
            self.dump_files(visit)?;
            damages = self.dump_side_files(visit)?;
        }
        let indexes = options.from.unwrap_or(0)..options.to.unwrap_or(u64::MAX);
        let mut end = self.base().unwrap_or(NOWHERE);
        self.survey(indexes.clone(), &mut |seen| match seen {
            Surveyed::Segment { position, header } => match header {
                Some(header) => visit(DumpItem::Segment {
                    position,
                    number: header.start.number,
                    index: header.start.index,
                    term: header.start.term,
                    timestamp: header.start.timestamp,
                    chain: header.start.chain,
                    size: header.size,
                }),
                None => Ok(()),
            },
            Surveyed::Entry { header, bytes, fits } => {
                end = after(&header);
                let last = header.index + u64::from(header.records.saturating_sub(1));
                if last < indexes.start || header.index >= indexes.end {
                    return Ok(());
                }
                let mut item = EntryItem::new(&header, fits);
                if options.bodies && fits && header.kind == EntryKind::Batch {
                    item.records = records(&header, bytes);
                    item.records.retain(|record| indexes.contains(&record.index));
                }
                visit(DumpItem::Entry(item))
            }
            Surveyed::Blank { position, length, chain, seals } => {
                visit(DumpItem::Blank { position, length, chain, seals })
            }
            Surveyed::Problem(problem) => {
                damages += 1;
                visit(DumpItem::Damage(prediction.finding(problem)))
            }
            Surveyed::Ends(ends) => {
                end = ends.end;
                Ok(())
            }
        })?;
        if !whole {
            return Ok(());
        }
        let (position, number, index, chain) = (end.position, end.number, end.index, end.chain);
        visit(DumpItem::End { position, number, index, chain, damages })
    }

    fn dump_files<E: From<OfflineError>>(&self, visit: &mut dyn FnMut(DumpItem) -> Result<(), E>) -> Result<(), E> {
        for name in &self.names {
            let kind = match (names::kind(name), name.as_str()) {
                (Some(FileKind::Segment(_)), _) => "segment",
                (Some(FileKind::Renaming), _) => "file that a start was renaming",
                (Some(FileKind::Index(_)), _) => "index of a segment",
                (Some(FileKind::Temporary), _) => "interrupted replacement",
                (Some(FileKind::Fixed), names::IDENTITY) => "cluster, ledger and node of the directory",
                (Some(FileKind::Fixed), names::HARD_STATE) => "vote, and progress of the log",
                (Some(FileKind::Fixed), names::START) => "where the log begins",
                (Some(FileKind::Fixed), names::SPARE) => "next segment, prepared ahead",
                (Some(FileKind::Fixed), names::BALLAST) => "room set aside for a full disk",
                (Some(FileKind::Fixed), _) => "lock",
                (None, _) => "not part of the ledger",
            };
            let bytes = self.disk.open(&self.path.join(name)).ok().map(|file| file.size());
            visit(DumpItem::File { name: name.clone(), kind, bytes })?;
        }
        Ok(())
    }

    /// Shows the contents of the files beside the segments. Returns the number of findings among them.
    fn dump_side_files<E: From<OfflineError>>(
        &self,
        visit: &mut dyn FnMut(DumpItem) -> Result<(), E>,
    ) -> Result<u64, E> {
        let (findings, hard_state) = self.side_files()?;
        if let Ok(identity) = self.identity() {
            visit(DumpItem::Identity {
                cluster: identity.cluster.to_string(),
                group: identity.group.to_string(),
                node: identity.node.to_string(),
                incarnation: identity.incarnation.to_string(),
                segment_size: identity.segment_size,
            })?;
        }
        let written = !matches!(self.disk.read(&self.path.join(names::START)),
            Err(error) if error.kind() == io::ErrorKind::NotFound);
        if let (Ok(start), Some(base), true) = (&self.start, self.base(), written) {
            visit(DumpItem::Start {
                removed_number: start.purged.map(|purged| purged.number),
                removed_term: start.purged.map(|purged| purged.term),
                first: base.index,
                position: base.position,
                snapshot_bytes: start.snapshot.as_ref().map(Vec::len),
            })?;
        }
        if let Some(state) = hard_state {
            for (slot, vote) in (0..).zip(state.votes) {
                if let Slot::Valid(sequence, vote) = vote {
                    let node = vote.node.map(|node| node.to_string());
                    visit(DumpItem::Vote { slot, sequence, term: vote.term, node, granted: vote.granted })?;
                }
            }
            for (slot, note) in (2..).zip(state.notes) {
                match note {
                    Slot::Valid(sequence, noted) => {
                        let (committed, durable) = (noted.committed.into(), noted.durable.into());
                        visit(DumpItem::Progress { slot, sequence, committed, durable })?;
                    }
                    Slot::Empty => visit(DumpItem::EmptySlot { slot })?,
                    Slot::Damaged { .. } | Slot::Version { .. } | Slot::Unreadable => {}
                }
            }
        }
        let shown: Vec<Finding> = findings.into_iter().filter(|finding| finding.row.is_some()).collect();
        let damages = shown.len() as u64;
        shown.into_iter().try_for_each(|finding| visit(DumpItem::Damage(finding)))?;
        Ok(damages)
    }
}

impl From<LogPoint> for DumpPoint {
    fn from(point: LogPoint) -> Self {
        let LogPoint { number, index, position, chain } = point;
        Self { number, index, position, chain }
    }
}
