//! A producer that follows redirects, a consumer that takes any broker, and their two commands.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use dledger::Peers;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::Result;
use crate::proto::broker_service_client::BrokerServiceClient;
use crate::proto::produce_response::Outcome;
use crate::proto::{ConsumeRequest, Message, ProduceRequest};

/// How long a broker may take to answer; more than the node's `append_timeout`, after which it tells the outcome.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait before the next broker is tried: an election elsewhere is nothing a client can wait for.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection to one of the brokers.
pub struct Client {
    brokers: Vec<String>,
    address: String,
    connection: Option<BrokerServiceClient<Channel>>,
}

/// A message was acknowledged.
pub struct Delivery {
    pub offset: u64,
    /// The broker that took it.
    pub broker: String,
    /// Earlier attempts with an unknown outcome: the number of duplicates that there may be.
    pub unknown: u64,
}

impl Client {
    /// Tries the brokers in turn, the one at `first` before the others.
    pub fn new(brokers: &[String], first: usize) -> Self {
        let address = brokers.get(first).cloned().unwrap_or_default();
        Self { brokers: brokers.to_vec(), address, connection: None }
    }

    /// Produces until some broker acknowledges. After an unknown outcome too: better twice than not at all.
    pub async fn produce(&mut self, topic: &str, body: Bytes) -> Result<Delivery> {
        let mut unknown = 0;
        loop {
            let Some(mut broker) = self.connect().await else { continue };
            let request = ProduceRequest { topic: topic.to_owned(), body: body.clone() };
            match broker.produce(request).await.map(|response| response.into_inner().outcome) {
                Ok(Some(Outcome::Produced(produced))) => {
                    return Ok(Delivery { offset: produced.offset, broker: self.address.clone(), unknown });
                }
                Ok(Some(Outcome::NotMaster(master))) if !master.address.is_empty() => self.go_to(master.address),
                Ok(Some(Outcome::NotMaster(_) | Outcome::Refused(_))) => self.try_next().await,
                Ok(Some(Outcome::Invalid(why))) => return Err(why.into()),
                // The broker says so, or died.
                Ok(Some(Outcome::Unknown(_)) | None) | Err(_) => {
                    unknown += 1;
                    self.try_next().await;
                }
            }
        }
    }

    /// A stream of the messages from `offset` on, from whichever broker takes the call.
    async fn consume(&mut self, topic: &str, offset: u64) -> Streaming<Message> {
        loop {
            let Some(mut broker) = self.connect().await else { continue };
            match broker.consume(ConsumeRequest { topic: topic.to_owned(), offset }).await {
                Ok(response) => return response.into_inner(),
                Err(_) => self.try_next().await,
            }
        }
    }

    /// A failure to connect is told apart from a failed call: nothing was sent, so the outcome is known.
    async fn connect(&mut self) -> Option<BrokerServiceClient<Channel>> {
        if self.connection.is_none() {
            match dial(&self.address).await {
                Ok(channel) => self.connection = Some(BrokerServiceClient::new(channel)),
                Err(_) => self.try_next().await,
            }
        }
        self.connection.clone()
    }

    fn go_to(&mut self, address: String) {
        self.connection = None;
        self.address = address;
    }

    async fn try_next(&mut self) {
        tokio::time::sleep(PAUSE).await;
        let next = self.brokers.iter().position(|address| *address == self.address).map_or(0, |at| at + 1);
        self.go_to(self.brokers[next % self.brokers.len()].clone());
    }
}

async fn dial(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    let endpoint = endpoint.connect_timeout(Duration::from_secs(1)).timeout(PATIENCE);
    // A broker that is silent, not dead, breaks no stream by itself.
    let endpoint = endpoint.http2_keep_alive_interval(Duration::from_secs(1)).keep_alive_timeout(PATIENCE);
    Ok(endpoint.connect().await?)
}

/// Reads one topic in order, going on at another broker where one fails.
pub struct Consumer {
    client: Client,
    topic: String,
    next: u64,
    stream: Option<Streaming<Message>>,
}

impl Consumer {
    pub fn new(client: Client, topic: &str, from: u64) -> Self {
        Self { client, topic: topic.to_owned(), next: from, stream: None }
    }

    /// Waits for the next message.
    pub async fn next(&mut self) -> Message {
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => self.stream.insert(self.client.consume(&self.topic, self.next).await),
            };
            match stream.message().await {
                Ok(Some(message)) => {
                    self.next = message.offset + 1;
                    return message;
                }
                Ok(None) | Err(_) => {
                    self.stream = None;
                    self.client.try_next().await;
                }
            }
        }
    }
}

/// Produce messages to a topic, one after the other.
#[derive(Args)]
pub struct Produce {
    /// The brokers: "n0=host:port;n1=host:port;n2=host:port"
    #[arg(long)]
    brokers: Peers,
    /// Where to
    topic: String,
    /// What
    #[arg(required = true)]
    messages: Vec<String>,
}

impl Produce {
    pub async fn run(self) -> Result<()> {
        let mut client = Client::new(&addresses(&self.brokers), 0);
        for message in self.messages {
            let delivery = client.produce(&self.topic, message.into()).await?;
            println!("{}/{} at {}", self.topic, delivery.offset, delivery.broker);
            if delivery.unknown > 0 {
                println!("  after {} attempts with unknown outcome: it may be there twice", delivery.unknown);
            }
        }
        Ok(())
    }
}

/// Print the messages of a topic, waiting for more.
#[derive(Args)]
pub struct Consume {
    /// The brokers: "n0=host:port;n1=host:port;n2=host:port"; the first one serves, the others if it fails
    #[arg(long)]
    brokers: Peers,
    /// Which topic
    topic: String,
    /// First offset
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop after so many
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
}

impl Consume {
    pub async fn run(self) -> Result<()> {
        let mut consumer = Consumer::new(Client::new(&addresses(&self.brokers), 0), &self.topic, self.from);
        for _ in 0..self.count {
            let message = consumer.next().await;
            println!("{}/{}: {}", self.topic, message.offset, String::from_utf8_lossy(&message.body));
        }
        Ok(())
    }
}

pub fn addresses(brokers: &Peers) -> Vec<String> {
    brokers.iter().map(|broker| broker.address.clone()).collect()
}
