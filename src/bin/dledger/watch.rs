//! `dledger status --watch`: the table again and again, with what is committed per second.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::IsTerminal;
use std::time::Duration;

use dledger::{Client, Group, NodeId, Peer, Peers, Status};
use futures::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};

use crate::clusters;
use crate::histories;
use crate::output::{Failure, Output, nobody_reads};
use crate::roster::{Answer, ask, mark, members};
use crate::status::{head, objects, row, table, titled};
use crate::target::Target;

/// The shortest and the longest interval.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A node may take so long to answer even if the interval is shorter.
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

/// Prints until Ctrl-C, or until nobody reads it any more.
pub(crate) async fn run(target: &Target, every: Duration, json: bool) -> Result<(), Failure> {
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        ended = refresh(target, every, json) => match ended? {},
        signal = interrupted => Ok(signal?),
    }
}

async fn refresh(target: &Target, every: Duration, json: bool) -> Result<Infallible, Failure> {
    let longest = every.max(ANSWER);
    let mut ledgers: Vec<_> = target.groups().into_iter().map(|group| Watched::new(target, group, longest)).collect();
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
            true => output.line(Value::Array(looks.iter().flat_map(Look::objects).collect()))?,
            false => {
                let tables: Vec<_> = looks.iter().map(|look| (look.group, look.lines())).collect();
                output.bytes(screen.frame(&titled(&tables)).as_bytes())?;
            }
        }
        output.flush()?;
    }
}

/// A ledger that is watched.
struct Watched<'t> {
    group: &'t Group,
    /// Who is asked: the peers of the list, and the members besides.
    peers: Peers,
    client: Client,
    rates: Rates,
}

/// What one look at it showed.
struct Look<'t> {
    group: &'t Group,
    answers: Vec<Answer>,
    rates: Vec<Option<f64>>,
}

impl<'t> Watched<'t> {
    fn new(target: &'t Target, group: &'t Group, longest: Duration) -> Self {
        let (peers, client) = (target.peers.clone(), target.client_of(group, &target.peers, longest));
        Self { group, peers, client, rates: Rates::default() }
    }

    async fn look(&mut self, target: &Target, longest: Duration) -> Look<'t> {
        let mut answers = ask(&self.client, &self.peers).await;
        if let Some(members) = members(&answers).filter(|_| clusters::one(&answers).is_ok()) {
            mark(&mut answers, &members);
            if let Some(now) = with_members(&target.peers, members.into_iter()).filter(|now| *now != self.peers) {
                self.client = target.client_of(self.group, &now, longest);
                self.peers = now;
            }
        }
        let rates = self.rates.next(answers.iter().map(committed));
        Look { group: self.group, answers, rates }
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

/// What each node had committed, and when it said so.
#[derive(Default)]
struct Rates(HashMap<NodeId, (u64, Instant)>);

impl Rates {
    /// Records committed per second since the refresh before. `None` for a node that did not answer both times, or has
    /// less than it had: it was started again.
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

impl Look<'_> {
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
        let strange = clusters::one(&self.answers).err().map(|error| format!("TWO CLUSTERS: {error}"));
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

/// Where the tables go: each over the one before on a terminal, elsewhere one behind the other.
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
mod tests {
    use dledger::ClientError;

    use super::*;

    fn peers(text: &str) -> Peers {
        text.parse().unwrap()
    }

