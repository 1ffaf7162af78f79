//! How the appends went: how many a second, how long they took, and when none was acknowledged.

use super::calls::{Outcome, Span};

/// Bins of the strips: fewer where there are few appends, so that a bin has some.
const BINS: std::ops::RangeInclusive<u64> = 50..=400;
const APPENDS_A_BIN: u64 = 6;
/// Windows without an ack that are drawn, at most: the longest ones.
const WINDOWS: usize = 200;
/// A window without an ack is one from here on.
pub(super) const WINDOW: u64 = 500_000_000;

/// The appends over time.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    /// Nanoseconds of a bin.
    pub bin: u64,
    /// Acknowledged records in each bin.
    pub acked: Vec<u64>,
    /// Appends that ended in each bin without being acknowledged.
    pub lost: Vec<u64>,
    /// Median and 99th percentile of the nanoseconds until an ack, where there was one.
    pub latency: Vec<Option<(u64, u64)>>,
    /// Times of at least [`WINDOW`] in which an append was under way or tried and none was acknowledged.
    pub windows: Vec<(u64, u64)>,
    /// The longest such time, however short.
    pub longest: Option<(u64, u64)>,
}

/// The appends among `spans`, in a history of the moments `from..=to`.
pub(super) fn load(spans: &[Span<'_>], from: u64, to: u64) -> Load {
    let appends = spans.iter().filter(|span| span.is_append()).count() as u64;
    let bin = ((to - from) / (appends / APPENDS_A_BIN).clamp(*BINS.start(), *BINS.end())).max(1_000_000);
    let bins = ((to - from) / bin + 1) as usize;
    let mut load = Load { bin, acked: vec![0; bins], lost: vec![0; bins], ..Load::default() };
    let mut took: Vec<Vec<u64>> = vec![Vec::new(); bins];
    for span in spans.iter().filter(|span| span.is_append()) {
        let at = ((span.end - from) / bin) as usize;
        if span.outcome == Outcome::Ok {
            load.acked[at] += span.acked_records();
            took[at].push(span.length());
        } else {
            load.lost[at] += 1;
        }
    }
    load.latency = took.iter_mut().map(|took| percentiles(took)).collect();
    let mut windows = without_ack(spans);
    load.longest = windows.iter().copied().max_by_key(|(start, end)| end - start);
    windows.retain(|(start, end)| end - start >= WINDOW);
    if windows.len() > WINDOWS {
        windows.sort_by_key(|(start, end)| std::cmp::Reverse(end - start));
        windows.truncate(WINDOWS);
        windows.sort_unstable();
    }
    load.windows = windows;
    load
}

fn percentiles(took: &mut [u64]) -> Option<(u64, u64)> {
    took.sort_unstable();
    let at = |per_cent: usize| took.get((took.len() * per_cent / 100).min(took.len().saturating_sub(1))).copied();
    Some((at(50)?, at(99)?))
}

/// Every time between two acks in which somebody wanted one: from the earlier ack, or the first append after it where
/// none was under way, to the later one, or to the end of the last append. An append without an end counts with its
/// beginning only: nobody knows how long it was waited for.
fn without_ack(spans: &[Span<'_>]) -> Vec<(u64, u64)> {
    /// What happened in a moment; of one moment, the beginnings come first.
    const BEGUN: u8 = 0;
    const TRIED: u8 = 1;
    const LOST: u8 = 2;
    const ACKED: u8 = 3;
    let mut moments: Vec<(u64, u8)> = Vec::new();
    for span in spans.iter().filter(|span| span.is_append()) {
        match (span.open, span.is_acked()) {
            (true, _) => moments.push((span.start, TRIED)),
            (false, acked) => {
                moments.push((span.start, BEGUN));
                moments.push((span.end, if acked { ACKED } else { LOST }));
            }
        }
    }
    moments.sort_unstable();
    let mut windows = Vec::new();
    let mut under_way = 0_u64;
    let mut since: Option<u64> = None;
    let mut last_end = None;
    for (at, what) in moments {
        match what {
            BEGUN | TRIED => {
                under_way += u64::from(what == BEGUN);
                since.get_or_insert(at);
            }
            LOST => {
                under_way -= 1;
                last_end = Some(at);
            }
            _ => {
                under_way -= 1;
                windows.extend(since.take().map(|since| (since, at)));
                since = (under_way > 0).then_some(at);
                last_end = None;
            }
        }
    }
    windows.extend(since.zip(last_end).filter(|(since, end)| since <= end));
    windows
}

#[cfg(test)]
mod tests {
    use dledger_history::{Answer, Call, Event, What};

    use super::super::calls::calls;
    use super::*;

    const S: u64 = 1_000_000_000;

    /// The windows of a history of appends: when each began, when it ended, and how.
    fn windows(appends: &[(u64, u64, char)]) -> Vec<(u64, u64)> {
        let mut events = Vec::new();
        for (op, &(start, end, how)) in (0..).zip(appends) {
            let call = Call::Append { records: Vec::new(), session: None };
            events.push(Event { at: start, what: What::Invoke { client: op, op, call } });
            let what = match how {
                'o' => What::Ok { op, answer: Answer::Acked { acks: Vec::new() } },
                'f' => What::Fail { op, error: String::new() },
                'u' => What::Unknown { op, error: String::new() },
                _ => continue,
            };
            events.push(Event { at: end, what });
        }
        events.push(Event { at: 60 * S, what: What::Note { text: String::new() } });
        load(&calls(&events), 0, 60 * S).windows
    }

    #[test]
    fn a_window_without_ack_is_one_only_while_somebody_wants_one() {
        // Nobody asks between 1 s and 9 s.
        assert_eq!(windows(&[(0, S / 10, 'o'), (9 * S, 9 * S + S / 10, 'o')]), []);
        // Somebody asks, and is refused, from 2 s on; the window begins with the first who asked.
        let refused = [(0, S / 10, 'o'), (2 * S, 2 * S + 1, 'f'), (3 * S, 3 * S + 1, 'u'), (5 * S, 6 * S, 'o')];
        assert_eq!(windows(&refused), [(2 * S, 6 * S)]);
        // One is under way all the time while another is acknowledged: the window begins with that ack.
        assert_eq!(windows(&[(0, 4 * S, 'u'), (0, S / 10, 'o')]), [(S / 10, 4 * S)]);
        // It never came back: until the last one that was tried.
        assert_eq!(windows(&[(0, S / 10, 'o'), (S, 2 * S, 'f'), (2 * S, 3 * S, 'u')]), [(S, 3 * S)]);
        // How long a client waited for an append without an end is not known.
        assert_eq!(windows(&[(0, S / 10, 'o'), (S, 0, '-')]), []);
        assert_eq!(windows(&[(S, 0, '-'), (4 * S, 5 * S, 'o'), (5 * S + 1, 5 * S + 2, 'o')]), [(S, 5 * S)]);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        assert_eq!(percentiles(&mut []), None);
        assert_eq!(percentiles(&mut [7]), Some((7, 7)));
        assert_eq!(percentiles(&mut (0..1000).rev().collect::<Vec<_>>()), Some((500, 990)));
    }
}
