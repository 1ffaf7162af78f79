//! How many lines an outage costs, in hours of a clock that is advanced.

use std::io::{self, Write};

use tracing::subscriber::DefaultGuard;

use super::*;
use crate::raft::TokioRuntime;
use crate::wire::pb;

/// What was logged since the last look.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Captures what this thread logs, until the returned guard is dropped.
    fn capture() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock());
        String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Ended = Result<(), TransportError>;

fn dead() -> Ended {
    Err(TransportError::Unreachable { address: "h:1".into(), reason: "connection refused".into() })
}

fn late() -> Ended {
    Err(TransportError::Timeout { address: "h:1".into(), after: Duration::from_millis(400) })
}

fn refused(reason: pb::refusal::Reason) -> Ended {
    let refusal = pb::Refusal { reason: reason.into(), found: "a".into(), expected: "b".into(), ..Default::default() };
    Err(TransportError::Refused { address: "h:1".into(), refusal })
}

impl Outages {
    /// How many answers made no sense.
    pub(in crate::peer) fn garbled(&self) -> u64 {
        let all = self.inner.lock();
        all.iter().filter(|((_, kind), _)| *kind == OutageKind::Garbling).map(|(_, outage)| outage.failed).sum()
    }

    /// How often it was seen that the disk hangs.
    pub(crate) fn hangs(&self) -> u64 {
        let all = self.inner.lock();
        all.iter().filter(|((_, kind), _)| *kind == OutageKind::Hanging).map(|(_, outage)| outage.failed).sum()
    }

    /// Whether the disk was seen to work again.
    pub(crate) fn gets_on(&self) -> bool {
        self.inner.lock().iter().any(|((_, kind), outage)| *kind == OutageKind::Hanging && outage.answers)
    }

    /// Notes `rate` calls a second for `seconds`; `call` says for which ledger the n-th call is, and how it ends.
    async fn calls(&self, seconds: u64, rate: u64, call: impl Fn(u64) -> (u64, Ended)) {
        for n in 0..seconds * rate {
            let (ledger, ended) = call(n);
            self.note::<TokioRuntime, _>("n1", &format!("g{ledger}"), &ended);
            tokio::time::advance(Duration::from_secs(1) / u32::try_from(rate).unwrap()).await;
            // Lets the task that logs run.
            tokio::task::yield_now().await;
        }
    }
}

const HOUR: u64 = 3600;

