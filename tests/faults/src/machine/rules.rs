//! What the proxies do to the bytes of each link.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::{Active, Link, Links, Result};

/// What a segment that was lost costs: the sender's timeout, as Linux has it at least.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// What is done to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// They wait until the fault is over.
    Withhold,
    /// Their connection is reset.
    Reset,
    /// So many percent of the pieces come as late as if TCP had to send them again.
    Lose { percent: u8 },
    /// They come later.
    Delay { by: Duration, jitter: Duration },
}

impl Treatment {
    fn past(self) -> &'static str {
        match self {
            Self::Withhold => "withheld",
            Self::Reset => "answered by a reset",
            Self::Lose { .. } => "sent late as if lost",
            Self::Delay { .. } => "delayed",
        }
    }
}

/// The treatments in force; all relays look here.
pub(crate) struct Rules {
    all: Mutex<BTreeMap<u64, Rule>>,
    version: watch::Sender<u64>,
    random: AtomicU64,
}

#[derive(Clone)]
struct Rule {
    links: Links,
    treatment: Treatment,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    pieces: AtomicU64,
    bytes: AtomicU64,
    connections: AtomicU64,
}

/// What is to become of a piece now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Wait,
    Reset,
}

impl Rules {
    pub(crate) fn new() -> Self {
        Self { all: Mutex::default(), version: watch::Sender::new(0), random: AtomicU64::new(0x9e37_79b9_7f4a_7c15) }
    }

    /// Tells when the treatments change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Rule>> {
        self.all.lock()
    }

    fn on(&self, link: Link) -> Vec<Rule> {
        self.all().values().filter(|rule| rule.links.iter().any(|own| own == link)).cloned().collect()
    }

    fn random(&self, below: u64) -> u64 {
        let step = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^ (x << 17)
        };
        let before = self.random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x)));
        before.unwrap_or_else(|x| x) % below.max(1)
    }

    /// How much later a piece that comes in now is to go on.
    pub(crate) fn late(&self, link: Link, bytes: usize) -> Duration {
        let late = self.on(link).into_iter().map(|rule| {
            let late = match rule.treatment {
                Treatment::Delay { by, jitter } => by + Duration::from_micros(self.random(jitter.as_micros() as u64)),
                Treatment::Lose { percent } if self.random(100) < u64::from(percent) => RETRANSMISSION,
                _ => return Duration::ZERO,
            };
            rule.counts.piece(bytes);
            late
        });
        late.sum()
    }

    /// Whether a piece that is due may go on. `first`: it has not been asked for before.
    pub(crate) fn verdict(&self, link: Link, bytes: usize, first: bool) -> Verdict {
        let rules = self.on(link);
        if let Some(rule) = rules.iter().find(|rule| rule.treatment == Treatment::Reset) {
            rule.counts.piece(bytes);
            return Verdict::Reset;
        }
        let Some(rule) = rules.iter().find(|rule| rule.treatment == Treatment::Withhold) else { return Verdict::Pass };
        if first {
            rule.counts.piece(bytes);
        }
        Verdict::Wait
    }

    /// Whether a connection may be made: both ways are needed.
    pub(crate) fn connect(&self, there: Link, first: bool) -> Verdict {
        let back = Link { from: there.to, to: there.from };
        let rules: Vec<Rule> = [self.on(there), self.on(back)].concat();
        let (resets, holds) = (Treatment::Reset, Treatment::Withhold);
        let rule = rules.iter().find(|rule| rule.treatment == resets || rule.treatment == holds);
        let Some(rule) = rule else { return Verdict::Pass };
        if first {
            rule.counts.connections.fetch_add(1, Ordering::Relaxed);
        }
        if rule.treatment == resets { Verdict::Reset } else { Verdict::Wait }
    }
}

impl Counts {
    fn piece(&self, bytes: usize) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A treatment in force.
pub(crate) struct InForce {
    rules: Arc<Rules>,
    number: u64,
    treatment: Treatment,
    counts: Arc<Counts>,
}

impl InForce {
    pub(crate) fn install(rules: &Arc<Rules>, links: Links, treatment: Treatment) -> Self {
        let counts = Arc::<Counts>::default();
        let mut number = 0;
        rules.version.send_modify(|version| {
            *version += 1;
            number = *version;
            rules.all().insert(number, Rule { links, treatment, counts: counts.clone() });
        });
        Self { rules: rules.clone(), number, treatment, counts }
    }
}

impl Active for InForce {
    fn observed(&mut self) -> Result<Option<String>> {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (pieces, bytes, connections) =
            (of(&self.counts.pieces), of(&self.counts.bytes), of(&self.counts.connections));
        let seen = pieces + connections > 0;
        let past = self.treatment.past();
        Ok(seen.then(|| format!("{pieces} pieces of {bytes} bytes and {connections} new connections {past}")))
    }

    fn remove(&mut self) -> Result<()> {
        self.rules.version.send_modify(|version| {
            *version += 1;
            self.rules.all().remove(&self.number);
        });
        Ok(())
    }
}
