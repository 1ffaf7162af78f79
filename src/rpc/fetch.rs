//! Committed entries for a node whose own copy is damaged: giving them, and taking them.

use bytes::BytesMut;

use super::convert::{Malformed, bounded};
use super::router::refusal;
use crate::format::frame::Frame;
use crate::log::reader::LogReader;
use crate::log::repair::Supply;
use crate::pb::{self, refusal::Reason};

/// Most bytes of entries in an answer, if one entry alone is not larger.
pub(crate) const MOST_BYTES: usize = 1 << 20;

/// Answers from what is committed here, and from nothing else.
pub(super) fn serve(log: &LogReader, request: &pb::FetchRequest) -> Result<pb::FetchResponse, pb::Refusal> {
    let damaged = |damage| refusal(Reason::Damaged, damage, "a good entry");
    let committed = log.progress().commit_point().number;
    let (number, first) = (request.first_number, log.numbers().start);
    if number < first.min(committed) {
        return Err(refusal(Reason::Purged, format!("entry {number}"), format!("entry {first} or later")));
    }
    let most = usize::try_from(request.most_bytes).unwrap_or(usize::MAX).min(MOST_BYTES);
    let mut frames = BytesMut::new();
    for number in number..committed {
        let frame = match log.frame(number) {
            Ok(Some(frame)) => frame,
            // Removed in between.
            Ok(None) => break,
            Err(damage) if frames.is_empty() => return Err(damaged(damage)),
            Err(_) => break,
        };
        if !frames.is_empty() && frames.len() + frame.bytes.len() > most {
            break;
        }
        frames.extend_from_slice(&frame.bytes);
    }
    let last = match committed.checked_sub(1) {
        Some(last) => log.entry_header(last).map_err(damaged)?.map(|header| header.term),
        None => None,
    };
    let committed_term = last.or(log.purged().map(|purged| purged.term)).unwrap_or_default();
    Ok(pb::FetchResponse { frames: frames.freeze(), committed, committed_term })
}

/// Takes an answer. Every frame is checked; whether they continue a log is the repair's to see.
///
/// # Errors
/// What is not well formed.
pub(crate) fn to_supply(answer: pb::FetchResponse) -> Result<Supply, Malformed> {
    Ok(Supply {
        frames: Frame::parse_all(answer.frames)?,
        committed: bounded("number", answer.committed)?,
        committed_term: bounded("term", answer.committed_term)?,
    })
}
