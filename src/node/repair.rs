//! Repairs a ledger from its peers: a closed one before Raft starts on it, or one segment of an open one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::disk::Disk;
use crate::error::{OpenError, RepairError};
use crate::log::Health;
use crate::log::directory::Identity;
use crate::log::repair::online::SegmentRepair;
use crate::log::repair::{Repair, RepairStep, Repairing, Supply};
use crate::peer::envelope::{envelope, envelope_to_anybody, look};
use crate::peer::fetch::{MOST_BYTES, to_supply};
use crate::raft::{Runtime, blocking};
use crate::transport::{Lane, Link, Transport, TransportError};
use crate::types::{Incarnation, NodeId, RepairReport};
use crate::wire::pb;

/// Rounds over all peers before the repair gives up: with the pauses, ten seconds.
const ROUNDS: usize = 20;
/// Pause between rounds, because an election may have to come first.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a peer may take to say who it is.
const IDENTIFY: Duration = Duration::from_secs(2);
/// How long a peer may take to send entries.
const FETCH: Duration = Duration::from_secs(10);

/// A closed ledger to repair.
pub(crate) struct RepairTarget {
    pub(crate) disk: Arc<dyn Disk>,
    /// The ledger's directory.
    pub(crate) path: PathBuf,
    /// What the directory must be; `None`: whatever it is.
    pub(crate) wanted: Option<Identity>,
    /// Addresses of the peers.
    pub(crate) peers: Vec<String>,
    pub(crate) transport: Arc<dyn Transport>,
    /// Do everything but replace the files.
    pub(crate) dry_run: bool,
}

/// Asks peer after peer until the log is proven, and then replaces what is damaged.
///
/// # Errors
/// The directory cannot be read, or no peer could help in all rounds. The directory is then as it was.
pub(crate) fn repair<R: Runtime>(target: RepairTarget) -> BoxFuture<'static, Result<RepairReport, RepairError>> {
    Box::pin(ask_all_peers::<R>(target))
}

async fn ask_all_peers<R: Runtime>(target: RepairTarget) -> Result<RepairReport, RepairError> {
    let RepairTarget { disk, path, wanted, peers, transport, dry_run } = target;
    let mut repair = beside::<R, _>(move || Repair::begin(disk, path, wanted)).await??;
    let mut said: Vec<_> = peers.into_iter().map(|peer| (peer, "was not asked".to_owned())).collect();
    for round in 0..ROUNDS {
        if round > 0 {
            R::sleep(PAUSE).await;
        }
        for (address, why) in &mut said {
            let link = transport.link(address, Lane::Data);
            let asked;
            (repair, asked) = ask::<R, _>(repair, link.as_ref()).await?;
            match asked {
                Ok(()) => return beside::<R, _>(move || repair.finish(dry_run)).await?,
                Err(RepairFailure::Local(error)) => return Err(error),
                Err(RepairFailure::Peer(error)) => {
                    tracing::warn!(peer = %address, %error, round, "this peer cannot repair the ledger");
                    *why = error;
                }
            }
        }
    }
    Err(RepairError::NoPeer { peers: said })
}

/// Repairs the sealed segment at `position` of a log that is open.
///
/// # Errors
/// No peer could help, or the system fails. The segment is then as it was.
pub(crate) async fn repair_segment<R: Runtime>(
    health: &Arc<Health>,
    position: u64,
    peers: &[String],
    transport: &dyn Transport,
) -> Result<RepairReport, RepairError> {
    let health = health.clone();
    let begun = beside::<R, _>(move || SegmentRepair::begin(&health, position)).await??;
    let Some(mut repair) = begun else { return Ok(RepairReport::default()) };
    let mut said = Vec::new();
    for address in peers {
        let link = transport.link(address, Lane::Data);
        let asked;
        (repair, asked) = ask::<R, _>(repair, link.as_ref()).await?;
        match asked {
            Ok(()) => return beside::<R, _>(move || repair.finish()).await?,
            Err(RepairFailure::Local(error)) => return Err(error),
            Err(RepairFailure::Peer(error)) => said.push((address.clone(), error)),
        }
    }
    Err(RepairError::NoPeer { peers: said })
}

/// Does the file work of a repair on a blocking thread.
///
/// # Errors
/// If it panicked, or the runtime is shutting down.
async fn beside<R: Runtime, T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RepairError> {
    let done = blocking::run_blocking::<R, _>(work).await;
    done.map_err(|source| OpenError::Io { op: "finish the file work of", path: "a repair".into(), source }.into())
}

/// Why a repair cannot go on with this peer.
enum RepairFailure {
    /// The reason is here: no peer can help.
    Local(RepairError),
    /// The reason is the peer: another one, or the same one later, may help.
    Peer(String),
}

impl From<RepairError> for RepairFailure {
    fn from(error: RepairError) -> Self {
        match error {
            RepairError::Differs(_) | RepairError::NotSettled { .. } => Self::Peer(error.to_string()),
            error => Self::Local(error),
        }
    }
}

impl From<TransportError> for RepairFailure {
    fn from(error: TransportError) -> Self {
        Self::Peer(error.to_string())
    }
}

/// Goes on with the help of the peer at `link`, and returns the repair.
///
/// # Errors
/// The blocking thread did not finish its work: the repair is lost.
async fn ask<R: Runtime, T: Repairing + Send + 'static>(
    mut repair: T,
    link: &dyn Link,
) -> Result<(T, Result<(), RepairFailure>), RepairError> {
    let mut known = None;
    let mut supplied = None;
    loop {
        let step = move || {
            let supplied = supplied.map_or(Ok(()), |(from, supply)| repair.supply(&from, supply));
            let step = supplied.and_then(|()| repair.advance());
            (repair, step)
        };
        let step = beside::<R, _>(step).await?;
        repair = step.0;
        let number = match step.1 {
            Ok(RepairStep::Done) => return Ok((repair, Ok(()))),
            Ok(RepairStep::Need(number)) => number,
            Err(error) => return Ok((repair, Err(error.into()))),
        };
        match fetch(repair.identity(), &mut known, number, link).await {
            Ok(answer) => supplied = Some(answer),
            Err(trouble) => return Ok((repair, Err(trouble))),
        }
    }
}

/// The entries from `number` on, from the node at `link`.
async fn fetch(
    me: &Identity,
    known: &mut Option<(NodeId, Incarnation)>,
    number: u64,
    link: &dyn Link,
) -> Result<(NodeId, Supply), RepairFailure> {
    let (node, incarnation) = match known {
        Some(known) => known,
        None => known.insert(identify(me, link).await?),
    };
    let request = pb::FetchRequest {
        envelope: Some(envelope(me, node, Some(*incarnation))),
        first_number: number,
        most_bytes: MOST_BYTES as u64,
    };
    let answer = link.fetch_entries(request, FETCH).await?;
    let supply = to_supply(answer).map_err(|error| RepairFailure::Peer(format!("it sent nonsense: {error}")))?;
    Ok((node.clone(), supply))
}

/// Asks which node is at `link`.
async fn identify(me: &Identity, link: &dyn Link) -> Result<(NodeId, Incarnation), RepairFailure> {
    let answer = link.identify(look(me, envelope_to_anybody(me)), IDENTIFY).await?;
    let node = answer.node.parse().map_err(|error| RepairFailure::Peer(format!("it sent no id: {error}")))?;
    let incarnation = Incarnation::from_slice(&answer.incarnation);
    Ok((node, incarnation.ok_or_else(|| RepairFailure::Peer("it sent no incarnation".into()))?))
}
