//! Appends one by one, in batches, and pipelined in sessions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dledger::{Ack, Client, PendingAppend};
use dledger_history::{Acked, Call, Hash};
use futures::future::OptionFuture;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Progress;
use super::bodies::Bodies;

/// What all clients have.
pub(super) struct Ways {
    pub(super) number: u64,
    pub(super) client: Client,
    pub(super) progress: Arc<Progress>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) every: Duration,
}

impl Ways {
    pub(super) fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(super) fn pace(&self) -> tokio::time::Interval {
        let mut pace = interval(self.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pace
    }
}

/// Appends one record after the other, or one batch after the other, until it is told to stop.
pub(super) async fn one_by_one(ways: Ways, mut bodies: Bodies, batch: usize) {
    let mut pace = ways.pace();
    while !ways.stopped() {
        pace.tick().await;
        let records: Vec<Bytes> = (0..batch).map(|_| bodies.next()).collect();
        let op = ways.progress.recorder().invoke(ways.number, call(&records, None));
        let outcome = match <[Bytes; 1]>::try_from(records) {
            Ok([record]) => ways.client.append(record).await.map(|ack| vec![ack]),
            Err(records) => ways.client.append_batch(records).await,
        };
        match outcome {
            Ok(acks) => ways.progress.acknowledged(op, acks.into_iter().map(acked).collect()),
            Err(error) => ways.progress.not_acknowledged(op, &error),
        }
    }
}

/// Appends in one session, with that number in flight.
pub(super) async fn session(ways: Ways, mut bodies: Bodies, window: usize) {
    let mut pace = ways.pace();
    let mut under_way: VecDeque<(u64, Vec<u64>, PendingAppend)> = VecDeque::new();
    loop {
        let room = under_way.len() < window && !ways.stopped();
        let first = OptionFuture::from(under_way.front_mut().map(|(.., pending)| pending));
        tokio::select! {
            Some(outcome) = first => {
                let Some((op, sizes, _)) = under_way.pop_front() else { continue };
                match outcome {
                    Ok(ack) => {
                        let mut position = ack.first_position;
                        let acks = sizes.into_iter().zip(ack.first_index..).map(|(size, index)| {
                            let here = Acked { index, position, term: ack.term };
                            position += 4 + size;
                            here
                        });
                        ways.progress.acknowledged(op, acks.collect());
                    }
                    Err(error) => ways.progress.not_acknowledged(op, &error),
                }
            }
            _ = pace.tick(), if room => {
                let records: Vec<Bytes> = (0..1 + under_way.len() % 3).map(|_| bodies.next()).collect();
                let sizes = records.iter().map(|record| record.len() as u64).collect();
                let op = ways.progress.recorder().invoke(ways.number, call(&records, Some(ways.number)));
                match ways.client.submit(records).await {
                    Ok(pending) => under_way.push_back((op, sizes, pending)),
                    Err(error) => ways.progress.not_acknowledged(op, &error),
                }
            }
            else => break,
        }
        if ways.stopped() && under_way.is_empty() {
            break;
        }
    }
}

/// Length of the records that fill a ledger. Nothing else is as long.
pub(crate) const LONG: usize = 256 << 10;

/// Appends long records one after the other, as fast as the cluster takes them, up to that number of bytes.
pub(super) async fn fill(ways: &Ways, bodies: &mut Bodies, bytes: u64) -> Result<(), String> {
    for _ in 0..bytes.div_ceil(LONG as u64) {
        let record = bodies.sized(LONG);
        let op = ways.progress.recorder().invoke(ways.number, call(std::slice::from_ref(&record), None));
        match ways.client.append(record).await {
            Ok(ack) => ways.progress.acknowledged(op, vec![acked(ack)]),
            Err(error) => {
                ways.progress.not_acknowledged(op, &error);
                return Err(format!("the ledger could not be filled: {error}"));
            }
        }
    }
    Ok(())
}

fn call(records: &[Bytes], session: Option<u64>) -> Call {
    Call::Append { records: records.iter().map(|record| Hash::of(record)).collect(), session }
}

fn acked(ack: Ack) -> Acked {
    Acked { index: ack.index, position: ack.position, term: ack.term }
}
