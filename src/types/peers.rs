//! The static peer list and its two spellings.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use super::address::checked_address;
use super::{NameError, NodeId};

/// One peer of a static list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its node id.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
}

/// The nodes a cluster is first formed of, this node included.
///
/// Two spellings, peers separated by `;` (DLedger's) or `,`:
///
/// - `n0=host:port;n1=host:port`: plain.
/// - `n0-host:port;n1-host:port`: DLedger's. Ids and hosts may both hold dashes, so where the id ends is decided for
///   all peers alike: after as many dashes as the own id has ([`Peers::parse_for`]), or, where no own id is known,
///   after the smallest number of dashes that makes all ids differ. Pods of a StatefulSet
///   (`broker-0-broker-0.brokers:40911;broker-1-broker-1.brokers:40911`) come out right both ways. A list of one peer
///   has no others to differ from: where it can be read in several ways, and none has the id at the beginning of the
///   host, it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers(Vec<Peer>);

/// A peer list was not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    /// The list holds no peer.
    #[error("the peer list is empty: write `n0-host:port;n1-host:port;…`")]
    Empty,
    /// One peer cannot be read.
    #[error("peer {found:?} cannot be read ({why}): write `id-host:port` or `id=host:port`")]
    Malformed {
        /// The peer as written.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two peers share an id.
    #[error("peer id {id} stands for both {first} and {second}: give every peer an id of its own")]
    DuplicateId {
        /// The id.
        id: NodeId,
        /// Address of the first.
        first: String,
        /// Address of the second.
        second: String,
    },
    /// Two peers share an address.
    #[error("address {address} stands for both {first} and {second}: every peer needs an address of its own")]
    DuplicateAddress {
        /// The address.
        address: String,
        /// Id of the first.
        first: NodeId,
        /// Id of the second.
        second: NodeId,
    },
    /// The node's own id is not in the list.
    #[error("own id {id} is not among the peers ({peers}): add it or correct the id")]
    OwnIdMissing {
        /// The own id.
        id: NodeId,
        /// The list.
        peers: String,
    },
}

impl Peers {
    /// A list of at least one peer, each with an id and an address of its own.
    ///
    /// # Errors
    /// [`PeersError::Empty`], an address that cannot be read, or a duplicate.
    pub fn new(peers: Vec<Peer>) -> Result<Self, PeersError> {
        let checked = peers.into_iter().map(|peer| match checked_address(&peer.address) {
            Ok(address) => Ok(Peer { address, ..peer }),
            Err(why) => Err(PeersError::Malformed { found: format!("{}={}", peer.id, clip(&peer.address)), why }),
        });
        Self::distinct(checked.collect::<Result<_, _>>()?)
    }

    /// Reads a list that the node `own` is part of. Ids in DLedger's spelling end after as many dashes as `own` has.
    ///
    /// # Errors
    /// What cannot be read; [`PeersError::OwnIdMissing`]; a duplicate.
    pub fn parse_for(text: &str, own: &NodeId) -> Result<Self, PeersError> {
        let dashes = own.as_str().matches('-').count();
        let peers = items(text)?.into_iter().map(|item| {
            let (id, address) = item.split(dashes).ok_or_else(|| {
                let why = format!("own id {own} holds {dashes} dashes, so an address is due after {}", dashes + 1);
                item.malformed(why)
            })?;
            item.peer(id, address)
        });
        let peers = Self(peers.collect::<Result<_, _>>()?);
        // Before the duplicates: a wrong own id splits the others in the wrong place, and is the cause to name.
        peers.require(own)?;
        Self::distinct(peers.0)
    }

    /// Checks that the node `own` is among the peers.
    ///
    /// # Errors
    /// [`PeersError::OwnIdMissing`].
    pub fn require(&self, own: &NodeId) -> Result<(), PeersError> {
        match self.get(own) {
            Some(_) => Ok(()),
            None => Err(PeersError::OwnIdMissing { id: own.clone(), peers: self.to_string() }),
        }
    }

    /// The peers as listed.
    pub fn iter(&self) -> std::slice::Iter<'_, Peer> {
        self.0.iter()
    }

    /// The peer with this id.
    pub fn get(&self, id: &NodeId) -> Option<&Peer> {
        self.0.iter().find(|peer| peer.id == *id)
    }

    /// How many peers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True only for the default: a list that was read or checked has a peer.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The peer with the lowest id, by bytes (`n10` is lower than `n2`): the one that forms the cluster.
    pub fn lowest(&self) -> Option<&Peer> {
        self.0.iter().min_by_key(|peer| &peer.id)
    }

    /// One text for all spellings of the same list: by id, hosts in lower case. Nodes compare it before they form a
    /// cluster.
    pub(crate) fn agreed(&self) -> String {
        let mut peers: Vec<_> = self.iter().collect();
        peers.sort_by_key(|peer| &peer.id);
        let peer = |peer: &&Peer| format!("{}={}", peer.id, peer.address.to_ascii_lowercase());
        peers.iter().map(peer).collect::<Vec<_>>().join(";")
    }

    fn distinct(peers: Vec<Peer>) -> Result<Self, PeersError> {
        if peers.is_empty() {
            return Err(PeersError::Empty);
        }
        let mut ids: HashMap<&NodeId, &Peer> = HashMap::new();
        let mut addresses: HashMap<String, &Peer> = HashMap::new();
        for peer in &peers {
            if let Some(first) = ids.insert(&peer.id, peer) {
                let (first, second) = (first.address.clone(), peer.address.clone());
                return Err(PeersError::DuplicateId { id: peer.id.clone(), first, second });
            }
            // Names are the same in any case.
            if let Some(first) = addresses.insert(peer.address.to_ascii_lowercase(), peer) {
                let (first, second) = (first.id.clone(), peer.id.clone());
                return Err(PeersError::DuplicateAddress { address: peer.address.clone(), first, second });
            }
        }
        Ok(Self(peers))
    }
}

