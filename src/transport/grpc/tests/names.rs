//! Names whose addresses change, as those of pods do.

use std::sync::Arc;

use parking_lot::Mutex;

use super::kit::*;
use crate::transport::grpc::dialer::TcpDialer;
use crate::transport::grpc::resolver::Resolver;
use crate::transport::grpc::transport::{GrpcOptions, GrpcTransport};
use crate::transport::{Lane, Transport};

#[tokio::test]
async fn a_name_is_looked_up_at_every_connect_and_its_new_address_is_found() {
    let first = Rig::start_at("127.0.0.1:0", Replication::Echo, server_options()).await;
    let port = first.address().port();
    let hosts = Arc::new(Mutex::new(("127.0.0.1", 0)));
    let table = hosts.clone();
    let resolver = Resolver::of(move |name| {
        assert_eq!(name, "broker-0.brokers");
        let mut hosts = table.lock();
        hosts.1 += 1;
        vec![format!("{}:0", hosts.0).parse().unwrap()]
    });
    let transport = GrpcTransport::with_dialer(GrpcOptions::default(), Arc::new(TcpDialer::new(resolver)));
    let link = transport.link(&format!("broker-0.brokers:{port}"), Lane::Control);
    for _ in 0..3 {
        assert!(link.request_vote(vote(1), LONG).await.unwrap().granted);
    }
    assert_eq!(hosts.lock().1, 1, "a connection that holds needs no look-up");

    // The pod comes back elsewhere, under its old name and port.
    first.server.shutdown().await;
    let second = Rig::start_at(&format!("127.0.0.2:{port}"), Replication::Echo, server_options()).await;
    hosts.lock().0 = "127.0.0.2";
    soon(async { while link.request_vote(vote(2), LONG).await.is_err() {} }).await;
    assert_eq!(second.ledger.votes.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert!(hosts.lock().1 >= 2);
}
