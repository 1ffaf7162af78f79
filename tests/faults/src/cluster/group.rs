//! All nodes, and what they say of themselves.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dledger::{Client, Group, Peers, Status};
use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::node::{Node, Place};

/// The longest wait for a status.
const STATUS: Duration = Duration::from_millis(500);
/// Pause between two looks at what a wait is for.
const LOOK: Duration = Duration::from_millis(50);

/// What the nodes of a cluster have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The command.
    pub binary: PathBuf,
    /// Where their logs go.
    pub logs: PathBuf,
    /// Options of `dledger serve` for all of them.
    pub options: Vec<String>,
    /// How many of the places the cluster is formed of; the others join later.
    pub initial: usize,
}

/// Three to five nodes.
pub struct Cluster {
    /// All of them, those that do not run as well.
    pub nodes: Vec<Arc<Node>>,
    group: Group,
    peers: Peers,
    options: Vec<String>,
}

impl Cluster {
    /// Nodes at these places; starts none.
    ///
    /// # Errors
    /// Names or addresses are no such.
    pub fn new(places: Vec<Place>, settings: &Settings) -> Result<Self, String> {
        let list = |places: &[Place]| {
            let each: Vec<_> = places.iter().map(|place| format!("{}={}", place.name, place.address)).collect();
            each.join(",")
        };
        let all = list(&places);
        let initial = list(&places[..settings.initial]);
        let mut nodes = Vec::new();
        for (n, place) in places.into_iter().enumerate() {
            let args = if n < settings.initial {
                let mut args = common(&place, &settings.options);
                args.extend(["--peers".into(), initial.clone()]);
                args
            } else {
                joining(&place, &settings.options)
            };
            let log = settings.logs.join(format!("{}.log", place.name));
            nodes.push(Arc::new(Node::new(place, settings.binary.clone(), args, log)));
        }
        let peers = all.parse().map_err(|error| format!("{all}: {error}"))?;
        let group = "faults".parse().map_err(|error| format!("{error}"))?;
        Ok(Self { nodes, group, peers, options: settings.options.clone() })
    }

    /// Options of a node that joins with an empty directory.
    pub fn joining(&self, n: usize) -> Vec<String> {
        joining(self.nodes[n].place(), &self.options)
    }

    /// Where the ledger of a node lies.
    pub fn ledger_dir(&self, n: usize) -> PathBuf {
        self.nodes[n].place().data_dir.join(self.group.as_str())
    }

    /// A client that knows all nodes.
    pub fn client(&self, within: Duration) -> Client {
        Client::builder(self.peers.clone(), self.group.clone()).timeout(within).build()
    }

    /// Starts these nodes.
    ///
    /// # Errors
    /// The first that cannot be started.
    pub async fn start(&self, which: &[usize]) -> io::Result<()> {
        for n in which {
            self.nodes[*n].start().await?;
        }
        Ok(())
    }

    /// Ends all processes, however they are. Which are left when it returns, and why.
    pub async fn shutdown(&self) -> Vec<String> {
        let ends = self.nodes.iter().map(|node| async move {
            let error = node.kill().await.err()?;
            // Of one that did not run there was nothing to end.
            node.runs().await.then(|| format!("{} is left: {error}", node.name()))
        });
        join_all(ends).await.into_iter().flatten().collect()
    }

    /// What each node says; none where it does not answer.
    pub async fn statuses(&self, client: &Client) -> Vec<Option<Status>> {
        join_all((0..self.nodes.len()).map(|n| self.status(client, n))).await
    }

    /// What a node says.
    pub async fn status(&self, client: &Client, n: usize) -> Option<Status> {
        let node = self.nodes[n].name().parse().ok()?;
        timeout(STATUS, client.status(&node)).await.ok()?.ok()
    }

    /// Waits until `done` finds what it looks for in what the nodes say. The error says what they said last.
    ///
    /// # Errors
    /// Not in time.
    pub async fn until<T>(
        &self,
        what: &str,
        within: Duration,
        mut done: impl FnMut(&[Option<Status>]) -> Option<T>,
    ) -> Result<T, String> {
        let client = self.client(STATUS);
        let began = Instant::now();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let said = self.statuses(&client).await;
            if let Some(found) = done(&said) {
                return Ok(found);
            }
            if began.elapsed() > within {
                let each: Vec<_> = said.iter().zip(&self.nodes).map(|(said, node)| line(node, said)).collect();
                return Err(format!("not within {within:?}: {what}. The nodes say: {}", each.join("; ")));
            }
        }
    }

    /// The node that says it is the master, in the highest term, and that term.
    ///
    /// # Errors
    /// None in time.
    pub async fn leader(&self, within: Duration) -> Result<(usize, u64), String> {
        let found = |said: &[Option<Status>]| leader_of(said).map(|(n, status)| (n, status.term));
        self.until("a master", within, found).await
    }

    /// Whose process ended without a fault that explains it, and the panics.
    pub async fn deaths(&self) -> Vec<String> {
        join_all(self.nodes.iter().map(|node| node.deaths())).await.into_iter().flatten().collect()
    }

    /// The lines of all logs that tell of a panic.
    pub fn panics(&self) -> Vec<String> {
        self.nodes.iter().flat_map(|node| node.lines_with("panicked at")).collect()
    }
}

/// Who says that it is the master, in the highest term, and what else it says.
pub(crate) fn leader_of(said: &[Option<Status>]) -> Option<(usize, &Status)> {
    let masters = said.iter().enumerate().filter_map(|(n, said)| said.as_ref().map(|said| (n, said)));
    let masters = masters.filter(|(_, said)| said.role.is_master());
    masters.max_by_key(|(_, said)| said.term)
}

fn common(place: &Place, options: &[String]) -> Vec<String> {
    let dir = path(&place.data_dir);
    let mut args: Vec<String> = ["--group", "faults", "--id", &place.name, "--data-dir", &dir].map(Into::into).into();
    args.extend(["--bind".into(), place.bind.clone()]);
    args.extend(options.iter().cloned());
    args
}

fn joining(place: &Place, options: &[String]) -> Vec<String> {
    let mut args = common(place, options);
    args.extend(["--join".into(), "--advertise".into(), place.address.clone()]);
    args
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn line(node: &Node, said: &Option<Status>) -> String {
    let Some(said) = said else { return format!("{} nothing", node.name()) };
    let closed = said.role.reason().map(|why| format!(" ({why})")).unwrap_or_default();
    let full = said.disk_full.as_deref().map(|why| format!(" (disk full: {why})")).unwrap_or_default();
    let role = said.role.name();
    let Status { term, first, committed, durable, end, .. } = said;
    format!(
        "{} {role}{closed}{full} of term {term}, {first} to {end}, committed {committed}, durable {durable}",
        node.name()
    )
}
