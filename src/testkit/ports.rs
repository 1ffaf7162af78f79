//! The ports of a cluster, whether its nodes run or not.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// Ports of the loopback that the system gives to nobody else as long as this is there. A node binds to its own all the
/// same: whoever names a port, and allows that its address be reused, may have one that is bound and not listened to.
pub(super) struct Ports {
    _held: Vec<TcpSocket>,
}

impl Ports {
    /// So many, and the `host:port` of each.
    pub(super) fn take(count: usize) -> io::Result<(Self, Vec<String>)> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = (0..count).map(|_| {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(any)?;
            Ok((socket.local_addr()?.to_string(), socket))
        });
        // All of them are held until all are found: or the same one would be found twice.
        let (addresses, mut held): (_, Vec<_>) = bound.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        if !cfg!(target_os = "linux") {
            // Elsewhere no node could bind to them. That nobody else has them by then is likely, and no more.
            held.clear();
        }
        Ok((Self { _held: held }, addresses))
    }
}
