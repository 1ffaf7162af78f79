//! Repairs a closed ledger from its peers, before Raft starts on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::Disk;
use crate::error::RepairError;
use crate::log::directory::Identity;
use crate::log::reader::LogReader;
use crate::log::repair::online::SegmentRepair;
use crate::log::repair::{Repair, Repairing, Step};
use crate::pb;
use crate::raft::Runtime;
use crate::rpc::envelope::{envelope, envelope_to_anybody};
use crate::rpc::fetch::{MOST_BYTES, to_supply};
use crate::rpc::transport::{Lane, Link, Transport, TransportError};
use crate::types::{Incarnation, NodeId, RepairReport};

/// How often all peers are asked before a repair is given up.
const ROUNDS: usize = 20;
/// How long to wait before they are asked again: an election may have to come first.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a peer may take to say who it is.
const IDENTIFY: Duration = Duration::from_secs(2);
/// How long a peer may take to send entries.
const FETCH: Duration = Duration::from_secs(10);
/// No peer list: a node that is empty gives its promise to nobody who asks with this one.
const NO_PEERS: &str = "for a repair";

/// A ledger that is to be repaired.
pub(crate) struct Patient {
    pub(crate) disk: Arc<dyn Disk>,
    /// The ledger's directory.
    pub(crate) path: PathBuf,
    /// What it must be; `None`: what it is.
    pub(crate) wanted: Option<Identity>,
    /// Addresses of the peers.
    pub(crate) peers: Vec<String>,
    pub(crate) transport: Arc<dyn Transport>,
    /// Only to be tried.
    pub(crate) dry_run: bool,
}

/// Goes from peer to peer until the log is proven, and puts what was damaged in its place.
///
/// # Errors
/// The directory cannot be looked at, or no peer could help in all rounds. It is as it was then.
pub(crate) async fn repair<R: Runtime>(patient: Patient) -> Result<RepairReport, RepairError> {
    let Patient { disk, path, wanted, peers, transport, dry_run } = patient;
    let mut repair = Repair::begin(disk, path, wanted)?;
    let mut said: Vec<_> = peers.into_iter().map(|peer| (peer, "was not asked".to_owned())).collect();
    for round in 0..ROUNDS {
        if round > 0 {
            R::sleep(PAUSE).await;
        }
        for (address, why) in &mut said {
            let link = transport.link(address, Lane::Data);
            match ask(&mut repair, link.as_ref()).await {
                Ok(()) => return repair.finish(dry_run),
                Err(Trouble::Here(error)) => return Err(error),
                Err(Trouble::There(error)) => {
                    tracing::warn!(peer = %address, %error, round, "no repair from this peer");
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
/// No peer could help, or the system fails. The segment is as it was then.
pub(crate) async fn repair_segment(
    log: &LogReader,
    position: u64,
    peers: &[String],
    transport: &dyn Transport,
) -> Result<RepairReport, RepairError> {
    let Some(mut repair) = SegmentRepair::begin(log, position)? else { return Ok(RepairReport::default()) };
    let mut said = Vec::new();
    for address in peers {
        let link = transport.link(address, Lane::Data);
        match ask(&mut repair, link.as_ref()).await {
            Ok(()) => return repair.finish(),
            Err(Trouble::Here(error)) => return Err(error),
            Err(Trouble::There(error)) => said.push((address.clone(), error)),
        }
    }
    Err(RepairError::NoPeer { peers: said })
}

/// Why a repair does not go on.
enum Trouble {
    /// No peer can change it.
    Here(RepairError),
    /// Another peer, or the same one later, may help.
    There(String),
}

impl From<RepairError> for Trouble {
    fn from(error: RepairError) -> Self {
        match error {
            RepairError::Differs { .. } | RepairError::NotSettled { .. } => Self::There(error.to_string()),
            error => Self::Here(error),
        }
    }
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        Self::There(error.to_string())
    }
}

async fn ask(repair: &mut (impl Repairing + Send), link: &dyn Link) -> Result<(), Trouble> {
    let mut known = None;
    loop {
        let Step::Need(number) = repair.advance()? else { return Ok(()) };
        let me = repair.identity().clone();
        let (node, incarnation) = match &known {
            Some(known) => known,
            None => known.insert(identify(&me, link).await?),
        };
        let request = pb::FetchRequest {
            envelope: Some(envelope(&me, node, Some(*incarnation))),
            first_number: number,
            most_bytes: MOST_BYTES as u64,
        };
        let answer = link.fetch_entries(request, FETCH).await?;
        let supply = to_supply(answer).map_err(|error| Trouble::There(format!("it sent nonsense: {error}")))?;
        repair.supply(node, supply)?;
    }
}

/// Who is there.
async fn identify(me: &Identity, link: &dyn Link) -> Result<(NodeId, Incarnation), Trouble> {
    let request = pb::IdentifyRequest {
        envelope: Some(envelope_to_anybody(me)),
        segment_size: me.segment_size,
        peers: NO_PEERS.into(),
        join: false,
    };
    let answer = link.identify(request, IDENTIFY).await?;
    let node = answer.node.parse().map_err(|error| Trouble::There(format!("it sent no id: {error}")))?;
    let incarnation = Incarnation::from_slice(&answer.incarnation);
    Ok((node, incarnation.ok_or_else(|| Trouble::There("it sent no incarnation".into()))?))
}
