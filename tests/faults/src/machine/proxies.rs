//! Links made by TCP proxies on loopback, for machines where there are no network namespaces to be had: every node is
//! reached through a proxy, which knows by the socket at the other end who is calling.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::rules::{Rules, Verdict};
use super::spaces::PORT;
use super::{Error, Link, Party, Result, os};

/// The proxies of one machine.
pub(crate) struct Proxies {
    pub(crate) rules: Arc<Rules>,
    /// Where each node listens, and where it is reached; node 1 first.
    pub(crate) addresses: Vec<(SocketAddr, SocketAddr)>,
    worker: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Proxies {
    /// Starts one for each node of the machine of this name, on loopback addresses that are no other machine's.
    pub(crate) fn new(name: &str, nodes: u64) -> Result<Self> {
        if nodes > 100 {
            return Err(Error::State("too many nodes for one range of loopback addresses".into()));
        }
        let (listeners, addresses) = (0..4000)
            .find_map(|turn| bind(nodes, turn))
            .ok_or_else(|| Error::State("no range of loopback addresses is free, in 4000 tries".into()))?;
        let rules = Arc::new(Rules::new());
        let (stop, stopped) = oneshot::channel::<()>();
        let targets: Vec<SocketAddr> = addresses.iter().map(|(bind, _)| *bind).collect();
        let (own, name) = (rules.clone(), name.to_owned());
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return eprintln!("the proxies of {name} have no runtime") };
            runtime.block_on(async {
                for ((id, listener), target) in (1..).zip(listeners).zip(targets) {
                    tokio::spawn(serve(listener, id, target, name.clone().into(), own.clone()));
                }
                let _ = stopped.await;
            });
            // Not waiting for a look at /proc that may be under way.
            runtime.shutdown_background();
        };
        let worker = std::thread::Builder::new().name("proxies".into()).spawn(work);
        let worker = worker.map_err(Error::io("start a thread for", "the proxies"))?;
        Ok(Self { rules, addresses, worker: Some((stop, worker)) })
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        if let Some((stop, worker)) = self.worker.take() {
            let _ = stop.send(());
            let _ = worker.join();
        }
    }
}

type Bound = (Vec<StdListener>, Vec<(SocketAddr, SocketAddr)>);

/// The proxies' listeners in the range of this turn, if it is free.
fn bind(nodes: u64, turn: u32) -> Option<Bound> {
    let range = (std::process::id() + turn) % 40_000;
    let at = |host: u8| Ipv4Addr::new(127, 64 + (range / 250) as u8, (range % 250) as u8, host);
    // The process that binds the first port has the range.
    let pairs = (1..=nodes as u8).map(|id| {
        let (own, reached) = (SocketAddr::from((at(id), PORT)), SocketAddr::from((at(100 + id), PORT)));
        // A node must find its place free: looked at, and given back.
        StdListener::bind(own).ok()?;
        Some((StdListener::bind(reached).ok()?, (own, reached)))
    });
    pairs.collect::<Option<Vec<_>>>().map(|pairs| pairs.into_iter().unzip())
}

async fn serve(listener: StdListener, id: u64, target: SocketAddr, machine: Arc<str>, rules: Arc<Rules>) {
    let listener = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
    let Ok(listener) = listener else { return eprintln!("the proxy of node {id} cannot listen") };
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, most likely: others close theirs.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (machine, rules) = (machine.clone(), rules.clone());
        tokio::spawn(async move {
            let who = tokio::task::spawn_blocking(move || caller(peer, &machine)).await;
            let there = Link { from: who.unwrap_or(Party::Clients), to: Party::Node(id) };
            // What breaks a connection is told to both ends by its end.
            let _ = connection(stream, target, there, rules).await;
        });
    }
}

