//! The smallest honest broker: topics over one ledger.
//!
//! `cargo run --release -p broker -- demo` starts three of them, kills the master and counts what is lost.
//!
//! | file | what it is |
//! |---|---|
//! | `record.rs` | a message as a record: its topic, then its body |
//! | `topics.rs` | which records belong to which topic, learned from the tail |
//! | `service.rs` | produce and consume over gRPC |
//! | `serve.rs` | one broker process: ledger, topics, service |
//! | `client.rs` | a producer that follows redirects, a consumer that takes any broker |
//! | `demo.rs` | three brokers, one kill; `demo/cluster.rs` the processes, `demo/verdict.rs` the count |
//!
//! What is left out on purpose: consumer groups, retention, authentication, a stream for producers (each call is a
//! round trip; many producers at once still share batches and fsyncs).

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod client;
mod demo;
mod record;
mod serve;
mod service;
mod topics;

/// The messages and the service of `proto/broker.proto`.
#[allow(clippy::all, clippy::unwrap_used)]
mod proto {
    tonic::include_proto!("dledger.example.v1");
}

/// Examples pass errors on; a program would have a type of its own.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// A small broker: topics over one replicated ledger.
#[derive(Parser)]
#[command(name = "broker", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Produce(client::Produce),
    Consume(client::Consume),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(demo) => demo.run().await,
        Command::Serve(serve) => serve.run().await,
        Command::Produce(produce) => produce.run().await,
        Command::Consume(consume) => consume.run().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
