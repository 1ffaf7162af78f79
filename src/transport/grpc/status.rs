//! Refusals and failures, to and from gRPC statuses.

use std::error::Error;

use prost::Message;
use tonic::{Code, ConnectError, Status};

use crate::transport::TransportError;
use crate::wire::pb::{Refusal, refusal::Reason};

/// Most bytes of a text in a refusal that travels. What was found is the caller's own text: echoed whole, it could
/// outgrow the header list and turn the refusal into a broken connection.
const REFUSAL_TEXT: usize = 512;

/// The status that carries `refusal` in its details.
pub(crate) fn from_refusal(refusal: &Refusal) -> Status {
    let code = match refusal.reason() {
        Reason::Malformed | Reason::Unspecified => Code::InvalidArgument,
        Reason::Group => Code::NotFound,
        Reason::Closed | Reason::NoQuorum => Code::Unavailable,
        Reason::DiskFull | Reason::Exhausted | Reason::NoPlace => Code::ResourceExhausted,
        Reason::Purged => Code::OutOfRange,
        Reason::Damaged => Code::DataLoss,
        Reason::WireVersion
        | Reason::Cluster
        | Reason::Target
        | Reason::TargetIncarnation
        | Reason::Sender
        | Reason::SegmentSize
        | Reason::NotLeader
        | Reason::Peers
        | Reason::GivenUp => Code::FailedPrecondition,
    };
    let refusal = short(refusal);
    let message = format!("{:?}: found {}, expected {}", refusal.reason(), refusal.found, refusal.expected);
    Status::with_details(code, message, refusal.encode_to_vec().into())
}

/// `refusal`, with its texts cut to [`REFUSAL_TEXT`].
pub(crate) fn short(refusal: &Refusal) -> Refusal {
    Refusal { found: clipped(&refusal.found), expected: clipped(&refusal.expected), ..refusal.clone() }
}

/// What a failed call to `address` means: a refusal if the peer sent one, no connection, or a broken one.
pub(crate) fn to_error(address: &str, status: &Status) -> TransportError {
    let address = address.to_owned();
    // An empty message decodes as a refusal too; every real one has a reason.
    if !status.details().is_empty()
        && let Ok(refusal) = Refusal::decode(status.details())
        && refusal.reason() != Reason::Unspecified
    {
        return TransportError::Refused { address, refusal };
    }
    if chain(status).any(|e| e.is::<ConnectError>()) {
        return TransportError::Unreachable { address, reason: root(status) };
    }
    TransportError::Broken { address, reason: describe(status) }
}

/// Code, message and root cause of a status in one line.
pub(crate) fn describe(status: &Status) -> String {
    match chain(status).last() {
        Some(_) => format!("{:?}: {} ({})", status.code(), status.message(), root(status)),
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// The innermost cause: the outer ones only say "transport error".
fn root(status: &Status) -> String {
    chain(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn chain(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    fn inner<'a>(error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        (**error).source()
    }
    std::iter::successors(status.source(), inner)
}

fn clipped(text: &str) -> String {
    if text.len() <= REFUSAL_TEXT {
        return text.to_owned();
    }
    let mut end = REFUSAL_TEXT;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes)", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_its_status() {
        for number in 1..=17 {
            let refusal = Refusal {
                reason: number,
                found: format!("found {number}"),
                expected: "ä\n%".into(),
                removed: number % 2 == 0,
            };
            let status = from_refusal(&refusal);
            assert_ne!(status.code(), Code::Ok);
            assert!(status.message().contains(&format!("found {number}")), "{}", status.message());
            match to_error("a:1", &status) {
                TransportError::Refused { address, refusal: back } => {
                    assert_eq!((address.as_str(), back), ("a:1", refusal));
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_status_that_is_no_refusal_is_a_broken_call() {
        let garbage = Status::with_details(Code::Internal, "boom", vec![0xff; 9].into());
        let no_reason = Status::with_details(Code::Internal, "boom", Refusal::default().encode_to_vec().into());
        for status in [Status::unimplemented("boom"), garbage, no_reason] {
            let error = to_error("a:1", &status);
            assert!(matches!(&error, TransportError::Broken { reason, .. } if reason.contains("boom")), "{error}");
        }
    }

    #[test]
    fn a_long_text_is_clipped_at_a_character() {
        let refusal = Refusal {
            reason: Reason::Cluster.into(),
            found: "ä".repeat(100_000),
            expected: "x".into(),
            ..Default::default()
        };
        let status = from_refusal(&refusal);
        assert!(status.details().len() + status.message().len() < 3 * REFUSAL_TEXT);
        match to_error("a:1", &status) {
            TransportError::Refused { refusal, .. } => {
                assert!(refusal.found.starts_with("ää") && refusal.found.ends_with("(200000 bytes)"));
                assert_eq!(refusal.expected, "x");
            }
            other => panic!("{other}"),
        }
    }
}
