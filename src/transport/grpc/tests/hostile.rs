//! Peers that misbehave: garbage, silence, floods.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::kit::*;
use crate::transport::grpc::acceptor::AcceptorOptions;
use crate::transport::grpc::connection_limit::Places;
use crate::transport::grpc::server::ServerOptions;
use crate::transport::{Lane, Link, TransportError};
use crate::wire::client::from_status;
use crate::wire::pb;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn options(places: usize, preface_timeout: Duration) -> ServerOptions {
    let places = Places { clients: places, own_machine: 0, peers: places, unplaced: places };
    ServerOptions { acceptor: AcceptorOptions { places, preface_timeout }, ..server_options() }
}

/// A server with `places` places of each kind.
async fn rig(places: usize, preface_timeout: Duration) -> Rig {
    Rig::start_at("127.0.0.1:0", Replication::Echo, options(places, preface_timeout)).await
}

/// Waits until the server has closed the connection.
async fn closed(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    // Reset or closed: both are an end.
    let _ = soon(stream.read_to_end(&mut bytes)).await;
}

async fn connect(rig: &Rig, say: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    stream.write_all(say).await.unwrap();
    stream
}

async fn honest(link: &dyn Link) {
    assert!(link.request_vote(vote(1), LONG).await.unwrap().granted);
}

#[tokio::test]
async fn a_connection_that_does_not_begin_to_speak_is_closed() {
    let rig = rig(100, Duration::from_millis(200)).await;
    let unspoken = [&b""[..], &PREFACE[..10], PREFACE, &[PREFACE, &SETTINGS[..8]].concat()];
    for say in unspoken {
        closed(&mut connect(&rig, say).await).await;
    }
    honest(rig.link(Lane::Control).as_ref()).await;
}

#[tokio::test]
async fn bytes_that_trickle_in_buy_no_time() {
    let rig = rig(100, Duration::from_millis(200)).await;
    let (mut read, mut write) = connect(&rig, b"").await.into_split();
    // The greeting is never complete, and never silent for as long as the deadline.
    let trickle = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(40));
        for byte in PREFACE {
            tick.tick().await;
            if write.write_all(&[*byte]).await.is_err() {
                return false;
            }
        }
        true
    });
    let mut rest = Vec::new();
    // Reset or closed: both are an end.
    let _ = soon(read.read_to_end(&mut rest)).await;
    assert!(!soon(trickle).await.unwrap(), "the whole preface could be sent");
}

#[tokio::test]
async fn garbage_is_closed_at_once() {
    // The deadline plays no part here.
    let rig = rig(100, LONG * 10).await;
    for garbage in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n----------".to_vec(), vec![0xff; 4096]] {
        closed(&mut connect(&rig, &garbage).await).await;
    }
    let frame = [PREFACE, SETTINGS, &[0xff; 64]].concat();
    closed(&mut connect(&rig, &frame).await).await;
    honest(rig.link(Lane::Control).as_ref()).await;
}

#[tokio::test]
async fn silent_connections_far_over_the_cap_do_not_starve_an_honest_client() {
    // No deadline within the test: silent connections must make room before their deadline.
    let rig = rig(8, LONG * 10).await;
    let kept = rig.link(Lane::Data);
    honest(kept.as_ref()).await;
    let mut attackers = Vec::new();
    for number in 0..100 {
        attackers.push(connect(&rig, &PREFACE[..number % PREFACE.len()]).await);
    }
    honest(rig.link(Lane::Control).as_ref()).await;
    honest(kept.as_ref()).await;
    assert!(rig.server.connections() <= 8);
    // The server closed the first connections to make room.
    closed(&mut attackers[0]).await;
}

/// Greets as a client, takes a place and stays silent.
async fn speaker(rig: &Rig) -> TcpStream {
    let mut stream = connect(rig, &[PREFACE, SETTINGS].concat()).await;
    // The server's own settings show that it has read the greeting.
    soon(stream.read_exact(&mut [0; 9])).await.unwrap();
    stream
}

#[tokio::test]
async fn clients_that_take_all_their_places_keep_no_peer_out() {
    let rig = rig(2, LONG).await;
    let mut speakers = Vec::new();
    for _ in 0..10 {
        speakers.push(speaker(&rig).await);
    }
    honest(rig.link(Lane::Control).as_ref()).await;
    honest(rig.link(Lane::Data).as_ref()).await;
}