    #[test]
    fn an_interval_has_a_unit_and_bounds() {
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("10ms"), Ok(SHORTEST));
        for wrong in ["9ms", "25h", "0s", "2", "soon"] {
            assert!(interval(wrong).unwrap_err().contains("2s"), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_between_two_answers_of_a_node() {
        let (n0, n1, start) = (NodeId::new(0), NodeId::new(1), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let mut rates = Rates::default();
        let mut next = |told: [(&NodeId, Option<u64>, Instant); 2]| rates.next(told.into_iter());
        assert_eq!(next([(&n0, Some(100), at(0)), (&n1, None, at(0))]), [None, None]);
        assert_eq!(next([(&n0, Some(350), at(500)), (&n1, Some(350), at(500))]), [Some(500.0), None]);
        // It is down, comes back and knows of less; the other one rests, and is then asked twice at once.
        assert_eq!(next([(&n0, Some(350), at(1500)), (&n1, None, at(1500))]), [Some(0.0), None]);
        assert_eq!(next([(&n0, Some(350), at(1500)), (&n1, Some(300), at(1600))]), [None, None]);
        assert_eq!(next([(&n0, Some(351), at(3500)), (&n1, Some(299), at(2600))]), [Some(0.5), None]);
    }

    #[test]
    fn a_rate_is_as_exact_as_it_is_large() {
        let shown = [None, Some(0.0), Some(0.04), Some(2.26), Some(9.96), Some(123_456.7)].map(per_second);
        assert_eq!(shown, ["-", "0", "0.0", "2.3", "10", "123457"]);
    }

    #[test]
    fn members_that_are_not_among_the_peers_are_shown_behind_them() {
        let named = peers("n1=b:1;n0=a:1");
        let members = peers("n0=elsewhere:1;n2=c:1;n3=b:1");
        let now = with_members(&named, members.iter().cloned()).unwrap();
        // n0 as it was named, and nobody twice.
        assert_eq!(now, peers("n1=b:1;n0=a:1;n2=c:1"));
        assert_eq!(super::members(&[unreachable("n0", "a:1")]), None);
    }

    fn unreachable(id: &str, address: &str) -> Answer {
        let broken = ClientError::Broken {
            address: address.into(),
            reason: "connection\nrefused\x1b[2J".into(),
            reached: false,
        };
        let peer = Peer { id: id.parse().unwrap(), address: address.into() };
        Answer { peer, at: Instant::now(), status: Err(broken), member: None }
    }

    #[test]
    fn a_node_that_is_down_stays_in_the_table() {
        let answers = vec![unreachable("n0", "a:1"), unreachable("n1", "bb:22")];
        let group = "g".parse().unwrap();
        let look = Look { group: &group, answers, rates: vec![None, None] };
        let table = look.lines();
        assert_eq!(table[0], "NODE  ADDRESS  ROLE  TERM  MASTER  FIRST  COMMITTED  COMMITTED/S  DURABLE  END");
        assert!(table[1].starts_with("n0    a:1      unreachable (connection"), "{}", table[1]);
        assert!(table[2].starts_with("n1    bb:22    unreachable (connection"), "{}", table[2]);
        let objects = look.objects();
        assert_eq!(objects[1]["node"], "n1");
        assert!(objects[1]["error"].is_string() && objects[1].get("committed_per_second").is_none(), "{objects:?}");
        let frame = Screen { terminal: false, drawn: None }.frame(&table);
        assert_eq!((frame.lines().count(), frame.contains('\x1b')), (3, false), "{frame}");
    }

    fn lines_of(text: &str) -> Vec<String> {
        text.split(' ').map(String::from).collect()
    }

    #[test]
    fn elsewhere_than_on_a_terminal_tables_are_parted_by_a_line() {
        let mut screen = Screen { terminal: false, drawn: None };
        assert_eq!(screen.frame(&lines_of("a b")), "a\nb\n");
        assert_eq!(screen.frame(&lines_of("c d e")), "\nc\nd\ne\n");
    }

    #[test]
    fn on_a_terminal_a_table_is_drawn_over_the_one_before() {
        let mut screen = Screen { terminal: true, drawn: None };
        assert_eq!(screen.frame(&lines_of("a b")), "\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h");
        assert_eq!(screen.frame(&lines_of("c")), "\x1b[2A\x1b[?7lc\x1b[K\n\x1b[J\x1b[?7h");
        assert!(screen.frame(&lines_of("d e f")).starts_with("\x1b[1A"));
    }
}
