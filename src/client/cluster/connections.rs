//! The connections to one node. Long streams, reads and small urgent calls never share a connection.

use std::sync::{Arc, Weak};

use tonic::transport::{Channel, Endpoint};

/// Most long streams on one connection. A node takes 1024 calls on one; fewer here, so that a connection that breaks
/// ends few streams.
const STREAMS: usize = 64;
/// Most reads under way on one connection. More than streams, because reads end by themselves, if only after a quorum.
const READS: usize = 512;
/// Bytes that one call may receive before its caller takes them.
const CALL_WINDOW: u32 = 2 << 20;
/// Calls given up that HTTP/2 remembers until the data on its way to them has come.
const GIVEN_UP: usize = 1024;

/// The connections to one node. Each is made when it is first used.
#[derive(Default)]
pub(crate) struct Connections {
    /// Status, and what operators ask.
    control: Option<Channel>,
    reads: ChannelPool,
    streams: ChannelPool,
}

/// Connections of one kind: one more is made when all are full, and ends with its last call.
#[derive(Default)]
struct ChannelPool {
    /// Kept from call to call.
    first: Option<Arc<Channel>>,
    more: Vec<Weak<Channel>>,
}

/// A call's share of a connection. Keep it until the call, or the stream that it returned, is over.
pub(crate) struct CallSlot(Arc<Channel>);

impl CallSlot {
    pub(crate) fn channel(&self) -> Channel {
        (*self.0).clone()
    }
}

impl Connections {
    /// The connection for small urgent calls; `dial` makes one.
    pub(crate) fn control(&mut self, dial: impl FnOnce() -> Channel) -> Channel {
        self.control.get_or_insert_with(dial).clone()
    }

    /// A slot for a call that ends soon.
    pub(crate) fn read(&mut self, dial: impl FnOnce() -> Channel) -> CallSlot {
        self.reads.place(READS, dial)
    }

    /// A slot for a stream, which may never be read and never end.
    pub(crate) fn stream(&mut self, dial: impl FnOnce() -> Channel) -> CallSlot {
        self.streams.place(STREAMS, dial)
    }
}

impl ChannelPool {
    /// A slot on a connection with fewer than `most` calls.
    fn place(&mut self, most: usize, dial: impl FnOnce() -> Channel) -> CallSlot {
        // Slots are references. They are counted under the caller's lock, so their number can only fall meanwhile.
        if let Some(first) = &self.first
            && Arc::strong_count(first) <= most
        {
            return CallSlot(first.clone());
        }
        self.more.retain(|channel| channel.strong_count() > 0);
        let with_room = self.more.iter().find(|channel| channel.strong_count() < most);
        if let Some(channel) = with_room.and_then(Weak::upgrade) {
            return CallSlot(channel);
        }
        let channel = Arc::new(dial());
        match &self.first {
            None => self.first = Some(channel.clone()),
            Some(_) => self.more.push(Arc::downgrade(&channel)),
        }
        CallSlot(channel)
    }
}

/// `endpoint`, with a window for each call and room for all of them on the connection, so that no call takes another's
/// share.
pub(crate) fn shared(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(CALL_WINDOW)
        .initial_connection_window_size(CALL_WINDOW * READS as u32)
        // Data for a call that was given up is dropped. The HTTP/2 library counts data for calls that it has forgotten
        // as the node's fault, over the life of the connection, and at some number ends the connection for all calls. A
        // node that sent what it was asked for has done nothing wrong.
        .http2_max_concurrent_reset_streams(GIVEN_UP)
        .http2_max_local_error_reset_streams(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> Channel {
        Endpoint::from_static("http://127.0.0.1:1").connect_lazy()
    }

    #[tokio::test]
    async fn a_connection_takes_so_many_calls_and_one_that_has_none_left_is_given_up() {
        let mut pool = ChannelPool::default();
        let mut places: Vec<_> = (0..5).map(|_| pool.place(2, channel)).collect();
        let connections = |places: &[CallSlot]| {
            let mut all: Vec<_> = places.iter().map(|place| Arc::as_ptr(&place.0)).collect();
            all.dedup();
            all.len()
        };
        assert_eq!(connections(&places), 3, "two on each");
        // A place that is free again is taken before a connection is made.
        places.remove(2);
        places.push(pool.place(2, || panic!("there is room")));
        places.clear();
        assert!(pool.more.iter().all(|channel| channel.strong_count() == 0), "they end with their last call");
        pool.place(2, || panic!("the first one is kept"));
    }
}
