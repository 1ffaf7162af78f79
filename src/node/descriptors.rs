//! How many clients the process has file descriptors for.

use crate::config::Config;
use crate::disk::limits::OpenFileLimit;
use crate::transport::grpc::connection_limit::UNPLACED;

/// Descriptors that a ledger needs: its segments that are not durable yet, its index and state files.
const PER_LEDGER: usize = 16;
/// Connections to one peer: control, heartbeats, data.
const PER_PEER: usize = 3;
/// What else a process has open: its runtime, its log output.
const OTHERS: usize = 64;
/// The least that [`Config::validate`] takes: fewer connections than any use needs.
const LEAST: usize = 8;

/// Lowers `max_connections` to what the process may have open: if clients took the last descriptor, the node could
/// reach no peer and open no file.
pub(super) fn fit(config: &mut Config) {
    if let Some(limit) = OpenFileLimit::now().soft {
        let (fits, beside) = clients(config, usize::try_from(limit).unwrap_or(usize::MAX));
        if fits < config.max_connections {
            tracing::warn!(
                "this process may have {limit} files and connections open, {beside} of them for peers and ledgers: \
                 {fits} clients may connect, not {}. Raise the limit (`ulimit -n`), or lower --max-connections",
                config.max_connections
            );
            config.max_connections = fits;
        }
    }
}

/// How many clients there is room for, and how many descriptors the node needs beside them.
fn clients(config: &Config, limit: usize) -> (usize, usize) {
    let peers = PER_PEER * config.peers.len().max(3);
    let beside = config.max_peer_connections + UNPLACED + peers + PER_LEDGER * config.groups.len() + OTHERS;
    (limit.saturating_sub(beside).clamp(LEAST, config.max_connections), beside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    #[test]
    fn clients_get_what_peers_and_files_leave() {
        let config = Config { groups: vec!["g".parse().unwrap()], ..Config::new(NodeId::new(0), "127.0.0.1:0") };
        let (all, beside) = clients(&config, 1 << 20);
        assert_eq!(all, config.max_connections);
        assert_eq!(clients(&config, 1024), (1024 - beside, beside));
        assert_eq!(clients(&config, beside + config.max_connections), (config.max_connections, beside));
        assert_eq!(clients(&config, 10), (LEAST, beside), "with so few nothing can be promised");
    }
}
