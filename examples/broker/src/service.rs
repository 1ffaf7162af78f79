//! Produce and consume over gRPC.

use dledger::{AppendError, Ledger, Member, Outcome as Known, Peers};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::proto::broker_service_server::BrokerService;
use crate::proto::produce_response::Outcome;
use crate::proto::{self, ConsumeRequest, NotMaster, ProduceRequest, ProduceResponse, Produced};
use crate::record::Message;
use crate::topics::Topics;

/// One broker.
pub struct Broker {
    pub ledger: Ledger,
    pub topics: watch::Receiver<Topics>,
    /// Where the brokers take calls. The ledger knows the nodes by their Raft addresses only.
    pub brokers: Peers,
}

impl Broker {
    async fn append(&self, message: Message) -> Outcome {
        let Some(record) = message.encode() else { return Outcome::Invalid("a topic has 1 to 255 bytes".into()) };
        let ack = match self.ledger.append(record).await {
            Ok(ack) => ack,
            Err(AppendError::NotMaster { master }) => return Outcome::NotMaster(self.redirect(master)),
            Err(error @ AppendError::TooLarge { .. }) => return Outcome::Invalid(error.to_string()),
            Err(error) if error.outcome() == Known::Refused => return Outcome::Refused(error.to_string()),
            Err(error) => return Outcome::Unknown(error.to_string()),
        };
        // Committed; its offset is known as soon as the tail has come by.
        let mut topics = self.topics.clone();
        let seen = topics.wait_for(|topics| topics.has_seen(ack.index)).await;
        match seen.ok().and_then(|topics| topics.offset_of(&message.topic, ack.index)) {
            Some(offset) => Outcome::Produced(Produced { offset }),
            None => Outcome::Unknown("the broker is stopping".into()),
        }
    }

    fn redirect(&self, master: Option<Member>) -> NotMaster {
        let broker = master.and_then(|master| self.brokers.get(&master.id));
        NotMaster { address: broker.map(|broker| broker.address.clone()).unwrap_or_default() }
    }
}

#[tonic::async_trait]
impl BrokerService for Broker {
    async fn produce(&self, request: Request<ProduceRequest>) -> Result<Response<ProduceResponse>, Status> {
        let ProduceRequest { topic, body } = request.into_inner();
        let outcome = self.append(Message { topic, body }).await;
        Ok(Response::new(ProduceResponse { outcome: Some(outcome) }))
    }

    type ConsumeStream = BoxStream<'static, Result<proto::Message, Status>>;

    async fn consume(&self, request: Request<ConsumeRequest>) -> Result<Response<Self::ConsumeStream>, Status> {
        let ConsumeRequest { topic, offset } = request.into_inner();
        let reader = Reader { ledger: self.ledger.clone(), topics: self.topics.clone(), topic, offset };
        Ok(Response::new(stream::try_unfold(reader, Reader::next).boxed()))
    }
}

/// Walks through one topic.
struct Reader {
    ledger: Ledger,
    topics: watch::Receiver<Topics>,
    topic: String,
    offset: u64,
}

impl Reader {
    /// Waits for the message at `offset`.
    async fn next(mut self) -> Result<Option<(proto::Message, Self)>, Status> {
        let there = |topics: &Topics| topics.index_at(&self.topic, self.offset);
        let index = match self.topics.wait_for(|topics| there(topics).is_some()).await {
            Ok(topics) => there(&topics),
            Err(_) => return Err(Status::unavailable("the broker is stopping")),
        };
        let Some(index) = index else { return Ok(None) };
        let record = self.ledger.get(index).await.map_err(|error| Status::internal(error.to_string()))?;
        let body = Message::decode(&record.body).map(|message| message.body).unwrap_or_default();
        let message = proto::Message { offset: self.offset, body };
        self.offset += 1;
        Ok(Some((message, self)))
    }
}
