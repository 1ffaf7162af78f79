//! What a node fails with is what a client is told.

use std::time::Duration;

use bytes::Bytes;
use tonic::Code;

use crate::client::ClientError;
use crate::error::{AppendError, Damage, Mismatch, Outcome, ReadError, UnknownGroup};
use crate::types::{Incarnation, Member};
use crate::wire::client::{failure, from_status, to_status, wrong_cluster};
use crate::wire::pb::{self, failure};

/// What a client makes of a failure after its way through a status.
fn told(failure: pb::Failure) -> ClientError {
    let back = from_status(&to_status(&failure)).unwrap();
    assert_eq!(back, failure);
    assert!(!failure.message.is_empty());
    ClientError::from_failure("h:1", back)
}

fn member() -> Member {
    Member { id: 1.into(), address: "h:2".into(), incarnation: Incarnation::random() }
}

#[test]
fn append_errors_arrive_with_all_their_fields_and_the_same_outcome() {
    let cases = [
        AppendError::NotMaster { master: Some(member()) },
        AppendError::NotMaster { master: None },
        AppendError::NoMaster { waited: Duration::from_millis(1500), waiting: Some("n0 is down".into()) },
        AppendError::TooLarge { what: "record", size: 9, limit: 5 },
        AppendError::EmptyBatch,
        AppendError::TermOver { term: 6 },
        AppendError::Busy { inflight_limit: 77 },
        AppendError::DiskFull { reason: "no room".into() },
        AppendError::Exhausted { reason: "no descriptor".into() },
        AppendError::Closed { reason: "disk".into() },
        AppendError::Unknown { reason: "lost its place".into() },
    ];
    for error in cases {
        let told = told((&error).into());
        assert_eq!(told.outcome(), error.outcome(), "{error}");
        match (&error, &told) {
            (AppendError::NotMaster { master }, ClientError::NotMaster { master: id, address }) => {
                let expected = master.as_ref().map_or(("", ""), |m| (m.id.as_str(), m.address.as_str()));
                assert_eq!((id.as_str(), address.as_str()), expected);
            }
            (AppendError::NoMaster { waited, .. }, ClientError::NoMaster { waited: told, .. }) => {
                assert_eq!(told, waited)
            }
            (AppendError::TooLarge { .. }, ClientError::TooLarge { size: 9, limit: 5, message }) => {
                assert!(message.starts_with("record"), "{message}");
            }
            (AppendError::EmptyBatch, ClientError::EmptyBatch) => {}
            (AppendError::TermOver { .. }, ClientError::Fenced { term: 6 }) => {}
            (AppendError::Busy { .. }, ClientError::Busy { message }) => assert!(message.contains("77")),
            (AppendError::DiskFull { reason }, ClientError::DiskFull { reason: told }) => assert_eq!(told, reason),
            (AppendError::Exhausted { reason }, ClientError::Exhausted { reason: told }) => assert_eq!(told, reason),
            (AppendError::Closed { reason }, ClientError::Closed { reason: told }) => assert_eq!(told, reason),
            (AppendError::Unknown { reason }, ClientError::Unknown { reason: told }) => assert_eq!(told, reason),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn read_errors_arrive_with_all_their_fields() {
    let not_yet = ReadError::NotYet { index: 8, committed: 5 };
    assert_eq!(told((&not_yet).into()), ClientError::NotYet { index: 8, committed: 5 });
    let removed = ReadError::Removed { index: 2, first: 5 };
    assert_eq!(told((&removed).into()), ClientError::Removed { index: 2, first: 5 });
    let closed = ReadError::Closed { reason: "disk".into() };
    assert_eq!(told((&closed).into()), ClientError::Closed { reason: "disk".into() });
    let damage = Damage { file: "/d/0".into(), position: 64, index: 3, mismatch: Mismatch::new("checksum", 1, 2) };
    let message = damage.to_string();
    assert_eq!(told((&ReadError::Damaged(damage)).into()), ClientError::Damaged { index: 3, message });
}

#[test]
fn what_the_server_refuses_itself_names_what_was_found_and_expected() {
    let unknown = UnknownGroup { group: "x".into(), hosted: "a, b".into() };
    assert_eq!(told((&unknown).into()), ClientError::UnknownGroup { message: unknown.to_string() });
    let ClientError::WrongCluster { message } = told(wrong_cluster("theirs", "ours")) else { panic!() };
    assert!(message.contains("theirs") && message.contains("ours"), "{message}");
    assert!(matches!(told(failure(failure::Code::Malformed, "no group")), ClientError::Malformed { .. }));
    assert_eq!(told(failure(failure::Code::Malformed, "no group")).outcome(), Outcome::Refused);
}

#[test]
fn a_status_of_the_connection_is_no_failure_of_the_node() {
    assert_eq!(from_status(&tonic::Status::unavailable("gone")), None);
    let garbage = tonic::Status::with_details(Code::Unknown, "x", Bytes::from_static(b"\xff\xff\xff"));
    assert_eq!(from_status(&garbage), None);
    assert_eq!(from_status(&tonic::Status::with_details(Code::Unknown, "x", Bytes::new())), None);
}

#[test]
fn what_is_quoted_back_is_bounded() {
    let long = "ä".repeat(10_000);
    let failure = wrong_cluster(&long, "ours");
    assert!(failure.message.len() <= 1024 + "…".len());
}
