//! What comes in, without a node.

use futures::StreamExt;
use futures::channel::mpsc;
use tonic::codec::{Codec, EncodeBody};
use tonic_prost::ProstCodec;

use super::*;
use crate::config::Config;
use crate::types::NodeId;
use crate::wire::client::from_status;

const BATCH: usize = 1 << 20;
const WAIT: Duration = Duration::from_secs(3);

/// The smallest budget that holds a message of 2 MiB.
fn config() -> Config {
    let mut config = Config::new(NodeId::new(0), "127.0.0.1:0");
    (config.max_batch_bytes, config.max_connections, config.append_timeout) = (BATCH, 8, WAIT);
    config.max_client_bytes = config.least_client_bytes();
    config
}

fn budget() -> Arc<AppendBudget> {
    AppendBudget::new(&config())
}

fn request(id: u64, size: usize) -> pb::AppendRecordsRequest {
    pb::AppendRecordsRequest { id, records: vec![vec![id as u8; size].into()], ..Default::default() }
}

type Sender = mpsc::UnboundedSender<pb::AppendRecordsRequest>;

/// What a client sends.
fn body() -> (Sender, Body) {
    let (sender, requests) = mpsc::unbounded();
    let encoder = ProstCodec::<pb::AppendRecordsRequest, pb::AppendRecordsResponse>::default().encoder();
    (sender, Body::new(EncodeBody::new_client(encoder, requests.map(Ok), None, None)))
}

fn send(sender: &Sender, id: u64, size: usize) {
    sender.unbounded_send(request(id, size)).unwrap();
}