/// The number of seconds in a line.
fn said(line: &str) -> u64 {
    let words: Vec<_> = line.split(' ').collect();
    let unit = words.iter().position(|word| matches!(*word, "s" | "s:")).unwrap();
    words[unit - 1].parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_costs_a_line_and_ever_rarer_reminders_however_often_it_is_called() {
    for (rate, ledgers) in [(2, 1), (30, 1), (40, 20)] {
        let (lines, _guard) = Lines::capture();
        let outages = Outages::default();
        outages.calls(HOUR, rate, |n| (n % ledgers, dead())).await;
        let told = lines.take();
        let each = if ledgers == 1 { "1 ledger" } else { "20 ledgers" };
        assert_eq!(told.len(), 4, "{told:#?}");
        assert_eq!(told[0], format!("WARN n1 does not answer ({each}): cannot reach h:1: connection refused"));
        for (line, seconds) in told[1..].iter().zip([11, 71, 671]) {
            assert!(
                line.starts_with("WARN n1 does not answer for ") && (seconds..seconds + 2).contains(&said(line)),
                "{line}"
            );
            assert!(line.contains(&format!("calls failed ({each})")), "{line}");
        }
        // The peer is back, which costs one line.
        outages.calls(HOUR, rate, |n| (n % ledgers, Ok(()))).await;
        let told = lines.take();
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].starts_with("INFO n1 answers again, after ") && said(&told[0]).abs_diff(HOUR) < 3, "{told:?}");
        assert!(told[0].ends_with(&format!("{} calls failed ({each})", HOUR * rate)), "{told:?}");
        // The table has forgotten the outage: a failure from now on begins a new one.
        assert!(outages.inner.lock().is_empty() && !outages.inner.any.load(Ordering::Relaxed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_costs_no_more_than_a_dead_one() {
    let (lines, _guard) = Lines::capture();
    let outages = Outages::default();
    outages.calls(HOUR, 10, |n| (0, if n % 7 == 0 { late() } else { Ok(()) })).await;
    let told = lines.take();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told[3].starts_with("WARN n1 sometimes does not answer, for 67"), "{told:?}");
    outages.calls(60, 10, |_| (0, Ok(()))).await;
    assert_eq!(lines.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_and_goes_is_told_ever_more_seldom() {
    for (down, up) in [(5, 25), (15, 15), (1, 12)] {
        let (lines, _guard) = Lines::capture();
        let outages = Outages::default();
        for _ in 0..HOUR / (down + up) {
            outages.calls(down, 4, |_| (0, dead())).await;
            outages.calls(up, 4, |_| (0, Ok(()))).await;
        }
        let told = lines.take();
        assert!(told.len() <= 10, "{down} s down, {up} s up: {told:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_sort_of_failure_is_told_once_in_an_outage() {
    let (lines, _guard) = Lines::capture();
    let outages = Outages::default();
    outages.calls(5, 10, |_| (0, dead())).await;
    outages.calls(300, 10, |n| (0, if n % 2 == 0 { dead() } else { late() })).await;
    let told = lines.take();
    assert_eq!(told.iter().filter(|line| line.contains("now for another reason")).count(), 1, "{told:#?}");
    assert_eq!(told.len(), 4, "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_one_ledger_is_refused_ends_when_it_is_answered_and_is_no_silence() {
    use pb::refusal::Reason;
    let (lines, _guard) = Lines::capture();
    let outages = Outages::default();
    outages.calls(60, 10, |n| (n % 2, if n % 2 == 0 { refused(Reason::Closed) } else { Ok(()) })).await;
    let told = lines.take();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("WARN n1 refuses calls (1 ledger): "), "{told:?}");
    outages.calls(60, 10, |n| (n % 2, refused(Reason::Sender))).await;
    let told = lines.take();
    assert!(told[0].contains("now for another reason") && told[1].contains("(2 ledgers)"), "{told:?}");
    // The peer answers ledger g1, and still refuses g0.
    outages.calls(60, 10, |n| (n % 2, if n % 2 == 0 { refused(Reason::Sender) } else { Ok(()) })).await;
    assert!(lines.take().iter().all(|line| line.starts_with("WARN")));
    outages.calls(60, 10, |n| (n % 2, Ok(()))).await;
    let told = lines.take();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("INFO n1 accepts calls again"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn answers_that_make_no_sense_cost_no_more_than_a_dead_peer_and_are_no_silence() {
    let (lines, _guard) = Lines::capture();
    let outages = Outages::default();
    let answers = async |seconds: u64, sense: bool| {
        for _ in 0..seconds * 10 {
            outages.note::<TokioRuntime, _>("n1", "g", &Ok(()));
            let read = if sense { Ok(()) } else { Err(Malformed::Missing("vote")) };
            outages.note_sense::<TokioRuntime, _>("n1", "g", &read);
            tokio::time::advance(TICK / 10).await;
            tokio::task::yield_now().await;
        }
    };
    answers(HOUR, false).await;
    let told = lines.take();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert_eq!(told[0], "WARN n1 sends malformed answers (1 ledger): field vote is missing");
    assert!(told[1].starts_with("WARN n1 sends malformed answers for 1"), "{told:?}");
    answers(60, true).await;
    let told = lines.take();
    assert!(told.len() == 1 && told[0].starts_with("INFO n1 sends well-formed answers again, after 36"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_told_as_an_outage_is() {
    let (lines, _guard) = Lines::capture();
    let outages = Outages::default();
    let looks = async |seconds: std::ops::Range<u64>, hangs: &dyn Fn(u64) -> bool| {
        for second in seconds {
            let stuck = hangs(second).then(|| ("g", format!("a sync has not ended for {second} s")));
            outages.note_disk::<TokioRuntime>(stuck.into_iter());
            tokio::time::advance(TICK).await;
            tokio::task::yield_now().await;
        }
    };
    looks(0..10, &|_| false).await;
    assert!(lines.take().is_empty());
    looks(2..72, &|_| true).await;
    let told = lines.take();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("WARN the disk hangs (1 ledger): g: a sync has not ended for "), "{told:?}");
    assert!(
        told[1].starts_with("WARN the disk hangs for 1") && told[1].contains(" s (1 ledger): g: a sync"),
        "{told:?}"
    );
    looks(0..60, &|_| false).await;
    let told = lines.take();
    assert!(told.len() == 1 && told[0].starts_with("INFO the disk works again, after "), "{told:?}");
    // A disk that hangs again and again is logged ever more seldom.
    looks(0..HOUR, &|second| second % 7 < 3).await;
    let told = lines.take();
    assert!(told.len() <= 5 && told.last().unwrap().contains("sometimes hangs for "), "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_nobody_calls_any_more_is_not_said_to_be_well() {
    let (lines, _guard) = Lines::capture();
    let outages = Outages::default();
    outages.calls(5, 10, |_| (0, dead())).await;
    for _ in 0..100 {
        tokio::time::advance(TICK).await;
        tokio::task::yield_now().await;
    }
    let told = lines.take();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(told[1], "INFO n1 is no longer called, after 50 failed calls in 5 s");
    drop(outages);
}
