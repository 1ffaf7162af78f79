//! Messages between nodes and clients.

use super::peers::message;
use crate::client::ClientError;
use crate::transport::TransportError;
use crate::transport::grpc::status as grpc;
use crate::types::{Record, Status};
use crate::wire::client;
use crate::wire::pb;

/// Why a peer call was refused: it arrives with its reason, and no longer than headers may be.
pub fn refusal(bytes: &[u8]) {
    let Some(refusal) = message::<pb::Refusal>(bytes) else { return };
    let status = grpc::from_refusal(&refusal);
    assert!(status.details().len() + status.message().len() < 4096, "{} bytes of headers", status.details().len());
    match grpc::to_error("n1:1", &status) {
        TransportError::Refused { refusal: arrived, .. } => {
            assert_eq!(arrived.reason, refusal.reason);
            assert_eq!(grpc::from_refusal(&arrived).code(), status.code());
        }
        _ => assert_eq!(refusal.reason(), pb::refusal::Reason::Unspecified),
    }
}

/// Why a client's call failed: it arrives as it was sent.
pub fn failure(bytes: &[u8]) {
    let Some(failure) = message::<pb::Failure>(bytes) else { return };
    let status = client::to_status(&failure);
    let known = failure.code() != pb::failure::Code::Unspecified;
    assert_eq!(client::from_status(&status), known.then(|| failure.clone()));
    let error = ClientError::from_failure("n1:1", failure.clone());
    assert_eq!(ClientError::from_status("n1:1", &status) == error, known);
    let unknown = failure.code() == pb::failure::Code::UnknownOutcome;
    assert_eq!(error.outcome() == crate::error::Outcome::Unknown, unknown);
}

/// A record.
pub fn record(bytes: &[u8]) {
    let Some(message) = message::<pb::Record>(bytes) else { return };
    assert_eq!(pb::Record::from(Record::from(message.clone())), message);
}

/// What a node says of itself: what is accepted has the figures that were sent, and arrives as it was sent on.
pub fn status(bytes: &[u8]) {
    let Some(message) = message::<pb::StatusResponse>(bytes) else { return };
    let Ok(status) = Status::try_from(message.clone()) else { return };
    let names = [status.cluster.as_str(), status.group.as_str(), status.node.as_str(), status.role.name()];
    assert_eq!(names, [&*message.cluster, &message.group, &message.node, &message.role]);
    let pointers = [status.first, status.committed, status.durable, status.end, status.term];
    assert_eq!(pointers, [message.first, message.committed, message.durable, message.end, message.term]);
    let told = pb::StatusResponse::from(status.clone());
    assert_eq!((told.committed_chain, told.committed_position), (message.committed_chain, message.committed_position));
    let again = pb::StatusResponse::from(Status::try_from(told.clone()).expect("what was accepted is accepted again"));
    // Long reasons are cut once.
    assert_eq!(again, told);
}
