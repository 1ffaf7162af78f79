//! The connections to one node. Long streams, reads and what is small and urgent never share one.

use std::sync::{Arc, Weak};

use tonic::transport::{Channel, Endpoint};

/// Most long streams on one connection. A node takes 1024 calls on one; fewer, so that a connection that breaks breaks
/// few.
const STREAMS: usize = 64;
/// Most reads under way on one connection. They end by themselves, but may wait for a quorum before they do.
const READS: usize = 512;
/// Bytes one call may have under way before its caller takes them.
const CALL_WINDOW: u32 = 2 << 20;
/// Calls that were given up and are remembered until what was on its way to them has come.
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

/// A call's place on a connection: to be kept until the call, or the stream it gave, is over.
pub(crate) struct CallSlot(Arc<Channel>);

impl CallSlot {
    pub(crate) fn channel(&self) -> Channel {
        (*self.0).clone()
    }
}

impl Connections {
    /// The connection for what is small and urgent; `dial` makes one.
    pub(crate) fn control(&mut self, dial: impl FnOnce() -> Channel) -> Channel {
        self.control.get_or_insert_with(dial).clone()
    }

    /// A place for a call that ends soon.
    pub(crate) fn read(&mut self, dial: impl FnOnce() -> Channel) -> CallSlot {
        self.reads.place(READS, dial)
    }

    /// A place for a stream, which may never be read and never end.
    pub(crate) fn stream(&mut self, dial: impl FnOnce() -> Channel) -> CallSlot {
        self.streams.place(STREAMS, dial)
    }
}

impl ChannelPool {
    /// A place on a connection with fewer than `most` calls.
    fn place(&mut self, most: usize, dial: impl FnOnce() -> Channel) -> CallSlot {
        // Places are references: counted under the caller's lock, their number can only fall meanwhile.
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

/// `endpoint`, for calls of which none takes another one's share of the connection: each has a window of its own, and
/// the connection has room for all of them.
pub(crate) fn shared(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(CALL_WINDOW)
        .initial_connection_window_size(CALL_WINDOW * READS as u32)
        // What comes for a call that was given up is thrown away. HTTP/2 counts what it has forgotten the call of as
        // the other side's fault, over the life of the connection, and ends it for all at some number: a node that sent
        // what it was asked for has done nothing wrong.
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
