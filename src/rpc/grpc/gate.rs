//! How many connections may be open; the silent ones make room first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures::task::AtomicWaker;

/// Counts the open connections of a server and holds a string to each of them.
///
/// When all places are taken a newcomer gets the place of the connection that has been silent longest, that is, has
/// not begun to speak HTTP/2: an honest client speaks at once, so idle connections cannot keep it out. Connections that
/// have spoken keep their place; if all have, the newcomer is turned away.
pub(crate) struct Gate {
    max: usize,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    shut: bool,
    taken: BTreeMap<u64, Arc<Seat>>,
}

#[derive(Default)]
struct Seat {
    spoken: AtomicBool,
    closed: AtomicBool,
    waker: AtomicWaker,
}

/// A connection's place. Dropping it frees the place.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    number: u64,
    seat: Arc<Seat>,
}

impl Gate {
    /// A gate with places for `max` connections.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, seats: Mutex::default() })
    }

    /// A place for one more connection; `None` if there is none, or the gate is shut.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Ticket> {
        let mut seats = self.lock();
        if seats.shut {
            return None;
        }
        if seats.taken.len() >= self.max {
            let silent = seats.taken.iter().find(|(_, seat)| !seat.spoken.load(Ordering::Relaxed));
            let number = *silent?.0;
            if let Some(seat) = seats.taken.remove(&number) {
                tracing::debug!("all {} connections are taken: the longest silent one is closed", self.max);
                seat.close();
            }
        }
        let number = seats.next;
        seats.next += 1;
        let seat = Arc::new(Seat::default());
        seats.taken.insert(number, seat.clone());
        Some(Ticket { gate: self.clone(), number, seat })
    }

    /// Closes all connections and admits no more.
    pub(crate) fn shut(&self) {
        let mut seats = self.lock();
        seats.shut = true;
        for seat in std::mem::take(&mut seats.taken).into_values() {
            seat.close();
        }
    }

    /// How many connections have a place.
    pub(crate) fn taken(&self) -> usize {
        self.lock().taken.len()
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Ticket {
    /// The connection has begun to speak: it keeps its place from now on.
    pub(crate) fn spoken(&self) {
        self.seat.spoken.store(true, Ordering::Relaxed);
    }

    /// Whether the gate has closed the connection; if not, the task is woken when it does.
    pub(crate) fn is_closed(&self, cx: &Context<'_>) -> bool {
        self.seat.waker.register(cx.waker());
        self.seat.closed.load(Ordering::Acquire)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn closed(ticket: &Ticket) -> bool {
        ticket.is_closed(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_longest_silent_connection_makes_room() {
        let gate = Gate::new(3);
        let [first, second, third] = [(); 3].map(|()| gate.admit().unwrap());
        first.spoken();
        let fourth = gate.admit().unwrap();
        assert_eq!([&first, &second, &third, &fourth].map(closed), [false, true, false, false]);
        drop(second);
        assert_eq!(gate.taken(), 3, "the place of an evicted connection is not freed twice");
        third.spoken();
        fourth.spoken();
        assert!(gate.admit().is_none());
        drop(first);
        assert!(gate.admit().is_some());
    }

    #[test]
    fn a_shut_gate_closes_all_and_admits_none() {
        let gate = Gate::new(2);
        let ticket = gate.admit().unwrap();
        ticket.spoken();
        gate.shut();
        assert!(closed(&ticket));
        assert!(gate.admit().is_none());
        assert_eq!(gate.taken(), 0);
    }
}