/// Who has the socket with this address.
fn caller(peer: SocketAddr, machine: &str) -> Party {
    let Some(socket) = socket(peer) else { return Party::Clients };
    let has = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(io::Result::ok);
        files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*socket))
    };
    if has(std::process::id()) {
        return Party::Clients;
    }
    let ours = |owner: &str| owner.strip_prefix(machine).is_some_and(|rest| rest.starts_with('/'));
    let owner = os::processes(ours).into_iter().find(|pid| has(*pid)).and_then(os::owner);
    let id = owner.and_then(|owner| owner.rsplit_once('/')?.1.parse().ok());
    id.map_or(Party::Clients, Party::Node)
}

/// The name that `/proc/PID/fd` has for the socket with this address.
fn socket(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(v4) = address else { return None };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port());
    let table = fs::read_to_string("/proc/self/net/tcp").ok()?;
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let inode =
        rows.filter(|row| row.get(1) == Some(&&*wanted)).find_map(|row| row.get(9).map(|inode| (*inode).to_owned()))?;
    Some(format!("socket:[{inode}]"))
}

async fn connection(near: TcpStream, target: SocketAddr, there: Link, rules: Arc<Rules>) -> io::Result<()> {
    let mut changes = rules.watch();
    let mut first = true;
    loop {
        changes.borrow_and_update();
        match rules.connect(there, std::mem::replace(&mut first, false)) {
            Verdict::Pass => break,
            Verdict::Reset => return near.set_zero_linger(),
            Verdict::Wait => {}
        }
        if changes.changed().await.is_err() {
            return Ok(());
        }
    }
    let far = match TcpStream::connect(target).await {
        Ok(far) => far,
        // Nobody listens: the caller is to see what it would see without a proxy.
        Err(_) => return near.set_zero_linger(),
    };
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let back = Link { from: there.to, to: there.from };
    let (mut near, mut far) = (near, far);
    let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
    let relays = tokio::try_join!(relay(near_in, far_out, there, &rules), relay(far_in, near_out, back, &rules));
    if relays.is_err() {
        // Neither is to take what came as all there was.
        near.set_zero_linger()?;
        far.set_zero_linger()?;
    }
    Ok(())
}

/// What was read, and when it is due.
type Piece = (Instant, Vec<u8>);

/// Carries one way of a connection, piece by piece, to its end. An error ends the other way too.
async fn relay(from: ReadHalf<'_>, to: WriteHalf<'_>, link: Link, rules: &Rules) -> io::Result<()> {
    // So much is on its way at most; more waits where it is.
    let (sender, receiver) = mpsc::channel(64);
    tokio::try_join!(read(from, link, rules, sender), write(to, link, rules, receiver)).map(|_| ())
}

async fn read(mut from: ReadHalf<'_>, link: Link, rules: &Rules, to: mpsc::Sender<Piece>) -> io::Result<()> {
    let mut due = Instant::now();
    loop {
        let mut piece = vec![0; 16 << 10];
        // A reset counts as an end: it must not overtake what a cut holds back.
        let length = from.read(&mut piece).await.unwrap_or(0);
        piece.truncate(length);
        // In order, whatever the jitter: TCP lets none overtake.
        due = due.max(Instant::now() + rules.late(link, length));
        // An empty piece is the end.
        if to.send((due, piece)).await.is_err() || length == 0 {
            return Ok(());
        }
    }
}

async fn write(mut to: WriteHalf<'_>, link: Link, rules: &Rules, mut from: mpsc::Receiver<Piece>) -> io::Result<()> {
    let mut changes = rules.watch();
    while let Some((due, piece)) = from.recv().await {
        if due.saturating_duration_since(Instant::now()) > Duration::ZERO {
            tokio::time::sleep_until(due.into()).await;
        }
        let mut first = true;
        loop {
            changes.borrow_and_update();
            match rules.verdict(link, piece.len(), std::mem::replace(&mut first, false)) {
                Verdict::Pass => break,
                Verdict::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
                Verdict::Wait => {}
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
        if piece.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&piece).await?;
    }
    Ok(())
}
