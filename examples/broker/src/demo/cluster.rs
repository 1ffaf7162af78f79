//! Three broker processes on loopback, in a directory that goes away with them.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Instant;

use dledger::{NodeId, Peer, Peers};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::Result;

/// Prints what happens, and when.
#[derive(Clone, Copy)]
pub struct Timeline(pub Instant);

impl Timeline {
    pub fn tell(self, who: impl ToString, what: impl std::fmt::Display) {
        println!("{:7.3} s  {:<9} {what}", self.0.elapsed().as_secs_f64(), who.to_string());
    }
}

pub struct Cluster {
    pub brokers: Peers,
    peers: Peers,
    running: Vec<Option<Child>>,
    /// Put what the brokers print on the timeline.
    relays: JoinSet<()>,
    timeline: Timeline,
    dir: TempDir,
}

impl Cluster {
    pub fn start(count: u64, timeline: Timeline) -> Result<Self> {
        let mut ports = free_ports(2 * count)?.into_iter();
        let mut list = || Peers::new((0..count).map(NodeId::new).zip(ports.by_ref()).map(peer).collect());
        let (peers, brokers) = (list()?, list()?);
        let running = peers.iter().map(|_| None).collect();
        let mut cluster = Self { brokers, peers, running, relays: JoinSet::new(), timeline, dir: tempfile::tempdir()? };
        for n in 0..cluster.running.len() {
            cluster.up(n)?;
        }
        Ok(cluster)
    }

    /// Starts the broker `n`, with what it has on disk.
    pub fn up(&mut self, n: usize) -> Result<()> {
        let id = NodeId::new(n as u64);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["serve", "--until-stdin-ends", "--id", id.as_str()])
            .arg("--data-dir")
            .arg(self.dir.path().join(id.as_str()));
        command.args(["--peers", &self.peers.to_string(), "--brokers", &self.brokers.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            let timeline = self.timeline;
            self.relays.spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    timeline.tell(&id, line);
                }
            });
        }
        self.running[n] = Some(child);
        Ok(())
    }

    /// SIGKILL: the broker has no time for anything.
    pub async fn kill(&mut self, n: usize) -> Result<()> {
        match self.running[n].take() {
            Some(mut child) => Ok(child.kill().await?),
            None => Err("the broker is not running".into()),
        }
    }

    /// Lets all end by themselves.
    pub async fn stop(mut self) -> Result<()> {
        let mut children: Vec<Child> = self.running.iter_mut().filter_map(Option::take).collect();
        children.iter_mut().for_each(|child| drop(child.stdin.take()));
        for mut child in children {
            let status = child.wait().await?;
            if !status.success() {
                return Err(format!("a broker ended with {status}").into());
            }
        }
        while self.relays.join_next().await.is_some() {}
        Ok(())
    }
}

fn peer((id, port): (NodeId, u16)) -> Peer {
    Peer { id, address: format!("127.0.0.1:{port}") }
}

/// Ports that were free a moment ago.
fn free_ports(count: u64) -> Result<Vec<u16>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    Ok(listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<_, std::io::Error>>()?)
}
