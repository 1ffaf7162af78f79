//! Good bytes to begin with.

use prost::Message;

use super::peers::request;
use crate::format::entry::{EntryHeader, EntryKind};
use crate::format::frame::{Draft, Frame};
use crate::format::hard_state::{self, HardVote, LogPoint, Noted};
use crate::format::index as indexes;
use crate::format::segment::{self as segments, Cursor, SEGMENT_HEADER, SegmentHeader};
use crate::format::{DIRECTORY_VERSION, index::Unit, sealed};
use crate::log::START_MAGIC;
use crate::log::directory::{Identity, MAGIC as IDENTITY_MAGIC};
use crate::log::{PurgePoint, StartPoint};
use crate::segment::after;
use crate::types::Incarnation;
use crate::wire::pb;

type Seeds = Vec<Vec<u8>>;

/// Where the segment of the seeds begins.
const START: Cursor = Cursor { position: 8192, number: 5, index: 4, term: 2, timestamp: 7, chain: 0xabcd };

/// Entries that continue each other, of every kind.
fn frames() -> Vec<Frame> {
    let drafts = [
        // It begins the segment.
        Draft::control(EntryKind::Roll, b""),
        Draft::control(EntryKind::Membership, &members()),
        Draft::batch(&[b"a".as_slice(), b"", b"three"]),
        Draft::control(EntryKind::Blank, b""),
        Draft::batch(&[b"alone"]),
    ];
    let mut next = Cursor { position: START.position + SEGMENT_HEADER as u64, ..START };
    let mut frames = Vec::new();
    for draft in drafts {
        let (records, kind, body) = (draft.records, draft.kind, draft.body_length());
        let Cursor { position, number, index, chain, .. } = next;
        let (term, committed, timestamp) = (3, 4, 1000);
        let header = EntryHeader {
            position,
            number,
            term,
            index,
            committed,
            timestamp,
            records,
            kind,
            body,
            previous: chain,
            chain: 0,
        };
        let frame = draft.seal(header);
        next = after(&frame.header);
        frames.push(frame);
    }
    frames
}

fn joined() -> Vec<u8> {
    frames().iter().flat_map(|frame| frame.bytes.to_vec()).collect()
}

pub(super) fn entry() -> Seeds {
    frames().iter().map(|frame| frame.bytes.to_vec()).collect()
}

pub(super) fn batch() -> Seeds {
    let batches = frames().into_iter().filter(|frame| frame.header.kind == EntryKind::Batch);
    batches.map(|frame| [&frame.header.records.to_le_bytes()[..], &frame.body()].concat()).collect()
}

pub(super) fn frame() -> Seeds {
    vec![joined(), frames()[2].bytes.to_vec()]
}

pub(super) fn segment_header() -> Seeds {
    vec![SegmentHeader { size: super::segment::SIZE as u64, start: START }.encode().to_vec()]
}

pub(super) fn blank() -> Seeds {
    vec![segments::encode_blank(64, 0x1234).to_vec(), segments::encode_blank(16, 0).to_vec()]
}

pub(super) fn index() -> Seeds {
    let units = [Unit::new(80, 0, true), Unit::new(200, 0, false), Unit::new(4000, 9, false)];
    vec![indexes::encode(8192, 77, &units), indexes::encode(0, 0, &[])]
}

pub(super) fn vote_slot() -> Seeds {
    let vote = |node: Option<&str>, granted| HardVote { term: 9, node: node.and_then(|n| n.parse().ok()), granted };
    let votes = [vote(Some("broker-2"), true), vote(None, false)];
    votes.iter().map(|vote| hard_state::encode_vote(7, vote).to_vec()).collect()
}

pub(super) fn commit_slot() -> Seeds {
    let committed = LogPoint { number: 5, index: 4, position: 1000, chain: 3 };
    let noted =
        Noted { committed, durable: LogPoint { number: 6, index: 5, position: 1200, chain: 4 }, clearing: true };
    vec![hard_state::encode_noted(8, &noted).to_vec()]
}

pub(super) fn identity() -> Seeds {
    let identity = Identity {
        cluster: "dledger".parse().expect("a name"),
        group: "g".parse().expect("a name"),
        node: "n0".parse().expect("a name"),
        segment_size: 1 << 28,
        incarnation: Incarnation::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
    };
    let of = |version| sealed::encode_as(&IDENTITY_MAGIC, version, &identity).expect("it can be written");
    (1..=DIRECTORY_VERSION).map(of).collect()
}

