//! Who may have how many connections open: peers and clients have places of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use futures::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::greeting::Caller;

/// Nobody was turned away for so long: the want of places is over.
const CALM: Duration = Duration::from_secs(5);

/// Connections that have no place yet: more than come in while one says what it is.
pub(crate) const PORCH: usize = 64;

/// How many connections of which kind may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    /// Clients, tools, and whatever else does not greet as a peer does.
    pub(crate) clients: usize,
    /// So many of those are kept for callers on the node's own machine: a probe that asks whether the node lives is not
    /// to find all places taken by those that it serves.
    pub(crate) own_machine: usize,
    /// Other nodes.
    pub(crate) peers: usize,
    /// Those that have not said what they are, and those that are being told that there is no place for them.
    pub(crate) porch: usize,
}

/// Counts the open connections of a server and holds a string to each of them.
///
/// A newcomer waits on the porch until it has said what it is, and then gets a place among its kind: clients, however
/// many, take none from peers. Where there is none it stays on the porch while it is told. The porch is never full: who
/// has been there longest makes room, so that silent connections keep nobody out.
pub(crate) struct Gate {
    places: Places,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    shut: bool,
    porch: BTreeMap<u64, Arc<Seat>>,
    clients: Kind,
    peers: Kind,
}

#[derive(Default)]
struct Kind {
    seated: BTreeMap<u64, Arc<Seat>>,
    want: Option<Want>,
}

/// Newcomers are turned away.
struct Want {
    since: Instant,
    last: Instant,
    turned_away: u64,
}

#[derive(Default)]
struct Seat {
    closed: AtomicBool,
    waker: AtomicWaker,
}

/// A connection's place. Dropping it frees the place.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    number: u64,
    /// Whether it is of this machine.
    local: bool,
    seat: Arc<Seat>,
}

impl Gate {
    /// A gate to so many places.
    pub(crate) fn new(places: Places) -> Arc<Self> {
        Arc::new(Self { places, seats: Mutex::default() })
    }

    /// A place on the porch for one more connection, which may come from this machine (`local`); `None` if the gate is
    /// shut.
    pub(crate) fn admit(self: &Arc<Self>, local: bool) -> Option<Ticket> {
        let mut seats = self.lock();
        if seats.shut {
            return None;
        }
        if seats.porch.len() >= self.places.porch
            && let Some((_, seat)) = seats.porch.pop_first()
        {
            tracing::debug!("{} connections have no place yet: the oldest of them is closed", self.places.porch);
            seat.close();
        }
        let number = seats.next;
        seats.next += 1;
        let seat = Arc::new(Seat::default());
        seats.porch.insert(number, seat.clone());
        Some(Ticket { gate: self.clone(), number, local, seat })
    }

    /// Says that a want of places is over, if one is. To be called now and then.
    pub(crate) fn look(&self) {
        let mut seats = self.lock();
        for caller in [Caller::Client, Caller::Peer] {
            let places = self.places.of(caller, true);
            let kind = seats.kind(caller);
            if let Some(want) = kind.want.take_if(|want| want.last.elapsed() >= CALM) {
                let (taken, turned_away) = (kind.seated.len(), want.turned_away);
                let lasted = (want.last - want.since).as_secs();
                tracing::warn!(
                    "no {caller} is turned away any more: {turned_away} connections were, over {lasted} s; \
                     {taken} of {places} places are taken now"
                );
            }
        }
    }

    /// Closes all connections and admits no more.
    pub(crate) fn shut(&self) {
        let mut seats = self.lock();
        seats.shut = true;
        let Seats { porch, clients, peers, .. } = &mut *seats;
        for all in [porch, &mut clients.seated, &mut peers.seated] {
            for seat in std::mem::take(all).into_values() {
                seat.close();
            }
        }
    }

    /// How many connections are open.
    pub(crate) fn taken(&self) -> usize {
        let seats = self.lock();
        seats.porch.len() + seats.clients.seated.len() + seats.peers.seated.len()
    }

    pub(crate) fn places(&self) -> Places {
        self.places
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock()
    }
}

impl Places {
    /// How many connections there may be before one of this kind finds no place.
    fn of(&self, caller: Caller, local: bool) -> usize {
        match caller {
            Caller::Client if !local => self.clients.saturating_sub(self.own_machine),
            Caller::Client => self.clients,
            Caller::Peer => self.peers,
        }
    }

    /// What one of this kind is told that finds none.
    pub(crate) fn taken(&self, caller: Caller) -> String {
        match (caller, self.own_machine) {
            (Caller::Client, 0) | (Caller::Peer, _) => format!("all {} {caller} connections", self.of(caller, true)),
            (Caller::Client, kept) => {
                format!("all {} client connections, but {kept} for the node's own machine,", self.clients)
            }
        }
    }
}

impl Seats {
    fn kind(&mut self, caller: Caller) -> &mut Kind {
        match caller {
            Caller::Client => &mut self.clients,
            Caller::Peer => &mut self.peers,
        }
    }
}