/// Without an own id: see [`Peers`] for where ids end.
impl FromStr for Peers {
    type Err = PeersError;

    fn from_str(text: &str) -> Result<Self, PeersError> {
        let items = items(text)?;
        if let [only] = &items[..] {
            return Self::distinct(vec![only.alone()?]);
        }
        // An id that is no valid name stays invalid when it takes in one more dash, so the search needs no more rounds
        // than a name has bytes. Where every peer has an `=`, dashes do not matter, and only this limit ends the
        // search.
        let named = |dashes| {
            let ids = items.iter().map(|item| item.split(dashes)?.0.parse::<NodeId>().ok());
            ids.collect::<Option<Vec<_>>>()
        };
        let all_differ = |ids: &Vec<NodeId>| ids.iter().collect::<HashSet<_>>().len() == ids.len();
        let dashes = (0..64).map_while(|dashes| Some((dashes, named(dashes)?))).find(|(_, ids)| all_differ(ids));
        // If no number of dashes fits, splitting at the first one gives the error that is easiest to understand.
        let dashes = dashes.map_or(0, |(dashes, _)| dashes);
        let peers = items.iter().map(|item| {
            let (id, address) = item.split(dashes).ok_or_else(|| item.malformed("no '-' or '=' after the id"))?;
            item.peer(id, address)
        });
        Self::distinct(peers.collect::<Result<_, _>>()?)
    }
}

/// In the `=` spelling, which reads back the same whatever the ids are.
impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, peer) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ";" };
            write!(f, "{separator}{}={}", peer.id, peer.address)?;
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Peers {
    type Item = &'a Peer;
    type IntoIter = std::slice::Iter<'a, Peer>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One peer as written, white space around it removed.
struct Item<'a>(&'a str);

/// The peers as written. One separator may trail; a gap elsewhere is refused: it is mostly a variable left unset.
fn items(text: &str) -> Result<Vec<Item<'_>>, PeersError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(PeersError::Empty);
    }
    let text = text.strip_suffix([';', ',']).unwrap_or(text);
    let items: Vec<_> = text.split([';', ',']).map(|item| Item(item.trim())).collect();
    match items.iter().find(|item| item.0.is_empty()) {
        Some(_) if items.len() == 1 => Err(PeersError::Empty),
        Some(gap) => Err(gap.malformed("nothing between two separators")),
        None => Ok(items),
    }
}

impl<'a> Item<'a> {
    /// Id and address. The id ends at the `=`, or else at the dash that has `dashes` others before it.
    fn split(&self, dashes: usize) -> Option<(&'a str, &'a str)> {
        let at = match self.0.find('=') {
            Some(at) => at,
            None => self.0.match_indices('-').nth(dashes)?.0,
        };
        Some((self.0[..at].trim(), self.0[at + 1..].trim()))
    }

    /// The only peer of its list.
    fn alone(&self) -> Result<Peer, PeersError> {
        let ends = if self.0.contains('=') { 1 } else { self.0.matches('-').count().max(1) };
        let ways = (0..ends).map(|dashes| match self.split(dashes) {
            Some((id, address)) => self.peer(id, address),
            None => Err(self.malformed("no '-' or '=' after the id")),
        });
        let mut ways: Vec<_> = ways.collect();
        if ways.iter().all(Result::is_err) {
            // The error of the split at the first dash is the easiest to understand.
            return ways.swap_remove(0);
        }
        let mut ways: Vec<Peer> = ways.into_iter().flatten().collect();
        // A pod's host begins with its name.
        let is_pod = |peer: &Peer| {
            let behind = peer.address.strip_prefix(peer.id.as_str());
            behind.is_some_and(|behind| behind.starts_with(['.', ':']))
        };
        match ways.iter().position(is_pod) {
            Some(at) => Ok(ways.swap_remove(at)),
            None if ways.len() == 1 => Ok(ways.swap_remove(0)),
            None => {
                let each = ways.iter().map(|peer| format!("{} at {}", peer.id, peer.address));
                let each = each.collect::<Vec<_>>().join(", or ");
                Err(self.malformed(format!("it may be {each}: `=` after the id says which")))
            }
        }
    }

    fn peer(&self, id: &str, address: &str) -> Result<Peer, PeersError> {
        let id = id.parse().map_err(|error: NameError| self.malformed(error.to_string()))?;
        let address = checked_address(address).map_err(|why| self.malformed(why))?;
        Ok(Peer { id, address })
    }

    fn malformed(&self, why: impl Into<String>) -> PeersError {
        PeersError::Malformed { found: clip(self.0), why: why.into() }
    }
}

/// The part of bad input that an error quotes: never more than a line.
fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
#[path = "tests/peers.rs"]
mod tests;