pub(super) fn start() -> Seeds {
    let purged = Some(PurgePoint { term: 2, number: 4, next: Cursor { position: 8272, ..START } });
    let starts = [
        StartPoint { purged, snapshot: snapshot().pop() },
        StartPoint { purged, snapshot: None },
        StartPoint { purged: None, snapshot: Some(Vec::new()) },
    ];
    starts.iter().map(|start| sealed::encode(&START_MAGIC, start).expect("it can be written")).collect()
}

pub(super) fn segment() -> Seeds {
    let (header, entries) = (segment_header().remove(0), joined());
    let end = header.len() + entries.len();
    let last = frames().last().map_or(0, |frame| frame.header.chain);
    let seal = segments::encode_blank((super::segment::SIZE - end) as u32, last);
    let gap = segments::encode_blank(64, START.chain);
    vec![
        [&header[..], &entries].concat(),
        [&header[..], &entries, &seal].concat(),
        [&header[..], &gap].concat(),
        header,
    ]
}

pub(super) fn directory() -> Seeds {
    super::directory::inputs()
}

fn id(term: u64, number: u64) -> Option<pb::LogId> {
    Some(pb::LogId { term, number })
}

fn vote(committed: bool) -> Option<pb::Vote> {
    Some(pb::Vote { term: 3, node: "n0".into(), committed })
}

fn envelope() -> Option<pb::Envelope> {
    let disk = vec![7; 16];
    Some(pb::Envelope {
        wire_version: 1,
        cluster: "c".into(),
        group: "g".into(),
        sender: "n0".into(),
        sender_incarnation: disk.clone().into(),
        target: "n1".into(),
        target_incarnation: disk.into(),
        sender_address: "h:1".into(),
        membership: Some(pb::LogId { term: 2, number: 4 }),
        cluster_incarnation: vec![8; 16].into(),
    })
}

pub(super) fn vote_request() -> Seeds {
    let request =
        pb::VoteRequest { envelope: envelope(), vote: vote(false), last_log_id: id(2, 9), leadership_transfer: true };
    vec![request.encode_to_vec(), pb::VoteRequest { last_log_id: None, ..request }.encode_to_vec()]
}

pub(super) fn vote_response() -> Seeds {
    vec![pb::VoteResponse { vote: vote(false), granted: true, last_log_id: id(2, 9) }.encode_to_vec()]
}

pub(super) fn append_request() -> Seeds {
    let entries = request(joined().into(), id(3, 4));
    let heartbeat = pb::AppendRequest { envelope: envelope(), ..request(Default::default(), None) };
    // The last number there is, and an entry behind it.
    let beyond = pb::AppendRequest { previous: id(3, u64::MAX), ..entries.clone() };
    [entries, heartbeat, beyond].iter().map(Message::encode_to_vec).collect()
}

pub(super) fn append_response() -> Seeds {
    use pb::append_response::Result as Answer;
    let answers = [
        Answer::Matched(pb::Matched { last: id(2, 9) }),
        Answer::Matched(pb::Matched { last: None }),
        Answer::Conflict(pb::LogId { term: 1, number: 2 }),
        Answer::HigherVote(vote(true).unwrap_or_default()),
    ];
    answers.into_iter().map(|answer| pb::AppendResponse { result: Some(answer), end: None }.encode_to_vec()).collect()
}

pub(super) fn heartbeats_request() -> Seeds {
    let beat = |group: &str| {
        let envelope = envelope().map(|envelope| pb::Envelope { group: group.into(), ..envelope });
        pb::AppendRequest { envelope, ..request(Default::default(), id(3, 4)) }
    };
    let beats = ["g", "h", "g"].map(beat).to_vec();
    vec![pb::HeartbeatsRequest { beats }.encode_to_vec(), Vec::new()]
}

pub(super) fn heartbeats_response() -> Seeds {
    use pb::append_response::Result as Answer;
    use pb::beat_answer::Result::{Answer as Answered, Refusal as Refused};
    let matched = pb::AppendResponse { result: Some(Answer::Matched(pb::Matched { last: id(2, 9) })), end: None };
    let refusal = pb::Refusal { reason: 3, found: "g".into(), expected: "h".into(), removed: true };
    let answer = |beat, result| pb::BeatAnswer { beat, result: Some(result) };
    let answers = vec![answer(2, Answered(matched)), answer(0, Refused(refusal.clone())), answer(3, Refused(refusal))];
    vec![pb::HeartbeatsResponse { answers }.encode_to_vec()]
}

pub(super) fn transfer_request() -> Seeds {
    let (envelope, from, last_log_id) = (envelope(), vote(true), id(2, 9));
    vec![pb::TransferRequest { envelope, from, to: "n1".into(), last_log_id, ..Default::default() }.encode_to_vec()]
}

