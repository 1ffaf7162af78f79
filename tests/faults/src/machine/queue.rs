//! Delay and jitter: packets wait in a queue of the kernel's until this process says that they may go on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nfq::{Message, Queue, Verdict};
use parking_lot::Mutex;

use super::spaces::{Spaces, address};
use super::{Active, Error, Links, Party, Result, Shared, os};

/// How long each packet is held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub(crate) by: Duration,
    pub(crate) jitter: Duration,
}

/// Links whose packets are held.
pub(crate) struct Delay {
    shared: Arc<Shared>,
    rules: Vec<(Party, String)>,
    workers: Vec<(Sender<()>, JoinHandle<io::Result<()>>)>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    packets: AtomicU64,
    microseconds: AtomicU64,
    /// The first of the workers that could not go on.
    failed: Mutex<Option<String>>,
}

impl Delay {
    pub(crate) fn install(shared: &Arc<Shared>, links: &Links, hold: Hold) -> Result<Self> {
        let counts = Arc::default();
        let mut own = Self { shared: shared.clone(), rules: Vec::new(), workers: Vec::new(), counts };
        let mut receivers: BTreeMap<Party, Vec<Party>> = BTreeMap::new();
        for link in links.iter() {
            receivers.entry(link.to).or_default().push(link.from);
        }
        let spaces = shared.spaces()?;
        for (receiver, senders) in receivers {
            let number = next();
            // First who empties the queue, then what fills it.
            own.workers.push(start(spaces, receiver, number, hold, own.counts.clone())?);
            for sender in senders {
                let rule = rule(&address(sender), number);
                change(spaces, receiver, "-A", &rule)?;
                own.rules.push((receiver, rule));
            }
        }
        Ok(own)
    }
}

impl Active for Delay {
    fn observed(&mut self) -> Result<Option<String>> {
        if let Some(why) = &*self.counts.failed.lock() {
            return Err(Error::State(format!("the packet queue: {why}")));
        }
        let packets = self.counts.packets.load(Ordering::Relaxed);
        let held = self.counts.microseconds.load(Ordering::Relaxed) as f64 / packets.max(1) as f64 / 1000.0;
        Ok((packets > 0).then(|| format!("{packets} packets held for {held:.1} ms on the average")))
    }

    fn remove(&mut self) -> Result<()> {
        let rules = std::mem::take(&mut self.rules);
        let spaces = self.shared.spaces()?;
        let removed: Vec<_> = rules.iter().map(|(at, rule)| change(spaces, *at, "-D", rule)).collect();
        for (stop, worker) in self.workers.drain(..) {
            drop(stop);
            // What went wrong with it stands in `failed`.
            let _ = worker.join();
        }
        removed.into_iter().collect()
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        if !self.workers.is_empty() {
            // Half installed: the caller has been told what failed.
            let _ = self.remove();
        }
    }
}

/// Whether packets can be queued here.
pub(crate) fn probe(spaces: &Spaces) -> Result<()> {
    os::installed("iptables").map_err(|why| Error::not_here("packet queue", why))?;
    let hold = Hold { by: Duration::ZERO, jitter: Duration::ZERO };
    let number = next();
    let (stop, worker) = start(spaces, Party::Clients, number, hold, Arc::default())?;
    let rule = rule(&address(Party::Clients), number);
    let changed =
        change(spaces, Party::Clients, "-A", &rule).and_then(|()| change(spaces, Party::Clients, "-D", &rule));
    drop(stop);
    let _ = worker.join();
    changed
}

fn next() -> u16 {
    static MADE: AtomicU16 = AtomicU16::new(1);
    MADE.fetch_add(1, Ordering::Relaxed)
}

/// nftables may have no queue where iptables has one.
fn rule(from: &str, number: u16) -> String {
    format!("-s {from} -j NFQUEUE --queue-num {number}")
}

fn change(spaces: &Spaces, at: Party, how: &str, rule: &str) -> Result<()> {
    let args: Vec<&str> = ["iptables", "-w", how, "INPUT"].into_iter().chain(rule.split(' ')).collect();
    spaces.run(at, &args, "").map(|_| ())
}

fn start(
    spaces: &Spaces,
    at: Party,
    number: u16,
    hold: Hold,
    counts: Arc<Counts>,
) -> Result<(Sender<()>, JoinHandle<io::Result<()>>)> {
    let (stop, stopped) = channel();
    let (ready, bound) = channel();
    std::thread::scope(|scope| {
        // A thread that is in the namespace starts the one that stays there.
        let started = scope.spawn(|| -> Result<_> {
            spaces.enter(at)?;
            let failed = Error::io("start a thread for", "a packet queue");
            let work = move || {
                let queue = bind(number);
                let queue = match queue {
                    Ok(queue) => queue,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return Ok(());
                    }
                };
                let _ = ready.send(Ok(()));
                let worked = work(queue, hold, &counts, &stopped);
                if let Err(error) = &worked {
                    *counts.failed.lock() = Some(error.to_string());
                }
                worked
            };
            std::thread::Builder::new().name(format!("queue-{number}")).spawn(work).map_err(failed)
        });
        let worker = started.join().map_err(|_| Error::State("the thread of a packet queue panicked".into()))??;
        let gone = |_| io::Error::other("its thread ended");
        let bound = bound.recv().map_err(gone).and_then(|bound| bound);
        bound.map_err(Error::io("bind", "a packet queue"))?;
        Ok((stop, worker))
    })
}

fn bind(number: u16) -> io::Result<Queue> {
    let mut queue = Queue::open()?;
    queue.bind(number)?;
    // Only the verdict goes back: the packet itself stays in the kernel.
    queue.set_copy_range(number, 64)?;
    queue.set_queue_max_len(number, 1 << 15)?;
    queue.set_recv_enobufs(false)?;
    queue.set_nonblocking(true);
    Ok(queue)
}

struct Held {
    due: Instant,
    since: Instant,
    number: u64,
    message: Message,
}

fn work(mut queue: Queue, hold: Hold, counts: &Counts, stop: &Receiver<()>) -> io::Result<()> {
    let mut waiting: BinaryHeap<Reverse<Held>> = BinaryHeap::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut number = 0;
    loop {
        loop {
            let message = match queue.recv() {
                Ok(message) => message,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let jitter = random % (hold.jitter.as_micros() as u64).max(1);
            let since = Instant::now();
            number += 1;
            waiting.push(Reverse(Held {
                due: since + hold.by + Duration::from_micros(jitter),
                since,
                number,
                message,
            }));
        }
        let now = Instant::now();
        while waiting.peek().is_some_and(|first| first.0.due <= now) {
            let Some(Reverse(held)) = waiting.pop() else { break };
            counts.packets.fetch_add(1, Ordering::Relaxed);
            counts.microseconds.fetch_add(held.since.elapsed().as_micros() as u64, Ordering::Relaxed);
            accept(&mut queue, held.message)?;
        }
        // The crate does not lend its socket, so that nothing can wait for it: half a millisecond is what it costs.
        match stop.recv_timeout(Duration::from_micros(500)) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => break,
        }
    }
    // None is kept: the fault is over.
    waiting.into_sorted_vec().into_iter().rev().try_for_each(|Reverse(held)| accept(&mut queue, held.message))
}

fn accept(queue: &mut Queue, mut message: Message) -> io::Result<()> {
    message.set_verdict(Verdict::Accept);
    queue.verdict(message)
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}
