//! `dledger members`: who belongs to a ledger, and changes of that. `dledger transfer`: who leads it.

use std::convert::Infallible;
use std::time::Duration;

use clap::{Args, Subcommand};
use dledger::{ClientError, MemberProgress, NodeId, Peer, Peers, PeersError, Role, Status};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::options::values::time_or_zero;
use crate::output::{Failure, Output, ended};
use crate::table::table;
use crate::target::Target;
use crate::target::clusters;
use crate::target::reach;
use crate::target::roster;

/// Interval at which the command asks how far the member has come that it waits for.
const LOOK: Duration = Duration::from_millis(500);
/// How long a member may take to answer where the command only checks that it is there.
const ANSWER: Duration = Duration::from_secs(1);

/// Show the members of the ledger, or change them. Every change finds the master by itself, and may be repeated: a
/// change that was made already succeeds.
#[derive(Debug, Args)]
pub(crate) struct Members {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Add(Add),
    Promote(Promote),
    Remove(Remove),
    Replace(Replace),
    Move(Move),
}

/// Print the members and, as the master sees it, how far each of them is.
///
/// If nobody leads, the first line says so and names the members that do not answer, and the command exits with 4; so
/// it does if the node that was asked has been removed. It exits with 3 if the ledger is closed on that node, and
/// shows nothing if the peers are of two clusters.
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    target: Target,
    /// Print one array with an object per member.
    #[arg(long)]
    json: bool,
}

/// Make the node at an address a learner: the master sends it the log, and it has no vote. It must run with an empty
/// directory (`dledger serve --join`).
#[derive(Debug, Args)]
struct Add {
    #[command(flatten)]
    target: Target,
    /// `host:port` of the node, as the members will reach it.
    #[arg(value_parser = host_port)]
    address: String,
    /// Make it a voter as soon as it has caught up.
    #[arg(long)]
    promote: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    announce: Announce,
}

/// Make a learner a voter, once it has caught up.
#[derive(Debug, Args)]
struct Promote {
    #[command(flatten)]
    target: Target,
    /// The learner.
    id: NodeId,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    announce: Announce,
}

/// Remove a member. Its disk can never be a member again. Refused if the voters that answer would be no quorum
/// without it.
#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    target: Target,
    /// The member.
    id: NodeId,
    #[command(flatten)]
    announce: Announce,
}

/// Replace a member whose disk is lost by a node with an empty directory.
#[derive(Debug, Args)]
struct Replace {
    #[command(flatten)]
    target: Target,
    /// The member whose disk is lost.
    id: NodeId,
    /// `host:port` of the node that takes its place: the same id with a new directory, or another id.
    #[arg(value_parser = host_port)]
    address: String,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    announce: Announce,
}

/// Change the address of a member. It must run there already, with its disk.
#[derive(Debug, Args)]
struct Move {
    #[command(flatten)]
    target: Target,
    /// The member.
    id: NodeId,
    /// `host:port`.
    #[arg(value_parser = host_port)]
    address: String,
    #[command(flatten)]
    announce: Announce,
}

/// Make a voter the master.
#[derive(Debug, Args)]
pub(crate) struct Transfer {
    #[command(flatten)]
    target: Target,
    /// The voter.
    #[arg(long, value_name = "ID")]
    to: NodeId,
    #[command(flatten)]
    announce: Announce,
}

#[derive(Debug, Args)]
struct Wait {
    /// How long to wait for the node to catch up, like `10m`.
    #[arg(long, default_value = "10m", value_parser = time_or_zero)]
    wait: Duration,
}

#[derive(Debug, Args)]
struct Announce {
    /// Print an object in place of each sentence: the node, and what it `is` now.
    #[arg(long)]
    json: bool,
}

impl Announce {
    /// Says what a member is now: in words, or as an object with `more` in it.
    fn say(&self, id: &NodeId, is: &str, mut more: Value, words: &str) -> Result<(), Failure> {
        let mut output = Output::stdout();
        if self.json {
            (more["node"], more["is"]) = (id.as_str().into(), is.into());
            output.line(more)?;
        } else {
            output.line(format_args!("{id} {words}"))?;
        }
        output.flush()
    }
}

