//! What became of the packets, as turmoil tells by `tracing`.

use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Add;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Packets from one address to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Handed to the network.
    pub sent: u64,
    /// Of them, lost there.
    pub dropped: u64,
    /// Of them, held there for a time.
    pub held: u64,
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self { sent, dropped, held } = other;
        Self { sent: self.sent + sent, dropped: self.dropped + dropped, held: self.held + held }
    }
}

/// Counts packets while it is the `tracing` subscriber. Cheap to clone.
#[derive(Clone, Default)]
pub struct Packets(Arc<Mutex<Counts>>);

/// By the addresses of the hosts.
type Counts = HashMap<(String, String), Count>;

impl Packets {
    /// Packets from one host to another so far.
    pub fn between(&self, from: &str, to: &str) -> Count {
        self.counts().get(&(from.to_owned(), to.to_owned())).copied().unwrap_or_default()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock()
    }
}

impl Subscriber for Packets {
    /// Of turmoil the network only, not the hosts; of the library what a person who looks for a cause asked to see.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of_network = metadata.target() == "turmoil" && metadata.file().is_some_and(|file| file.ends_with("top.rs"));
        metadata.is_event() && (of_network || metadata.target().starts_with("dledger") && told())
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != "turmoil" {
            let mut line = Line(String::new());
            event.record(&mut line);
            println!("{:?} {}{}", turmoil::sim_elapsed().unwrap_or_default(), event.metadata().target(), line.0);
            return;
        }
        let mut packet = Packet::default();
        event.record(&mut packet);
        let mut counts = self.counts();
        let count = counts.entry((packet.from, packet.to)).or_default();
        match packet.what.as_str() {
            "Send" => count.sent += 1,
            "Drop" => count.dropped += 1,
            "Hold" => count.held += 1,
            _ => {}
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn told() -> bool {
    std::env::var_os("DLEDGER_TOLD").is_some()
}

/// An event of the network.
#[derive(Default)]
struct Packet {
    from: String,
    to: String,
    what: String,
}

impl Visit for Packet {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A host is its address; the port is that of a connection.
        let host = || format!("{value:?}").rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or_default();
        match field.name() {
            "src" => self.from = host(),
            "dst" => self.to = host(),
            "message" => self.what = format!("{value:?}"),
            // The bytes.
            _ => {}
        }
    }
}

/// An event of the library.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}
