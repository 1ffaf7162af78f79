//! `dledger status --watch`: the table again and again, with what is committed per second.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::IsTerminal;
use std::time::Duration;

use dledger::{Client, Group, NodeId, Peer, Peers, Status};
use futures::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};

use super::command::{head, objects, row, titled};
use super::histories;
use crate::output::{Failure, Output, nobody_reads};
use crate::table::table;
use crate::target::Target;
use crate::target::clusters;
use crate::target::roster::{Answer, ask, mark, members};

/// The shortest and the longest interval.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long a node may take to answer even if the interval is shorter.
const ANSWER: Duration = Duration::from_secs(1);

const FIGURES: [&str; 5] = ["FIRST", "COMMITTED", "COMMITTED/S", "DURABLE", "END"];

/// Reads an interval.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| format!("{error}: write it like 2s"))?;
    match (SHORTEST..=LONGEST).contains(&every) {
        true => Ok(every),
        false => Err("from 10ms to 24h, like 2s".into()),
    }
}

/// Prints until Ctrl-C, or until nobody reads the output any more.
pub(crate) async fn run(target: &Target, every: Duration, json: bool) -> Result<(), Failure> {
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        ended = refresh(target, every, json) => match ended? {},
        signal = interrupted => Ok(signal?),
    }
}

async fn refresh(target: &Target, every: Duration, json: bool) -> Result<Infallible, Failure> {
    let longest = every.max(ANSWER);
    let mut ledgers: Vec<_> =
        target.groups().into_iter().map(|group| WatchedLedger::new(target, group, longest)).collect();
    let mut screen = Screen::new();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut output = Output::stdout();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = nobody_reads() => return Err(Failure::Pipe),
        }
        let looks = join_all(ledgers.iter_mut().map(|ledger| ledger.look(target, longest))).await;
        match json {
            true => output.line(Value::Array(looks.iter().flat_map(Refresh::objects).collect()))?,
            false => {
                let tables: Vec<_> = looks.iter().map(|look| (look.group, look.lines())).collect();
                output.bytes(screen.frame(&titled(&tables)).as_bytes())?;
            }
        }
        output.flush()?;
    }
}

/// A ledger that is watched.
struct WatchedLedger<'t> {
    group: &'t Group,
    /// The nodes that are asked: the peers of the list, and the members that the list lacks.
    peers: Peers,
    client: Client,
    rates: Rates,
}

/// What one refresh showed of a ledger.
struct Refresh<'t> {
    group: &'t Group,
    answers: Vec<Answer>,
    rates: Vec<Option<f64>>,
}

impl<'t> WatchedLedger<'t> {
    fn new(target: &'t Target, group: &'t Group, longest: Duration) -> Self {
        let (peers, client) = (target.peers.clone(), target.client_of(group, &target.peers, longest));
        Self { group, peers, client, rates: Rates::default() }
    }

    async fn look(&mut self, target: &Target, longest: Duration) -> Refresh<'t> {
        let mut answers = ask(&self.client, &self.peers).await;
        if let Some(members) = members(&answers).filter(|_| clusters::check_one(&answers).is_ok()) {
            mark(&mut answers, &members);
            if let Some(now) = with_members(&target.peers, members.into_iter()).filter(|now| *now != self.peers) {
                self.client = target.client_of(self.group, &now, longest);
                self.peers = now;
            }
        }
        let rates = self.rates.next(answers.iter().map(committed));
        Refresh { group: self.group, answers, rates }
    }
}

fn with_members(named: &Peers, members: impl Iterator<Item = Peer>) -> Option<Peers> {
    let mut peers: Vec<Peer> = named.iter().cloned().collect();
    for member in members {
        if peers.iter().all(|peer| peer.id != member.id && peer.address != member.address) {
            peers.push(member);
        }
    }
    Peers::new(peers).ok()
}

fn committed(Answer { peer, at, status, .. }: &Answer) -> (&NodeId, Option<u64>, Instant) {
    (&peer.id, status.as_ref().ok().map(|status| status.committed), *at)
}

/// What each node had committed at the refresh before, and when it said so.
#[derive(Default)]
struct Rates(HashMap<NodeId, (u64, Instant)>);

impl Rates {
    /// Records committed per second since the refresh before. `None` for a node that did not answer both times, or
    /// that has committed less than before because it was restarted.
    fn next<'a>(&mut self, told: impl Iterator<Item = (&'a NodeId, Option<u64>, Instant)>) -> Vec<Option<f64>> {
        let before = std::mem::take(&mut self.0);
        let rate = |(node, committed, at): (&NodeId, Option<u64>, Instant)| {
            let committed = committed?;
            self.0.insert(node.clone(), (committed, at));
            let (had, then) = before.get(node)?;
            let seconds = at.saturating_duration_since(*then).as_secs_f64();
            let records = committed.checked_sub(*had)? as f64;
            (seconds > 0.0).then_some(records / seconds)
        };
        told.map(rate).collect()
    }
}

impl Refresh<'_> {
    fn objects(&self) -> Vec<Value> {
        let objects = objects(self.group, &self.answers).zip(&self.answers);
        let each = objects.zip(&self.rates).map(|((mut object, answer), rate)| {
            if answer.status.is_ok() {
                // More digits than were measured are of no use.
                object["committed_per_second"] = rate.map(|rate| (rate * 10.0).round() / 10.0).into();
            }
            object
        });
        each.collect()
    }

    fn lines(&self) -> Vec<String> {
        let rows = self.answers.iter().zip(&self.rates);
        let rows = rows.map(|(answer, rate)| row(answer, |status| figures(status, *rate)));
        let table = table(&std::iter::once(head(&FIGURES)).chain(rows).collect::<Vec<_>>());
        let strange = clusters::check_one(&self.answers).err().map(|error| format!("TWO CLUSTERS: {error}"));
        let differ = histories::differ(&self.answers).filter(|_| strange.is_none());
        let differ = differ.map(|differ| format!("OTHER HISTORY: {differ}"));
        strange.into_iter().chain(differ).chain(table).collect()
    }
}

fn figures(s: &Status, rate: Option<f64>) -> Vec<String> {
    vec![s.first.to_string(), s.committed.to_string(), per_second(rate), s.durable.to_string(), s.end.to_string()]
}

fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => "-".into(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// Where the tables go: on a terminal each over the one before, elsewhere one behind the other.
struct Screen {
    terminal: bool,
    /// Lines of the table before.
    drawn: Option<usize>,
}

impl Screen {
    fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), drawn: None }
    }

    /// What is to be written for the next table.
    fn frame(&mut self, lines: &[String]) -> String {
        // A node's words are of one line, and steer no terminal.
        let lines: Vec<String> = lines.iter().map(|line| line.replace(char::is_control, " ")).collect();
        let before = self.drawn.replace(lines.len());
        if !self.terminal {
            let gap = if before.is_some() { "\n" } else { "" };
            return lines.iter().fold(gap.to_owned(), |frame, line| frame + line + "\n");
        }
        // Up to the first line of the table before; lines that are too long are cut while it is drawn, for lines that
        // wrap could not be counted; the rest of each line, and in the end of the screen, is cleared.
        let up = before.map(|lines| format!("\x1b[{lines}A")).unwrap_or_default();
        let body = lines.iter().fold(up + "\x1b[?7l", |frame, line| frame + line + "\x1b[K\n");
        body + "\x1b[J\x1b[?7h"
    }
}

#[cfg(test)]
mod tests;
