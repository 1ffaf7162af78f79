//! [`repair()`]: gets damaged ranges back from running replicas.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::MAX_SEGMENT_SIZE;
use crate::disk::real::RealDisk;
use crate::error::RepairError;
use crate::node::repair::{RepairTarget, repair as run};
use crate::raft::TokioRuntime;
use crate::transport::grpc::transport::{GrpcOptions, GrpcTransport};
use crate::types::RepairReport;

/// Gets the damaged ranges of the ledger in `dir` (`DATA_DIR/GROUP`) back from the replicas at the addresses `from`
/// (`host:port`), which must run. Proves all of the log before it replaces any file. With `dry_run` it replaces
/// nothing, and the report says what it would replace. A directory without damage stays as it is.
///
/// Must be called within a tokio runtime. Asks again for about ten seconds while no replica can help.
///
/// # Errors
/// The directory is in use or cannot be read; no replica can supply what is damaged (a vote); or no replica could help.
/// Then the directory is as it was.
pub async fn repair(
    dir: impl Into<PathBuf>,
    from: impl IntoIterator<Item = String>,
    dry_run: bool,
) -> Result<RepairReport, RepairError> {
    // A bound, not a buffer: an entry is at most as large as a segment, and only the directory says how large its
    // segments are.
    let max_message_bytes = usize::try_from(MAX_SEGMENT_SIZE).unwrap_or(usize::MAX);
    let transport = Arc::new(GrpcTransport::new(GrpcOptions { max_message_bytes, ..GrpcOptions::default() }));
    let (disk, path, peers) = (Arc::new(RealDisk), dir.into(), from.into_iter().collect());
    run::<TokioRuntime>(RepairTarget { disk, path, wanted: None, peers, transport, dry_run }).await
}
