//! How many connections peers and clients may have open: each kind has places of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use futures::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::greeting::Caller;

/// Time without a connection turned away after which a shortage of places counts as over.
const CALM: Duration = Duration::from_secs(5);

/// Most connections without a place: more than arrive while one of them greets.
pub(crate) const UNPLACED: usize = 64;

/// How many connections of each kind may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    /// Clients, tools, and whatever else does not greet as a peer does.
    pub(crate) clients: usize,
    /// How many places of clients are reserved for callers on the node's own machine, so that a liveness probe still
    /// gets in when remote clients have taken all the others.
    pub(crate) own_machine: usize,
    /// Other nodes.
    pub(crate) peers: usize,
    /// Connections that have not greeted yet, and connections that the server is telling that they have no place.
    pub(crate) unplaced: usize,
}

/// Counts the open connections of a server and can close each of them.
///
/// A new connection has no place until it has greeted; then it gets a place among its kind, so that clients, however
/// many, take none from peers. If its kind has none left, the connection stays without a place while the server tells
/// it so. There is always room for one more connection without a place: [`ConnectionLimit`] closes the oldest of them
/// for it, so that silent connections keep nobody out.
pub(crate) struct ConnectionLimit {
    places: Places,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    shut: bool,
    unplaced: BTreeMap<u64, Arc<OpenConnection>>,
    clients: CallerConnections,
    peers: CallerConnections,
}

#[derive(Default)]
struct CallerConnections {
    placed: BTreeMap<u64, Arc<OpenConnection>>,
    shortage: Option<Shortage>,
}

/// Connections are being turned away.
struct Shortage {
    since: Instant,
    last: Instant,
    turned_away: u64,
}

#[derive(Default)]
struct OpenConnection {
    closed: AtomicBool,
    waker: AtomicWaker,
}

/// A connection's place. Dropping it frees the place.
pub(crate) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    number: u64,
    /// Whether the caller is on this machine.
    local: bool,
    connection: Arc<OpenConnection>,
}

impl ConnectionLimit {
    /// No connection is open yet.
    pub(crate) fn new(places: Places) -> Arc<Self> {
        Arc::new(Self { places, open: Mutex::default() })
    }

    /// Counts one more connection, which has no place yet and may come from this machine (`local`). `None` after
    /// [`close_all`](Self::close_all).
    pub(crate) fn admit(self: &Arc<Self>, local: bool) -> Option<ConnectionPermit> {
        let mut open = self.lock();
        if open.shut {
            return None;
        }
        if open.unplaced.len() >= self.places.unplaced
            && let Some((_, connection)) = open.unplaced.pop_first()
        {
            tracing::debug!("{} connections have no place yet: the oldest of them is closed", self.places.unplaced);
            connection.close();
        }
        let number = open.next;
        open.next += 1;
        let connection = Arc::new(OpenConnection::default());
        open.unplaced.insert(number, connection.clone());
        Some(ConnectionPermit { limit: self.clone(), number, local, connection })
    }

    /// Logs the end of each shortage of places that is over. To be called periodically.
    pub(crate) fn check_shortages(&self) {
        let mut open = self.lock();
        for caller in [Caller::Client, Caller::Peer] {
            let places = self.places.of(caller, true);
            let kind = open.kind(caller);
            if let Some(shortage) = kind.shortage.take_if(|shortage| shortage.last.elapsed() >= CALM) {
                let (taken, turned_away) = (kind.placed.len(), shortage.turned_away);
                let lasted = (shortage.last - shortage.since).as_secs();
                tracing::warn!(
                    "no {caller} connection is turned away any more: {turned_away} were, over {lasted} s; {taken} of \
                     {places} places are taken now"
                );
            }
        }
    }

    /// Closes all connections and admits no more.
    pub(crate) fn close_all(&self) {
        let mut open = self.lock();
        open.shut = true;
        let OpenConnections { unplaced, clients, peers, .. } = &mut *open;
        for all in [unplaced, &mut clients.placed, &mut peers.placed] {
            for connection in std::mem::take(all).into_values() {
                connection.close();
            }
        }
    }

    /// How many connections are open.
    pub(crate) fn open_connections(&self) -> usize {
        let open = self.lock();
        open.unplaced.len() + open.clients.placed.len() + open.peers.placed.len()
    }

    pub(crate) fn places(&self) -> Places {
        self.places
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock()
    }
}

impl Places {
    /// How many connections of this kind may have a place.
    fn of(&self, caller: Caller, local: bool) -> usize {
        match caller {
            Caller::Client if !local => self.clients.saturating_sub(self.own_machine),
            Caller::Client => self.clients,
            Caller::Peer => self.peers,
        }
    }

    /// The connections that have all the places, for a connection of this kind that finds none.
    pub(crate) fn taken(&self, caller: Caller) -> String {
        match (caller, self.own_machine) {
            (Caller::Client, 0) | (Caller::Peer, _) => format!("all {} {caller} connections", self.of(caller, true)),
            (Caller::Client, kept) => {
                format!("all {} client connections, but {kept} for the node's own machine,", self.clients)
            }
        }
    }
}

impl OpenConnections {
    fn kind(&mut self, caller: Caller) -> &mut CallerConnections {
        match caller {
            Caller::Client => &mut self.clients,
            Caller::Peer => &mut self.peers,
        }
    }
}

