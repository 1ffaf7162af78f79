//! One broker process: a ledger, the topics in it, and the service in front.

use std::io;
use std::path::PathBuf;

use clap::Args;
use dledger::{Node, NodeId, Peers, Role};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::Result;
use crate::proto::broker_service_server::BrokerServiceServer;
use crate::service::Broker;
use crate::topics::{self, Topics};

/// The one ledger that holds all topics.
const GROUP: &str = "topics";

/// Run one broker. Ctrl-C stops it.
#[derive(Args)]
pub struct Serve {
    /// Which of the peers this one is
    #[arg(long)]
    id: NodeId,
    /// Where the nodes replicate: "n0=host:port;n1=host:port;n2=host:port"
    #[arg(long)]
    peers: Peers,
    /// Where the brokers take produce and consume, with the same ids
    #[arg(long)]
    brokers: Peers,
    /// Where this one keeps its records
    #[arg(long)]
    data_dir: PathBuf,
    /// Stop when stdin ends, so that nothing outlives the demo that started it
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

impl Serve {
    pub async fn run(self) -> Result<()> {
        let address = address_of(&self.brokers, &self.id)?;
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        let builder = Node::builder(self.id.clone(), address_of(&self.peers, &self.id)?).group(GROUP.parse()?);
        let node = builder.peers(self.peers.clone()).data_dir(&self.data_dir).start().await?;
        let ledger = node.ledger(GROUP)?;

        let topics = watch::Sender::new(Topics::default());
        let broker = Broker { ledger: ledger.clone(), topics: topics.subscribe(), brokers: self.brokers };
        let service = Server::builder().add_service(BrokerServiceServer::new(broker));
        println!("takes calls at {}", listener.local_addr()?);

        let ended: Result<()> = tokio::select! {
            served = service.serve_with_incoming(TcpIncoming::from(listener)) => served.map_err(Into::into),
            followed = topics::follow(ledger.tail(0), &topics) => followed.map_err(Into::into),
            () = tell(ledger.role()) => Ok(()),
            stopped = tokio::signal::ctrl_c() => stopped.map_err(Into::into),
            () = stdin_ends(), if self.until_stdin_ends => Ok(()),
        };
        node.shutdown().await;
        ended
    }
}

fn address_of<'a>(peers: &'a Peers, id: &NodeId) -> Result<&'a str> {
    peers.require(id)?;
    Ok(peers.get(id).map(|peer| peer.address.as_str()).unwrap_or_default())
}

/// What a real broker would act upon: a master starts what only one may do, a slave stops it.
async fn tell(mut role: watch::Receiver<Role>) {
    loop {
        match &*role.borrow_and_update() {
            Role::Master { term } => println!("is the master of term {term}"),
            Role::Slave { term, master } => println!("is a slave of {} in term {term}", master.id),
            Role::Electing { .. } => {}
            Role::Removed { reason, .. } => println!("is removed: {reason}"),
            Role::Stopped => println!("is stopped"),
            Role::Closed { kind, reason } => println!("is closed ({kind:?}): {reason}"),
        }
        if role.changed().await.is_err() {
            return;
        }
    }
}

/// On a thread of its own: the process would not end before a read that tokio has under way.
async fn stdin_ends() {
    let (sender, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        sender.send(())
    });
    let _ = ended.await;
}
