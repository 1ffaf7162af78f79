//! The ports of a cluster, whether its nodes run or not.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// Ports of the loopback that the system gives to nobody else as long as this exists. A node can bind to its own all
/// the same: the system gives a port that is bound, and not listened to, to a socket that names it and allows its
/// address to be reused.
pub(super) struct Ports {
    _held: Vec<TcpSocket>,
}

impl Ports {
    /// Reserves `count` ports. Returns them with the `host:port` of each.
    pub(super) fn take(count: usize) -> io::Result<(Self, Vec<String>)> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = (0..count).map(|_| {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(any)?;
            Ok((socket.local_addr()?.to_string(), socket))
        });
        // Holds each port until all are found, or the system would give the same one twice.
        let (addresses, mut held): (_, Vec<_>) = bound.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        if !cfg!(target_os = "linux") {
            // Elsewhere no node could bind to them. Most likely nobody else takes them meanwhile.
            held.clear();
        }
        Ok((Self { _held: held }, addresses))
    }
}
