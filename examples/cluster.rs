//! Three real processes, one log: kill the leader, lose nothing.
//!
//! `cargo run --release --example cluster` starts three nodes on loopback, appends the lines of real text to them from
//! a client with many appends in flight, kills the leader with SIGKILL in the middle, goes on, restarts it, waits until
//! it has caught up, and then checks every acknowledged record on every node, byte for byte.

#[path = "cluster/check.rs"]
mod check;
#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/nodes.rs"]
mod nodes;
#[path = "cluster/text.rs"]
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use dledger::Client;

use check::Verdict;
use load::{Load, Outcome};
use nodes::{GROUP, Nodes};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Three real processes, one log: kill the leader, lose nothing.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Files whose lines are appended; default: the text files of this repository.
    #[arg(long, num_args = 1..)]
    input: Vec<PathBuf>,
    /// How many records; the lines are repeated as often as it takes.
    #[arg(long, default_value_t = 200_000)]
    records: usize,
    /// Pad every record to this number of bytes; 0 leaves the lines as they are.
    #[arg(long, default_value_t = 0)]
    pad: usize,
    /// Appends in flight.
    #[arg(long, default_value_t = 4096)]
    inflight: usize,
    /// What an ack means for the disks.
    #[arg(long, value_enum, default_value_t = Durability::Sync)]
    durability: Durability,
    /// Leave the leader alive: for measuring throughput.
    #[arg(long)]
    no_kill: bool,
    /// The last line of the output is one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Role {
    /// One node of the cluster; the example starts these itself.
    #[command(hide = true)]
    Node(nodes::NodeArgs),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Durability {
    Sync,
    Interval,
}

/// Prints what happens, with the time since the start.
#[derive(Clone, Copy)]
struct Timeline(Instant);

impl Timeline {
    fn tell(&self, what: impl std::fmt::Display) {
        println!("{:8.3} s  {what}", self.0.elapsed().as_secs_f64());
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let run = match args.role {
        Some(Role::Node(node)) => nodes::serve(node).await.map(|()| true),
        None => run(&args).await,
    };
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<bool> {
    let timeline = Timeline(Instant::now());
    let lines = text::lines(&args.input, args.records, args.pad)?;
    let bytes: usize = lines.iter().map(bytes::Bytes::len).sum();
    timeline.tell(format_args!("{} records, {bytes} bytes of text", lines.len()));

    let mut cluster = Nodes::start(args.durability == Durability::Interval)?;
    let client = Client::builder(cluster.peers(), GROUP.parse()?).timeout(Duration::from_secs(20)).build();
    let leader = cluster.leader(&client).await?;
    timeline.tell(format_args!("three nodes in {}, the leader is {leader}", cluster.dir().display()));

    let load = Load { lines: &lines, inflight: args.inflight, kill: !args.no_kill, progress: !args.json };
    let outcome = load.run(&client, &mut cluster, &timeline).await?;
    timeline.tell(format_args!("all records have an outcome: {} acked, {} unknown", outcome.acked(), outcome.unknown));

    cluster.restart_dead()?;
    let end = cluster.caught_up(&client, &outcome).await?;
    timeline.tell(format_args!("all three nodes have committed {} records", end.committed));

    let mut verdict = check::records(&client, &cluster, &lines, &outcome, end.committed).await?;
    cluster.stop().await?;
    verdict.identical = cluster.same_bytes(end.position)?;
    timeline.tell(format_args!("checked {} records on each node", verdict.records));
    Ok(report(&outcome, &verdict, args.json))
}

fn report(outcome: &Outcome, verdict: &Verdict, json: bool) -> bool {
    let Verdict { lost, duplicates, holes, identical, elections, .. } = *verdict;
    let failover = outcome.failover.map(|failover| failover.as_millis() as u64);
    println!();
    println!("acked {}, unknown {}, elections {elections}", outcome.acked(), outcome.unknown);
    if let Some(millis) = failover {
        println!("kill -9 of the leader to the next acked append: {millis} ms");
    }
    println!("{:.0} records/s while all nodes were up", outcome.records_per_second);
    let same = if identical { "identical" } else { "NOT identical" };
    println!("lost {lost}, duplicates {duplicates}, holes {holes}, {same}");
    if json {
        let summary = serde_json::json!({
            "acked": outcome.acked(), "lost": lost, "unknown": outcome.unknown, "duplicates": duplicates,
            "holes": holes, "identical": identical, "failover_ms": failover,
            "records_per_s": outcome.records_per_second.round(), "elections": elections,
        });
        println!("{summary}");
    }
    lost == 0 && duplicates == 0 && holes == 0 && identical
}