#[tokio::test]
async fn requests_come_whole_and_in_order_and_give_back_their_room() {
    let budget = budget();
    let (streams, messages) = (budget.streams.available_permits(), budget.messages.available_permits());
    let (sender, body) = body();
    let mut requests = AppendReader::new(&budget, body, None).unwrap();
    assert!(futures::poll!(requests.next()).is_pending());
    let sizes = [0, 1, 100, 16 << 10, 300 << 10, 3, BATCH];
    for (id, size) in (0..).zip(sizes) {
        send(&sender, id, size);
    }
    for (id, size) in (0..).zip(sizes) {
        let taken = requests.next().await.unwrap().unwrap();
        assert!(taken.request == request(id, size), "{id}");
        assert!(messages - budget.messages.available_permits() >= size, "it takes room until it is let go");
    }
    drop(sender);
    assert!(requests.next().await.is_none());
    drop(requests);
    assert_eq!((budget.streams.available_permits(), budget.messages.available_permits()), (streams, messages));
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_waits_for_it_and_is_told_busy_when_its_time_is_up() {
    let budget = budget();
    let streams: Vec<_> = (0..3)
        .map(|_| {
            let (sender, body) = body();
            (0..3).for_each(|id| send(&sender, id, BATCH));
            AppendReader::new(&budget, body, None).unwrap()
        })
        .collect();
    let [mut first, mut second, mut third] = <[AppendReader; 3]>::try_from(streams).ok().unwrap();
    let held = first.next().await.unwrap().unwrap();
    // A second one has no room beside it.
    assert!(futures::poll!(second.next()).is_pending());
    tokio::time::advance(WAIT / 2).await;
    assert!(futures::poll!(third.next()).is_pending());
    drop(held);
    let held = second.next().await.unwrap().unwrap();
    assert!(futures::poll!(third.next()).is_pending());
    tokio::time::advance(WAIT / 2).await;
    let status = third.next().await.unwrap().err().unwrap();
    let busy = from_status(&status).unwrap();
    assert_eq!((busy.code(), busy.limit as usize), (Code::Busy, budget.total), "{}", busy.message);
    assert!(busy.message.contains("--max-client-bytes"), "{}", busy.message);
    assert!(third.next().await.is_none(), "what comes behind it is not read");
    drop(held);
    assert_eq!(first.next().await.unwrap().unwrap().request.id, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_no_longer_than_it_says() {
    let budget = budget();
    let ((one, body_of_one), (other, body_of_other)) = (body(), body());
    send(&one, 0, BATCH);
    send(&other, 0, BATCH);
    let mut patient = AppendReader::new(&budget, body_of_one, None).unwrap();
    let held = patient.next().await.unwrap().unwrap();
    let mut hurried = AppendReader::new(&budget, body_of_other, Some(WAIT / 10)).unwrap();
    let before = tokio::time::Instant::now();
    assert!(hurried.next().await.unwrap().is_err());
    assert_eq!(before.elapsed().as_millis(), (WAIT / 10).as_millis(), "by the virtual clock");
    drop(held);
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_by_its_length() {
    let budget = budget();
    let (sender, body) = body();
    send(&sender, 0, BATCH + REQUEST_SLACK);
    let mut requests = AppendReader::new(&budget, body, None).unwrap();
    let status = requests.next().await.unwrap().err().unwrap();
    assert_eq!(from_status(&status).unwrap().code(), Code::TooLarge);
    assert!(requests.next().await.is_none());
}

#[tokio::test]
async fn what_is_not_understood_or_not_whole_is_said_to_be_so() {
    let whole = |request: pb::AppendRecordsRequest| {
        let bytes = request.encode_to_vec();
        [&[0][..], &(bytes.len() as u32).to_be_bytes(), &bytes].concat()
    };
    let mut compressed = whole(request(1, 9));
    compressed[0] = 1;
    let mut cut_short = whole(request(1, 9));
    cut_short.truncate(8);
    let garbled = [&[0, 0, 0, 0, 2][..], &[0x22, 0x7f]].concat();
    for (bytes, expected) in [(compressed, "compressed"), (cut_short, "ends within"), (garbled, "")] {
        let body = Body::new(http_body_util::Full::new(Bytes::from(bytes)));
        let mut requests = AppendReader::new(&budget(), body, None).unwrap();
        let status = requests.next().await.unwrap().err().unwrap();
        let failure = from_status(&status).expect("the stream ends with it, not as if all were well");
        assert_eq!(failure.code(), Code::Malformed);
        assert!(failure.message.contains(expected), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_record_takes_the_room_of_its_handle_also_when_it_is_empty() {
    let budget = budget();
    let free = || budget.messages.available_permits();
    let before = free();
    let (sender, body) = body();
    let records = vec![Bytes::new(); 1000];
    sender.unbounded_send(pb::AppendRecordsRequest { records, ..Default::default() }).unwrap();
    let mut requests = AppendReader::new(&budget, body, None).unwrap();
    let taken = requests.next().await.unwrap().unwrap();
    let cost = before - free();
    let least = 1000 * size_of::<Bytes>();
    assert!((least..4 * least).contains(&cost), "{cost}, and the handles alone take {least}");
    drop(taken);
    assert_eq!(free(), before);
    // More than any request may have are refused before they are decoded.
    let records = vec![Bytes::new(); MAX_REQUEST_RECORDS + 1];
    sender.unbounded_send(pb::AppendRecordsRequest { records, ..Default::default() }).unwrap();
    let status = requests.next().await.unwrap().err().unwrap();
    let refused = from_status(&status).unwrap();
    assert_eq!((refused.code(), refused.found), (Code::TooLarge, MAX_REQUEST_RECORDS as u64 + 1));
}

/// A message of [`BATCH`] bytes, of which `size` bytes come in every `pause`.
async fn trickled(size: usize, pause: Duration) -> Option<Status> {
    let bytes = request(1, BATCH).encode_to_vec();
    let whole = Bytes::from([&[0][..], &(bytes.len() as u32).to_be_bytes(), &bytes].concat());
    let pieces = (0..whole.len().div_ceil(size)).map(move |i| whole.slice(i * size..whole.len().min((i + 1) * size)));
    let ticks = tokio_stream::wrappers::IntervalStream::new(tokio::time::interval(pause));
    let slow =
        ticks.zip(futures::stream::iter(pieces)).map(|(_, piece)| Ok::<_, Status>(http_body::Frame::data(piece)));
    let mut requests =
        AppendReader::new(&budget(), Body::new(http_body_util::StreamBody::new(Box::pin(slow))), None).unwrap();
    requests.next().await.unwrap().err()
}

#[tokio::test(start_paused = true)]
async fn a_message_may_take_long_while_it_comes_and_no_longer() {
    assert!(trickled(128 << 10, WAIT / 2).await.is_none(), "a far client: 1 MiB in four times the wait");
    let status = trickled(1 << 10, WAIT / 2).await.unwrap();
    assert_eq!(from_status(&status).unwrap().code(), Code::Busy, "two KiB in each wait");
}

#[tokio::test]
async fn append_streams_are_as_many_as_there_is_room_for() {
    let budget = budget();
    let mut open = Vec::new();
    let busy = loop {
        match AppendReader::new(&budget, Body::empty(), None) {
            Ok(requests) => open.push(requests),
            Err(busy) => break busy,
        }
    };
    assert!(open.len() >= 8, "one for each connection: {}", open.len());
    // Each may send its window before any of it is read.
    assert!(open.len() * config().client_stream() <= config().max_client_bytes / 2, "{}", open.len());
    assert_eq!(from_status(&busy).unwrap().code(), Code::Busy);
    open.pop();
    assert!(AppendReader::new(&budget, Body::empty(), None).is_ok());
}