impl CallerConnections {
    /// Counts a connection that the server turns away, and logs the first of a shortage.
    fn turn_away(&mut self, caller: Caller, places: Places) {
        let now = Instant::now();
        match &mut self.shortage {
            Some(shortage) => {
                shortage.turned_away += 1;
                shortage.last = now;
            }
            None => {
                self.shortage = Some(Shortage { since: now, last: now, turned_away: 1 });
                let (option, all) = (caller.option(), places.taken(caller));
                tracing::warn!("{all} are taken: turning new ones away. Close some, or raise {option}");
            }
        }
    }
}

impl OpenConnection {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl ConnectionPermit {
    /// Gives the connection, which has greeted, a place among its kind. `false` if there is none, or if the connection
    /// was closed.
    pub(crate) fn take_place(&self, caller: Caller) -> bool {
        let places = self.limit.places;
        let mut open = self.limit.lock();
        if !open.unplaced.contains_key(&self.number) {
            return false;
        }
        let kind = open.kind(caller);
        if kind.placed.len() >= places.of(caller, self.local) {
            kind.turn_away(caller, places);
            return false;
        }
        kind.placed.insert(self.number, self.connection.clone());
        open.unplaced.remove(&self.number);
        true
    }

    /// Whether [`ConnectionLimit`] has closed the connection; if not, the task is woken when it does.
    pub(crate) fn is_closed(&self, cx: &Context<'_>) -> bool {
        self.connection.waker.register(cx.waker());
        self.connection.closed.load(Ordering::Acquire)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limit.lock();
        open.unplaced.remove(&self.number);
        open.clients.placed.remove(&self.number);
        open.peers.placed.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn limit(clients: usize, peers: usize, unplaced: usize) -> Arc<ConnectionLimit> {
        ConnectionLimit::new(Places { clients, own_machine: 0, peers, unplaced })
    }

    fn closed(permit: &ConnectionPermit) -> bool {
        permit.is_closed(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_is_longest_on_the_porch_makes_room_and_who_is_seated_does_not() {
        let limit = limit(3, 1, 2);
        let [first, second, third] = [(); 3].map(|()| {
            let permit = limit.admit(false).unwrap();
            assert!(permit.take_place(Caller::Client));
            permit
        });
        let fourth = limit.admit(false).unwrap();
        assert!(!fourth.take_place(Caller::Client), "no place: it stays without one and is told");
        let [fifth, sixth] = [(); 2].map(|()| limit.admit(false).unwrap());
        assert_eq!(
            [&first, &second, &third, &fourth, &fifth, &sixth].map(closed),
            [false, false, false, true, false, false]
        );
        drop(fourth);
        assert_eq!(limit.open_connections(), 5, "the place of one that had to go is not freed twice");
        drop(first);
        assert!(fifth.take_place(Caller::Client));
        assert!(!sixth.take_place(Caller::Client));
    }

    #[test]
    fn clients_take_no_place_of_a_peer() {
        let limit = limit(2, 2, 4);
        let clients: Vec<_> = (0..10).map(|_| limit.admit(false).unwrap()).collect();
        let placed: Vec<_> = clients.iter().map(|client| client.take_place(Caller::Client)).collect();
        // The limit closed the first six before they greeted.
        assert_eq!(placed, [[false; 6].as_slice(), &[true; 2], &[false; 2]].concat());
        let peers: Vec<_> = (0..3).map(|_| limit.admit(false).unwrap()).collect();
        assert_eq!(peers.iter().map(|peer| peer.take_place(Caller::Peer)).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn the_last_places_are_for_callers_on_the_own_machine() {
        let limit = ConnectionLimit::new(Places { clients: 3, own_machine: 1, peers: 1, unplaced: 8 });
        let placed = |local| {
            let permit = limit.admit(local).unwrap();
            let placed = permit.take_place(Caller::Client);
            (permit, placed)
        };
        let all = [false, true, false, true, true].map(placed);
        assert_eq!(all.each_ref().map(|(_, placed)| *placed), [true, true, false, true, false]);
        let [first, ..] = all;
        drop(first);
        assert!(!placed(false).1, "that one is kept");
        assert!(placed(true).1);
        let said = limit.places().taken(Caller::Client);
        assert_eq!(said, "all 3 client connections, but 1 for the node's own machine,");
    }

    #[tokio::test(start_paused = true)]
    async fn a_want_of_places_begins_once_counts_and_ends_once() {
        let limit = limit(1, 1, 8);
        let kept = limit.admit(false).unwrap();
        assert!(kept.take_place(Caller::Client));
        let turned_away =
            |limit: &ConnectionLimit| limit.lock().clients.shortage.as_ref().map(|shortage| shortage.turned_away);
        for expected in 1..=3 {
            assert!(!limit.admit(false).unwrap().take_place(Caller::Client));
            assert_eq!(turned_away(&limit), Some(expected));
            tokio::time::advance(CALM / 2).await;
            limit.check_shortages();
        }
        assert_eq!(turned_away(&limit), Some(3), "it goes on while any are turned away");
        tokio::time::advance(CALM / 2).await;
        limit.check_shortages();
        assert_eq!(turned_away(&limit), None);
        assert!(limit.lock().peers.shortage.is_none());
    }

    #[test]
    fn a_shut_gate_closes_all_and_admits_none() {
        let limit = limit(1, 1, 2);
        let [client, peer, silent] = [(); 3].map(|()| limit.admit(false).unwrap());
        limit.close_all();
        assert!([&client, &peer, &silent].map(closed).iter().all(|closed| *closed));
        assert!(limit.admit(false).is_none());
        assert_eq!(limit.open_connections(), 0);
    }
}