impl Kind {
    /// Counts one more that is turned away. The first one is worth a line.
    fn turn_away(&mut self, caller: Caller, places: Places) {
        let now = Instant::now();
        match &mut self.want {
            Some(want) => {
                want.turned_away += 1;
                want.last = now;
            }
            None => {
                self.want = Some(Want { since: now, last: now, turned_away: 1 });
                let (option, all) = (caller.option(), places.taken(caller));
                tracing::warn!("{all} are taken: newcomers are turned away. Close some, or raise {option}");
            }
        }
    }
}

impl Seat {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Ticket {
    /// The connection has said what it is: it leaves the porch for a place among its kind. False if there is none, and
    /// for one that has been closed.
    pub(crate) fn seat(&self, caller: Caller) -> bool {
        let places = self.gate.places;
        let mut seats = self.gate.lock();
        if !seats.porch.contains_key(&self.number) {
            return false;
        }
        let kind = seats.kind(caller);
        if kind.seated.len() >= places.of(caller, self.local) {
            kind.turn_away(caller, places);
            return false;
        }
        kind.seated.insert(self.number, self.seat.clone());
        seats.porch.remove(&self.number);
        true
    }

    /// Whether the gate has closed the connection; if not, the task is woken when it does.
    pub(crate) fn is_closed(&self, cx: &Context<'_>) -> bool {
        self.seat.waker.register(cx.waker());
        self.seat.closed.load(Ordering::Acquire)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut seats = self.gate.lock();
        seats.porch.remove(&self.number);
        seats.clients.seated.remove(&self.number);
        seats.peers.seated.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn gate(clients: usize, peers: usize, porch: usize) -> Arc<Gate> {
        Gate::new(Places { clients, own_machine: 0, peers, porch })
    }

    fn closed(ticket: &Ticket) -> bool {
        ticket.is_closed(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_is_longest_on_the_porch_makes_room_and_who_is_seated_does_not() {
        let gate = gate(3, 1, 2);
        let [first, second, third] = [(); 3].map(|()| {
            let ticket = gate.admit(false).unwrap();
            assert!(ticket.seat(Caller::Client));
            ticket
        });
        let fourth = gate.admit(false).unwrap();
        assert!(!fourth.seat(Caller::Client), "no place: it stays on the porch and is told");
        let [fifth, sixth] = [(); 2].map(|()| gate.admit(false).unwrap());
        assert_eq!(
            [&first, &second, &third, &fourth, &fifth, &sixth].map(closed),
            [false, false, false, true, false, false]
        );
        drop(fourth);
        assert_eq!(gate.taken(), 5, "the place of one that had to go is not freed twice");
        drop(first);
        assert!(fifth.seat(Caller::Client));
        assert!(!sixth.seat(Caller::Client));
    }

    #[test]
    fn clients_take_no_place_of_a_peer() {
        let gate = gate(2, 2, 4);
        let clients: Vec<_> = (0..10).map(|_| gate.admit(false).unwrap()).collect();
        let seated: Vec<_> = clients.iter().map(|client| client.seat(Caller::Client)).collect();
        // The first six had to leave the porch before they said what they are.
        assert_eq!(seated, [[false; 6].as_slice(), &[true; 2], &[false; 2]].concat());
        let peers: Vec<_> = (0..3).map(|_| gate.admit(false).unwrap()).collect();
        assert_eq!(peers.iter().map(|peer| peer.seat(Caller::Peer)).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn the_last_places_are_for_callers_on_the_own_machine() {
        let gate = Gate::new(Places { clients: 3, own_machine: 1, peers: 1, porch: 8 });
        let seated = |local| {
            let ticket = gate.admit(local).unwrap();
            let seated = ticket.seat(Caller::Client);
            (ticket, seated)
        };
        let all = [false, true, false, true, true].map(seated);
        assert_eq!(all.each_ref().map(|(_, seated)| *seated), [true, true, false, true, false]);
        let [first, ..] = all;
        drop(first);
        assert!(!seated(false).1, "that one is kept");
        assert!(seated(true).1);
        let said = gate.places().taken(Caller::Client);
        assert_eq!(said, "all 3 client connections, but 1 for the node's own machine,");
    }

    #[tokio::test(start_paused = true)]
    async fn a_want_of_places_begins_once_counts_and_ends_once() {
        let gate = gate(1, 1, 8);
        let kept = gate.admit(false).unwrap();
        assert!(kept.seat(Caller::Client));
        let turned_away = |gate: &Gate| gate.lock().clients.want.as_ref().map(|want| want.turned_away);
        for expected in 1..=3 {
            assert!(!gate.admit(false).unwrap().seat(Caller::Client));
            assert_eq!(turned_away(&gate), Some(expected));
            tokio::time::advance(CALM / 2).await;
            gate.look();
        }
        assert_eq!(turned_away(&gate), Some(3), "it goes on while any are turned away");
        tokio::time::advance(CALM / 2).await;
        gate.look();
        assert_eq!(turned_away(&gate), None);
        assert!(gate.lock().peers.want.is_none());
    }

    #[test]
    fn a_shut_gate_closes_all_and_admits_none() {
        let gate = gate(1, 1, 2);
        let [client, peer, silent] = [(); 3].map(|()| gate.admit(false).unwrap());
        gate.shut();
        assert!([&client, &peer, &silent].map(closed).iter().all(|closed| *closed));
        assert!(gate.admit(false).is_none());
        assert_eq!(gate.taken(), 0);
    }
}
