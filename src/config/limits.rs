//! How much clients may cost.

use super::{Config, ConfigError, refused};

/// Fewest bytes that one append stream of a client may hold in the node's memory unread: HTTP/2's default window and a
/// frame.
const MIN_STREAM: usize = (64 << 10) + CLIENT_FRAME_BYTES;
/// Most bytes that one append stream may hold unread: enough for 100 MiB/s over a round trip of 10 ms.
const MAX_STREAM: usize = (1 << 20) + CLIENT_FRAME_BYTES;
/// Largest HTTP/2 frame of a client, bytes. Small, because the node holds the rest of a frame while it takes a message
/// from it.
pub(crate) const CLIENT_FRAME_BYTES: usize = 64 << 10;
/// Largest [`Config::max_client_bytes`]: far beyond any memory, far below where counters overflow.
const MAX_CLIENT_BYTES: usize = 1 << 46;
/// Connections kept for callers on the node's own machine, because a probe must get in when clients fill the rest.
const OWN_MACHINE: usize = 4;
/// Largest record that a [`Client`](crate::Client) can append or read, bytes, and so the most that
/// [`Config::max_record_bytes`] may be: what one program appends, another one is to be able to read from afar.
pub const MAX_RECORD_BYTES: usize = 64 << 20;
/// Room that a message takes beside the largest batch, bytes.
pub(crate) const MESSAGE_SLACK: usize = 1 << 20;

impl Config {
    /// The least that [`Config::max_client_bytes`] may be beside the other limits.
    pub fn least_client_bytes(&self) -> usize {
        let message = self.max_batch_bytes.saturating_add(MESSAGE_SLACK);
        message.max(self.max_connections.saturating_mul(MIN_STREAM)).saturating_mul(2)
    }

    /// Bytes that one append stream of a client may hold unread: its window and a frame.
    pub(crate) fn client_stream(&self) -> usize {
        (self.max_client_bytes / 2 / self.max_connections.max(1)).clamp(MIN_STREAM, MAX_STREAM)
    }

    /// How many of [`Config::max_connections`] are kept for callers on the node's own machine.
    pub(crate) fn own_machine_connections(&self) -> usize {
        OWN_MACHINE.min(self.max_connections / 8)
    }

    pub(super) fn check_records(&self) -> Result<(), ConfigError> {
        if self.max_record_bytes > MAX_RECORD_BYTES {
            let expected = format!("at most {MAX_RECORD_BYTES}: no client could read a larger record");
            return refused("max_record_bytes", self.max_record_bytes, expected);
        }
        Ok(())
    }

    pub(super) fn check_connections(&self) -> Result<(), ConfigError> {
        if self.max_connections < 8 {
            return refused("max_connections", self.max_connections, "at least 8");
        }
        if self.max_peer_connections < 6 {
            return refused("max_peer_connections", self.max_peer_connections, "at least 6: three for each other node");
        }
        let least = self.least_client_bytes();
        if !(least..=MAX_CLIENT_BYTES).contains(&self.max_client_bytes) {
            let expected = format!(
                "from {least} to {MAX_CLIENT_BYTES} bytes: twice the largest batch and 1 MiB, and 256 KiB for each of \
                 {} connections",
                self.max_connections
            );
            return refused("max_client_bytes", self.max_client_bytes, expected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::types::NodeId;

    use super::super::kit;
    use super::*;

    /// The key that a change of the defaults is refused for, when only the connections are checked.
    fn key(change: impl FnOnce(&mut Config)) -> Option<&'static str> {
        let mut config = kit::valid();
        change(&mut config);
        config.check_connections().err().map(|error| error.key)
    }

    #[test]
    fn a_record_that_no_client_could_read_is_refused_by_name() {
        let checked = |record: usize| {
            let mut config = Config::new(NodeId::new(0), "127.0.0.1:0");
            config.groups = vec!["g".parse().unwrap()];
            config.single = true;
            config.segment_size = crate::config::MAX_SEGMENT_SIZE;
            (config.max_batch_bytes, config.max_inflight_bytes) = (2 * MAX_RECORD_BYTES, 2 * MAX_RECORD_BYTES);
            config.max_record_bytes = record;
            config.validate().map_err(|error| error.key)
        };
        assert_eq!(checked(MAX_RECORD_BYTES), Ok(()));
        assert_eq!(checked(MAX_RECORD_BYTES + 1), Err("max_record_bytes"));
    }

    #[test]
    fn the_budget_of_the_clients_holds_a_message_and_a_window_for_each_connection() {
        assert_eq!(key(|_| ()), None);
        assert_eq!(key(|c| c.max_connections = 7), Some("max_connections"));
        assert_eq!(key(|c| c.max_peer_connections = 5), Some("max_peer_connections"));
        assert_eq!(key(|c| c.max_connections = 4097), Some("max_client_bytes"));
        assert_eq!(key(|c| c.max_batch_bytes = 256 << 20), Some("max_client_bytes"));
        assert_eq!(key(|c| c.max_client_bytes = usize::MAX), Some("max_client_bytes"));
        let mut config = Config::new(NodeId::new(0), "127.0.0.1:0");
        for (connections, stream) in [(8, MAX_STREAM), (256, 1 << 20), (1024, 256 << 10), (4096, MIN_STREAM)] {
            config.max_connections = connections;
            config.max_client_bytes = config.max_client_bytes.max(config.least_client_bytes());
            assert_eq!(config.check_connections(), Ok(()));
            assert_eq!(config.client_stream(), stream, "{connections}");
            assert!(config.client_stream() * connections <= config.max_client_bytes / 2);
        }
    }

    #[test]
    fn connections_leave_room_for_the_peers() {
        assert_eq!(key(|c| c.max_connections = 8), None);
        assert_eq!(key(|c| c.max_connections = 7), Some("max_connections"));
    }
}
