//! An incarnation as it travels.

use bytes::Bytes;

use crate::types::Incarnation;

/// The bytes of an incarnation; empty if there is none.
pub(crate) fn incarnation_bytes(incarnation: Option<Incarnation>) -> Bytes {
    incarnation.map_or_else(Bytes::new, |incarnation| incarnation.to_bytes().to_vec().into())
}