impl Members {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run().await,
            Command::Add(command) => command.run().await,
            Command::Promote(command) => command.run().await,
            Command::Remove(command) => command.run().await,
            Command::Replace(command) => command.run().await,
            Command::Move(command) => command.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        // What one of two clusters says of its members is not what was asked for.
        let asked = self.target.client_of(self.target.group()?, &self.target.peers, ANSWER);
        clusters::check_one(&roster::ask(&asked, &self.target.peers).await)?;
        let node = self.target.node(None).await?;
        let (status, members) = (node.status().await?, node.members().await?);
        let exit = Exit::of_role(status.role.name());
        let wrong = match exit {
            Exit::Well => None,
            _ => Some(self.wrong(&status, &members).await),
        };
        let mut output = Output::stdout();
        if let Some(why) = wrong.as_ref().filter(|_| !self.json) {
            output.line(why)?;
        }
        if self.json {
            output.line(Value::Array(members.iter().map(object).collect()))?;
        } else {
            let rows: Vec<_> = std::iter::once(head()).chain(members.iter().map(row)).collect();
            for line in table(&rows) {
                output.line(line)?;
            }
        }
        output.flush()?;
        wrong.map_or(Ok(()), |why| Err(ended(exit, why)))
    }

    /// The first line if the node that was asked does not serve: its role, and the members that do not answer.
    async fn wrong(&self, status: &Status, members: &[MemberProgress]) -> String {
        let silent = self.silent(members).await;
        let silent =
            if silent.is_empty() { "all answer".into() } else { format!("no answer from {}", silent.join(", ")) };
        let what = match status.role {
            Role::Closed { .. } => "CLOSED",
            Role::Removed { .. } => "REMOVED",
            _ => "NO MASTER",
        };
        let (node, role) = (&status.node, status.role.name());
        format!("{what}: {node} is {role}, and this is what it last knew of the members ({silent})")
    }

    /// The members that do not answer.
    async fn silent(&self, members: &[MemberProgress]) -> Vec<String> {
        let peers = members.iter().map(|m| Peer { id: m.member.id.clone(), address: m.member.address.clone() });
        let (Ok(peers), Ok(group)) = (Peers::new(peers.collect()), self.target.group()) else { return Vec::new() };
        let client = self.target.client_of(group, &peers, ANSWER);
        let asked = peers.iter().map(|peer| {
            let client = &client;
            async move { client.status(&peer.id).await.is_err().then(|| format!("{} at {}", peer.id, peer.address)) }
        });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let id = client.add_learner(&self.address).await?.id;
        reach::tell_of_master(&self.target).await;
        let at = json!({ "address": self.address });
        if members(&self.target).await.iter().any(|known| known.member.id == id && known.voter) {
            return self.announce.say(&id, "voter", at, &format!("at {} is a voter already", self.address));
        }
        self.announce.say(&id, "learner", at, &format!("at {} is a learner", self.address))?;
        if self.promote {
            watched(&self.target, &id, client.promote(&id, self.wait.wait)).await?;
            self.announce.say(&id, "voter", json!({}), "is a voter")?;
        }
        Ok(())
    }
}

impl Promote {
    async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        watched(&self.target, &self.id, client.promote(&self.id, self.wait.wait)).await?;
        self.announce.say(&self.id, "voter", json!({}), "is a voter")
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        let before = members(&self.target).await;
        self.target.client()?.remove_member(&self.id).await?;
        let names: Vec<_> = before.iter().map(|known| known.member.id.as_str()).collect();
        // Nobody says who the members were: what was asked for is so all the same.
        if names.is_empty() || names.contains(&self.id.as_str()) {
            return self.announce.say(&self.id, "removed", json!({}), "is no member any more");
        }
        let words = format!("is not a member: nothing to remove (the members are {})", names.join(", "));
        self.announce.say(&self.id, "removed", json!({ "was_member": false }), &words)
    }
}

impl Replace {
    async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let before = members(&self.target).await;
        let replaced = client.replace_member(&self.id, &self.address, self.wait.wait);
        let new = watched(&self.target, &self.id, replaced).await?;
        let more = json!({ "address": self.address, "in_place_of": self.id.as_str() });
        let itself = new.id == self.id && before.iter().any(|known| known.member == new);
        let words = match itself {
            true => format!("at {} is a member with this disk: nothing was replaced", self.address),
            false => format!("at {} has taken the place of {}", self.address, self.id),
        };
        self.announce.say(&new.id, "member", more, &words)
    }
}

