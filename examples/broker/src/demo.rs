//! Three brokers, many producers, two consumers, one kill.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Client, Consumer, addresses};
use crate::proto::Message;
use cluster::{Cluster, Timeline};
use verdict::{Sent, Verdict};

mod cluster;
mod verdict;

const TOPICS: [&str; 2] = ["orders", "payments"];
/// Only a hang takes longer.
const LIMIT: Duration = Duration::from_secs(180);

/// Start three brokers, kill the master in the middle, count what is lost.
#[derive(Args)]
pub struct Demo {
    /// How many messages to produce
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    messages: u64,
    /// How many producers at once, each with one message under way
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=256))]
    producers: u64,
}

/// How far the producers are.
#[derive(Default)]
struct Progress {
    acknowledged: u64,
    /// The last acknowledged message: its topic and offset, and the broker that took it.
    last: (&'static str, u64),
    broker: String,
}

impl Demo {
    pub async fn run(self) -> Result<()> {
        tokio::time::timeout(LIMIT, self.play()).await.map_err(|_| format!("not over after {LIMIT:?}"))?
    }

    async fn play(&self) -> Result<()> {
        let timeline = Timeline(Instant::now());
        let mut cluster = Cluster::start(3, timeline)?;
        let brokers = addresses(&cluster.brokers);
        let place = |address: &str| brokers.iter().position(|broker| broker == address).unwrap_or_default();

        let (progress, mut so_far) = watch::channel(Progress::default());
        let (killed, kill) = watch::channel(false);
        let mut producers = JoinSet::new();
        let progress = Arc::new(progress);
        for number in 0..self.producers {
            let client = Client::new(&brokers, number as usize % brokers.len());
            producers.spawn(self.produce(number, client, progress.clone(), kill.clone()));
        }
        // Only the producers hold it now: when they fail, waiting for progress ends.
        drop(progress);

        let master = place(&so_far.wait_for(|now| now.acknowledged > 0).await?.broker);
        timeline.tell("producers", format_args!("n{master} acknowledges"));
        // At the master, so that the kill hits them too.
        let mut consumers = JoinSet::new();
        let mut seen = TOPICS.map(|topic| consume(&mut consumers, Client::new(&brokers, master), topic));

        let master = place(&so_far.wait_for(|now| now.acknowledged >= self.messages / 2).await?.broker);
        cluster.kill(master).await?;
        let at_kill = Instant::now();
        killed.send_replace(true);
        let acknowledged = so_far.borrow().acknowledged;
        timeline.tell("demo", format_args!("n{master} killed (SIGKILL), {acknowledged} acknowledged"));

        let (broker, (topic, offset)) = {
            let now = so_far.wait_for(|now| place(&now.broker) != master).await?;
            (place(&now.broker), now.last)
        };
        let gap = at_kill.elapsed();
        timeline.tell("producers", format_args!("go on: n{broker} acknowledges {topic}/{offset}"));
        if let Some((_, seen)) = TOPICS.iter().zip(&mut seen).find(|(consumed, _)| **consumed == topic) {
            seen.wait_for(|seen| seen.len() as u64 > offset).await?;
            timeline.tell("consumers", format_args!("go on: {topic}/{offset} is consumed"));
        }

        so_far.wait_for(|now| now.acknowledged >= self.messages / 4 * 3).await?;
        timeline.tell("demo", format_args!("n{master} started again"));
        cluster.up(master)?;

        let sent: Vec<Vec<Sent>> = producers.join_all().await.into_iter().collect::<Result<_>>()?;
        let took = timeline.0.elapsed().as_secs_f64();
        timeline.tell("producers", format_args!("done: {} acknowledged", so_far.borrow().acknowledged));

        let (good, twice) = judge(&sent, seen, &brokers, &mut consumers, timeline).await?;
        consumers.shutdown().await;
        cluster.stop().await?;

        let unknown: u64 = sent.iter().flatten().map(|sent| sent.delivery.unknown).sum();
        println!("\n{} messages acknowledged, {:.0}/s, kill included", self.messages, self.messages as f64 / took);
        println!("{unknown} outcomes unknown, so produced again: {twice} messages are there twice");
        println!("{:.3} s from the kill to the next acknowledgement", gap.as_secs_f64());
        if !good {
            return Err("the brokers do not hold what was acknowledged".into());
        }
        println!("nothing lost: every acknowledged message is at its offset on all {} brokers", brokers.len());
        Ok(())
    }

    /// One producer's share, one message after the other, to the topics in turn.
    fn produce(
        &self,
        producer: u64,
        mut client: Client,
        progress: Arc<watch::Sender<Progress>>,
        mut kill: watch::Receiver<bool>,
    ) -> impl Future<Output = Result<Vec<Sent>>> + use<> {
        let (messages, producers) = (self.messages, self.producers);
        async move {
            let mut all = Vec::new();
            for (number, topic) in (producer..messages).step_by(producers as usize).zip(TOPICS.into_iter().cycle()) {
                // However fast the machine is, the kill comes in the middle.
                if number >= messages / 4 * 3 {
                    kill.wait_for(|killed| *killed).await?;
                }
                let body = Bytes::from(format!("message {number} of producer {producer}"));
                let delivery = client.produce(topic, body.clone()).await?;
                progress.send_modify(|now| {
                    now.acknowledged += 1;
                    now.last = (topic, delivery.offset);
                    now.broker.clone_from(&delivery.broker);
                });
                all.push(Sent { topic, body, delivery });
            }
            Ok(all)
        }
    }
}

/// Consumes a topic from its first message on, until `tasks` is dropped.
fn consume(tasks: &mut JoinSet<()>, client: Client, topic: &str) -> watch::Receiver<Vec<Message>> {
    let (sender, seen) = watch::channel(Vec::new());
    let mut consumer = Consumer::new(client, topic, 0);
    tasks.spawn(async move {
        loop {
            let message = consumer.next().await;
            sender.send_modify(|seen| seen.push(message));
        }
    });
    seen
}

/// Compares what was acknowledged with what the consumers have seen and what each broker serves. Returns whether that
/// is the same, and how many messages are there twice.
async fn judge(
    sent: &[Vec<Sent>],
    seen: [watch::Receiver<Vec<Message>>; TOPICS.len()],
    brokers: &[String],
    consumers: &mut JoinSet<()>,
    timeline: Timeline,
) -> Result<(bool, usize)> {
    let (mut good, mut twice) = (true, 0);
    for (topic, mut live) in TOPICS.into_iter().zip(seen) {
        let offsets = sent.iter().flatten().filter(|sent| sent.topic == topic).map(|sent| sent.delivery.offset);
        let end = offsets.max().map_or(0, |last| last as usize + 1);
        let live = live.wait_for(|seen| seen.len() >= end).await?[..end].to_vec();
        let verdict = Verdict::of(topic, sent, &live);
        timeline.tell("verdict", format_args!("{topic}: {end} consumed, {verdict}"));
        good &= verdict.is_good();
        twice += verdict.twice;
        // Each broker serves from what it knows itself.
        for (n, broker) in brokers.iter().enumerate() {
            let client = Client::new(std::slice::from_ref(broker), 0);
            let mut seen = consume(consumers, client, topic);
            let same = seen.wait_for(|seen| seen.len() >= end).await?[..end] == live[..];
            timeline.tell(format_args!("n{n}"), if same { "holds the same" } else { "holds SOMETHING ELSE" });
            good &= same;
        }
    }
    Ok((good, twice))
}