#[tokio::test]
async fn who_finds_no_place_is_told_so_by_name_until_one_is_free() {
    let rig = rig(2, LONG).await;
    let [_kept, leaves] = [speaker(&rig).await, speaker(&rig).await];
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", rig.address())).unwrap();
    let mut client = pb::ledger_service_client::LedgerServiceClient::new(endpoint.connect_lazy());
    let mut status = async || soon(client.status(pb::StatusRequest::default())).await.unwrap_err();
    for _ in 0..20 {
        let failure = from_status(&status().await).expect("a typed answer, and no broken connection");
        assert_eq!(failure.code(), pb::failure::Code::Busy);
        assert!(failure.message.contains("all 2 client connections"), "{}", failure.message);
        assert!(failure.message.contains("--max-connections"), "{}", failure.message);
    }
    drop(leaves);
    // The rig has no ledger service: `Unimplemented` shows that the server let the caller in.
    soon(async { while status().await.code() != tonic::Code::Unimplemented {} }).await;
}

#[tokio::test]
async fn a_peer_that_finds_no_place_is_told_so_by_name() {
    let rig = rig(1, LONG).await;
    let first = rig.link(Lane::Control);
    honest(first.as_ref()).await;
    let second = rig.link(Lane::Control);
    let error = second.request_vote(vote(1), LONG).await.unwrap_err();
    let TransportError::Refused { refusal, .. } = &error else { panic!("{error}") };
    assert_eq!(refusal.reason(), pb::refusal::Reason::NoPlace, "{error}");
    assert!(refusal.found.contains("all 1 peer connections"), "{error}");
    honest(first.as_ref()).await;
}

/// Reads a frame: its type, its flags and its payload.
async fn frame(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut header = [0; 9];
    soon(stream.read_exact(&mut header)).await.expect("the connection is closed");
    let mut body = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
    soon(stream.read_exact(&mut body)).await.unwrap();
    (header[3], header[4], body)
}

/// A client whose many calls are dropped at once does this, while the node is not scheduled.
#[tokio::test]
async fn calls_that_are_given_up_before_they_are_looked_at_do_not_end_the_connection() {
    const HEADERS: &[u8] = &[0x83, 0x86, 0x04, 2, b'/', b'x', 0x01, 1, b'h'];
    let (ping, ack, go_away) = (6, 1, 7);
    let rig = rig(10, LONG).await;
    let mut said = [PREFACE, SETTINGS].concat();
    for call in 0..1000_u32 {
        let id = (2 * call + 1).to_be_bytes();
        said.extend([&[0, 0, HEADERS.len() as u8, 1, 5], &id[..], HEADERS].concat());
        said.extend([&[0, 0, 4, 3, 0], &id[..], &[0, 0, 0, 8]].concat());
    }
    said.extend([&[0, 0, 8, ping, 0, 0, 0, 0, 0][..], &[7; 8]].concat());
    let mut stream = connect(&rig, &said).await;
    loop {
        let (kind, flags, body) = frame(&mut stream).await;
        assert_ne!(kind, go_away, "{}", String::from_utf8_lossy(&body));
        if (kind, flags, &body[..]) == (ping, ack, &[7; 8][..]) {
            break;
        }
    }
}

#[tokio::test]
async fn a_speaker_that_goes_silent_is_pinged_and_closed() {
    let quick = Duration::from_millis(100);
    let options = ServerOptions { keepalive_interval: quick, keepalive_timeout: quick, ..server_options() };
    let rig = Rig::start_at("127.0.0.1:0", Replication::Echo, options).await;
    closed(&mut connect(&rig, &[PREFACE, SETTINGS].concat()).await).await;
}

#[tokio::test]
async fn clients_that_say_nothing_or_read_nothing_do_not_hold_up_the_stop() {
    let rig = rig(10, LONG * 10).await;
    let silent = connect(&rig, b"").await;
    let mut deaf = connect(&rig, &[PREFACE, SETTINGS].concat()).await;
    // Pings until the answers fill both directions: from then on the server waits to write and reads no more.
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
    let pings = ping.repeat(10_000);
    while tokio::time::timeout(SHORT * 5, deaf.write_all(&pings)).await.is_ok_and(|written| written.is_ok()) {}
    honest(rig.link(Lane::Control).as_ref()).await;
    let address = rig.address();
    soon(rig.server.shutdown()).await;
    Rig::start_at(&address.to_string(), Replication::Echo, server_options()).await;
    // Closed although nothing has been read.
    soon(async { while deaf.write_all(&pings).await.is_ok() {} }).await;
    drop(silent);
}
