//! The connection that a link keeps, and when a new one replaces it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use super::dialer::Dialer;
use super::transport::GrpcOptions;
use super::{CONNECTION_WINDOW, FRAME_BYTES, HEADER_BYTES, STREAM_WINDOW};
use crate::transport::Lane;

/// A tonic channel that is kept from call to call.
///
/// tonic's channel connects when it is used and not connected, and resolves the name each time. But it never gives up:
/// a lookup that hangs, or a connection that takes bytes and returns none, keeps it waiting. So a channel whose calls
/// have all failed for `give_up` is replaced by a new one.
pub(crate) struct KeptChannel {
    endpoint: Endpoint,
    dialer: Arc<dyn Dialer>,
    connect_timeout: Duration,
    give_up: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    generation: u64,
    channel: Option<Channel>,
    /// When the first call after the last answer failed.
    failing_since: Option<Instant>,
}

impl KeptChannel {
    /// Does not connect, and needs no runtime yet.
    ///
    /// # Errors
    /// `address` is not `host:port`.
    pub(crate) fn new(
        address: &str,
        lane: Lane,
        options: &GrpcOptions,
        dialer: Arc<dyn Dialer>,
    ) -> Result<Self, String> {
        let well_formed = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !well_formed {
            return Err(format!("{address:?} is not an address: write host:port"));
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| format!("{address:?} is not an address ({e}): write host:port"))?;
        // On the data lane the answer to a ping waits behind the data.
        let silence = match lane {
            Lane::Control | Lane::Heartbeat => options.keepalive_timeout.min(options.stall_timeout),
            Lane::Data => options.keepalive_timeout.max(options.stall_timeout),
        };
        let endpoint = endpoint
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .http2_max_header_list_size(HEADER_BYTES)
            // Answers to calls that timed out still come, and are not the peer's fault, however many.
            .http2_max_local_error_reset_streams(None)
            .http2_keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(silence)
            .keep_alive_while_idle(true);
        let (connect_timeout, give_up) = (options.connect_timeout, options.stall_timeout);
        Ok(Self { endpoint, dialer, connect_timeout, give_up, kept: Mutex::default() })
    }

    /// The channel and its generation. Must be called within a tokio runtime.
    pub(crate) fn get(&self) -> (Channel, u64) {
        let mut kept = self.lock();
        let channel =
            kept.channel.get_or_insert_with(|| self.dialer.lazy(&self.endpoint, self.connect_timeout)).clone();
        (channel, kept.generation)
    }

    /// The peer answered over the channel of this generation.
    pub(crate) fn answered(&self, generation: u64) {
        let mut kept = self.lock();
        if kept.generation == generation {
            kept.failing_since = None;
        }
    }

    /// A call over the channel of this generation ended without an answer.
    pub(crate) fn failed(&self, generation: u64) {
        let mut kept = self.lock();
        if kept.generation != generation {
            return;
        }
        let now = Instant::now();
        let since = *kept.failing_since.get_or_insert(now);
        if now - since >= self.give_up {
            kept.replace();
        }
    }

    /// The channel of this generation is of no use any more. Calls that are under way on it may end.
    pub(crate) fn give_up(&self, generation: u64) {
        let mut kept = self.lock();
        if kept.generation == generation {
            kept.replace();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }
}

impl Kept {
    fn replace(&mut self) {
        *self = Kept { generation: self.generation + 1, ..Kept::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::grpc::dialer::TcpDialer;
    use crate::transport::grpc::resolver::Resolver;

    fn new(address: &str, lane: Lane) -> Result<KeptChannel, String> {
        KeptChannel::new(address, lane, &GrpcOptions::default(), Arc::new(TcpDialer::new(Resolver::system())))
    }

    fn kept() -> KeptChannel {
        new("127.0.0.1:1", Lane::Control).unwrap()
    }

    #[test]
    fn what_is_not_an_address_is_named() {
        for bad in ["", "host", ":1", "host:", "host:0", "host:70000", "a b:1", "host/path:1"] {
            let Err(error) = new(bad, Lane::Data) else { panic!("{bad:?} was taken") };
            assert!(error.contains("host:port"), "{error}");
        }
        for good in ["localhost:1", "[::1]:65535", "broker-0.brokers:40911", "10.0.0.1:9"] {
            assert!(new(good, Lane::Data).is_ok(), "{good}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_only_fails_is_replaced_and_one_that_answers_is_kept() {
        let kept = kept();
        let give_up = GrpcOptions::default().stall_timeout;
        let (_, first) = kept.get();
        kept.failed(first);
        tokio::time::advance(give_up / 2).await;
        kept.answered(first);
        kept.failed(first);
        tokio::time::advance(give_up / 2).await;
        kept.failed(first);
        assert_eq!(kept.get().1, first);
        tokio::time::advance(give_up / 2).await;
        kept.failed(first);
        let (_, second) = kept.get();
        assert_ne!(second, first);
        // Late reports about the first channel no longer count.
        kept.give_up(first);
        assert_eq!(kept.get().1, second);
        kept.give_up(second);
        assert_ne!(kept.get().1, second);
    }
}