impl Move {
    async fn run(self) -> Result<(), Failure> {
        self.target.client()?.move_member(&self.id, &self.address).await?;
        reach::tell(&self.target, Peer { id: self.id.clone(), address: self.address.clone() }).await;
        let at = json!({ "address": self.address });
        self.announce.say(&self.id, "moved", at, &format!("is reached at {}", self.address))
    }
}

impl Transfer {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.target.client()?.transfer_leadership(&self.to).await?;
        self.announce.say(&self.to, "master", json!({}), "is the master")
    }
}

/// The members, as the master has them; without a master, as any node has them that answers.
async fn members(target: &Target) -> Vec<MemberProgress> {
    match target.node(None).await {
        Ok(node) => node.members().await.unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// An address that can be called.
pub(crate) fn host_port(text: &str) -> Result<String, String> {
    let parsed = if text.contains([';', ',']) { Ok(Peers::default()) } else { format!("x={text}").parse::<Peers>() };
    match parsed {
        Ok(peers) if peers.iter().count() == 1 => Ok(text.to_owned()),
        Err(PeersError::Malformed { why, .. }) => Err(format!("write host:port ({why})")),
        Ok(_) | Err(_) => Err("write host:port".into()),
    }
}

/// Shows on a terminal how far the member is while `change` goes on.
async fn watched<T>(
    target: &Target,
    id: &NodeId,
    change: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, Failure> {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(LOOK / 4);
    let outcome = tokio::select! {
        outcome = change => outcome,
        never = show(target, id, &bar) => match never {},
    };
    bar.finish_and_clear();
    Ok(outcome?)
}

/// Says for ever how far the member is.
async fn show(target: &Target, id: &NodeId, bar: &ProgressBar) -> Infallible {
    loop {
        // Nothing to show is nothing to fail for.
        if let Ok(node) = target.node(None).await
            && let Ok(members) = node.members().await
            && let Some(member) = members.iter().find(|member| member.member.id == *id)
        {
            bar.set_message(format!("{id}: {} entries behind", figure(member.behind)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn head() -> Vec<String> {
    ["NODE", "ADDRESS", "VOTES", "END", "BEHIND", "HEARD", "DISK"].map(String::from).to_vec()
}

fn row(progress: &MemberProgress) -> Vec<String> {
    let votes = if progress.voter { "voter" } else { "learner" };
    let heard = progress.heard.map_or_else(|| "-".into(), |heard| format!("{} ms ago", heard.as_millis()));
    let mut row = vec![
        progress.member.id.to_string(),
        progress.member.address.clone(),
        votes.into(),
        figure(progress.end),
        figure(progress.behind),
        heard,
        progress.member.incarnation.to_string(),
    ];
    row.extend(progress.alarm.clone());
    row
}

fn figure(value: Option<u64>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

fn object(progress: &MemberProgress) -> serde_json::Value {
    json!({
        "node": progress.member.id.as_str(), "address": progress.member.address, "voter": progress.voter,
        "end": progress.end, "behind": progress.behind,
        "heard_ms": progress.heard.map(|heard| u64::try_from(heard.as_millis()).unwrap_or(u64::MAX)),
        "disk": progress.member.incarnation.to_string(), "alarm": progress.alarm,
    })
}

#[cfg(test)]
mod tests {
    use dledger::{Incarnation, Member};

    use super::*;

    #[test]
    fn an_address_that_nobody_can_call_is_no_address() {
        assert_eq!(host_port("h:1").as_deref(), Ok("h:1"));
        for (text, why) in
            [("nonsense", "no port"), ("h:0", "port 0"), ("0.0.0.0:1", "where to listen"), ("h:1,i:1", "")]
        {
            let error = host_port(text).unwrap_err();
            assert!(error.starts_with("write host:port") && error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_row_says_where_a_member_is_and_how_far() {
        let member = Member { id: NodeId::new(1), address: "h:1".into(), incarnation: Incarnation::from_u128(7) };
        let known = MemberProgress {
            member,
            voter: true,
            end: Some(12),
            behind: Some(3),
            heard: Some(Duration::from_millis(40)),
            alarm: None,
        };
        assert_eq!(row(&known)[..6].join(" "), "n1 h:1 voter 12 3 40 ms ago");
        let unknown = MemberProgress { voter: false, end: None, behind: None, heard: None, ..known };
        assert_eq!(row(&unknown)[..6].join(" "), "n1 h:1 learner - - -");
        assert_eq!(head().len(), row(&unknown).len());
    }
}