pub(super) fn transfer_response() -> Seeds {
    let answers = [
        pb::TransferResponse { actual_vote: vote(false), ..Default::default() },
        pb::TransferResponse { log_not_flushed: true, flushed: id(2, 8), actual_vote: None },
    ];
    answers.iter().map(Message::encode_to_vec).collect()
}

pub(super) fn read_index_request() -> Seeds {
    let request = |proof, within_ms| pb::ReadIndexRequest { envelope: envelope(), proof, within_ms }.encode_to_vec();
    vec![request(1, 500), request(2, u64::MAX), request(3, 1)]
}

pub(super) fn read_index_response() -> Seeds {
    [0, 9, u64::MAX].iter().map(|number| pb::ReadIndexResponse { number: *number }.encode_to_vec()).collect()
}

fn membership_message() -> pb::Membership {
    let ids = |ids: &[&str]| pb::Voters { ids: ids.iter().map(ToString::to_string).collect() };
    let member = |id: &str| pb::Member { id: id.into(), address: format!("{id}:1"), incarnation: vec![9; 16].into() };
    pb::Membership {
        configs: vec![ids(&["n0", "n1"]), ids(&["n1", "n2"])],
        members: ["n0", "n1", "n2", "n3"].map(member).into(),
        cluster_incarnation: vec![8; 16].into(),
    }
}

/// The body of a membership entry.
pub(super) fn members() -> Vec<u8> {
    membership_message().encode_to_vec()
}

pub(super) fn membership() -> Seeds {
    vec![members(), pb::Membership { configs: Vec::new(), ..membership_message() }.encode_to_vec()]
}

pub(super) fn snapshot() -> Seeds {
    let stored = pb::StoredMembership { log_id: id(1, 0), membership: Some(membership_message()) };
    let start = pb::LogStart { position: 8272, index: 4, chain: 0xabcd, timestamp: 7 };
    let kept = pb::SnapshotRequest {
        envelope: None,
        vote: None,
        last_log_id: id(2, 4),
        membership: Some(stored),
        start: Some(start),
        lease_window_ms: 0,
        acknowledged: None,
    };
    let acknowledged = id(2, 3);
    let travels = pb::SnapshotRequest { envelope: envelope(), vote: vote(true), acknowledged, ..kept.clone() };
    vec![kept.encode_to_vec(), travels.encode_to_vec()]
}

pub(super) fn refusal() -> Seeds {
    let refusal = |reason| {
        let (found, expected) = ("ä".repeat(300), "another".into());
        pb::Refusal { reason, found, expected, removed: false }.encode_to_vec()
    };
    (0..=15).map(refusal).collect()
}

pub(super) fn failure() -> Seeds {
    let failure = |code| pb::Failure {
        code,
        message: "it is so".into(),
        master: "n0".into(),
        master_address: "h:1".into(),
        first: 1,
        committed: 2,
        found: 3,
        limit: 4,
        consistency: 2,
    };
    (0..=16).map(|code| failure(code).encode_to_vec()).collect()
}

pub(super) fn record() -> Seeds {
    vec![pb::Record { index: 1, position: 2, term: 3, timestamp: 4, body: vec![5; 6].into() }.encode_to_vec()]
}

pub(super) fn status() -> Seeds {
    let member =
        pb::MemberStatus { id: "n0".into(), address: "h:1".into(), voter: true, incarnation: vec![9; 16].into() };
    let status = pb::StatusResponse {
        cluster: "c".into(),
        group: "g".into(),
        node: "n0".into(),
        role: "master".into(),
        term: 3,
        master: "n0".into(),
        master_address: "h:1".into(),
        master_incarnation: vec![9; 16].into(),
        first: 1,
        committed: 5,
        durable: 4,
        end: 6,
        members: vec![member],
        committed_chain: 7,
        committed_position: 8,
        closed_reason: String::new(),
        closed_kind: 0,
        disk_full: "no space left".into(),
        cluster_incarnation: vec![8; 16].into(),
        alarm: "n1 had more".into(),
        waiting: "n1 is down".into(),
        durability: "sync".into(),
        scrub: Some(pb::ScrubStatus { passes: 1, last_pass: Some(2), found: 3, repaired: 4, damaged: vec![5] }),
    };
    let closed =
        pb::StatusResponse { role: "closed".into(), closed_reason: "disk".into(), closed_kind: 2, ..status.clone() };
    vec![status.encode_to_vec(), closed.encode_to_vec()]
}
