//! `dledger status`: what each node knows.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use dledger::{ClientError, Group, NodeId, Role};
use futures::future::join_all;
use serde_json::{Value, json};

use super::{histories, watch};
use crate::exit::{AskOutcome, Exit, overall};
use crate::output::{Failure, Output, ended};
use crate::table::table;
use crate::target::Target;
use crate::target::clusters;
use crate::target::roster::{Answer, look};

/// Print what each member, and each peer of the list that is no member, knows of the ledger; several ledgers
/// (`--group orders,payments`) one after the other.
///
/// Exits with 0 if all that answer serve, 1 if none answers, 2 if they are of two clusters, 3 if the ledger is closed
/// on one of them, or if two have another CHAIN at the same POSITION: their histories differ. 4 if one of them knows of
/// no master or was removed.
#[derive(Debug, Args)]
pub(crate) struct StatusCommand {
    #[command(flatten)]
    target: Target,
    /// Print one array with an object per node and ledger; one that cannot be reached has an `error`.
    #[arg(long)]
    json: bool,
    /// Refresh until Ctrl-C, by default every second, and show the records committed per second. A node that is down
    /// does not end the command.
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    #[arg(value_parser = watch::interval)]
    watch: Option<Duration>,
}

impl StatusCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(every) = self.watch {
            return watch::run(&self.target, every, self.json).await;
        }
        let looked = self.target.groups().into_iter().map(async |group| (group, look(&self.target, group).await));
        let ledgers: Vec<(&Group, Vec<Answer>)> = join_all(looked).await;
        let mut output = Output::stdout();
        if self.json {
            let all = ledgers.iter().flat_map(|(group, answers)| objects(group, answers));
            output.line(Value::Array(all.collect()))?;
        } else {
            let tables = ledgers.iter().map(|(group, answers)| {
                let rows = answers.iter().map(|answer| row(answer, figures));
                (*group, table(&std::iter::once(head(&FIGURES)).chain(rows).collect::<Vec<_>>()))
            });
            for line in titled(&tables.collect::<Vec<_>>()) {
                output.line(line)?;
            }
        }
        output.flush()?;
        for (group, answers) in &ledgers {
            if let Some(differs) = durability_differs(answers) {
                eprintln!("note: {group}: {differs}");
            }
        }
        told(&ledgers)
    }
}

/// The lines of all ledgers, under their names if there are several.
pub(crate) fn titled(ledgers: &[(&Group, Vec<String>)]) -> Vec<String> {
    match ledgers {
        [(_, lines)] => lines.clone(),
        several => {
            let titled = several
                .iter()
                .flat_map(|(group, lines)| std::iter::once(format!("LEDGER {group}")).chain(lines.iter().cloned()));
            titled.collect()
        }
    }
}

/// Which member acknowledges in which way, if they do not all acknowledge in the same one.
fn durability_differs(answers: &[Answer]) -> Option<String> {
    let mut ways: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let members = answers.iter().filter(|answer| answer.member == Some(true));
    for status in members.filter_map(|answer| answer.status.as_ref().ok()) {
        if let Some(way) = &status.durability {
            ways.entry(way).or_default().push(status.node.as_str());
        }
    }
    let each = ways.iter().map(|(way, nodes)| format!("{way} on {}", nodes.join(", "))).collect::<Vec<_>>().join("; ");
    let why = "and an ack means the least of them: make it the same";
    (ways.len() > 1).then(|| format!("--durability is not the same on all nodes ({each}), {why}"))
}

/// What the answers of all nodes come to, as the end of the command.
fn told(ledgers: &[(&Group, Vec<Answer>)]) -> Result<(), Failure> {
    for (_, answers) in ledgers {
        clusters::check_one(answers)?;
        refused_alike(answers.iter().map(|answer| answer.status.as_ref().err()))?;
    }
    for (group, answers) in ledgers {
        if let Some(differ) = histories::differ(answers) {
            return Err(ended(Exit::Closed, format_args!("{group}: {differ}")));
        }
    }
    let several = ledgers.len() > 1;
    let names = ledgers.iter().flat_map(|(group, answers)| {
        let name = move |answer: &Answer| match several {
            true => format!("{group} on {}", answer.node()),
            false => answer.node().to_string(),
        };
        let leads = leader(answers);
        answers.iter().map(move |answer| (name(answer), heard(answer, leads)))
    });
    let names: Vec<_> = names.collect();
    overall(names.iter().map(|(name, heard)| (name.as_str(), *heard)))
}

/// What the answer of a node comes to, if `leads` is the master as far as any node knows.
fn heard<'a>(Answer { status, .. }: &'a Answer, leads: Option<&'a NodeId>) -> AskOutcome<'a> {
    match (status, leads) {
        (Err(error), _) => AskOutcome::Error(error),
        (Ok(dledger::Status { node, role: Role::Electing { .. }, .. }), Some(leads)) if leads != node => {
            AskOutcome::Astray(leads.as_str())
        }
        (Ok(status), _) => AskOutcome::Role(status.role.name()),
    }
}

/// The master, as the node with the newest term knows it; what a master says of itself comes first.
fn leader(answers: &[Answer]) -> Option<&NodeId> {
    let known = answers.iter().filter_map(|answer| answer.status.as_ref().ok());
    let masters = known.filter_map(|status| Some((status.role.is_master(), status.term, &status.master.as_ref()?.id)));
    masters.max_by_key(|(itself, term, _)| (*itself, *term)).map(|(_, _, id)| id)
}

/// If all nodes that answer refuse, as they do for a ledger that none of them has, the command ends with their
/// refusal, and not with the word that nobody answers.
///
/// # Errors
/// The first refusal, if that is what all answers are.
pub(crate) fn refused_alike<'a>(answers: impl Iterator<Item = Option<&'a ClientError>>) -> Result<(), Failure> {
    let mut first = None;
    for answer in answers {
        match answer {
            Some(ClientError::Broken { .. }) => {}
            Some(error @ (ClientError::UnknownGroup { .. } | ClientError::WrongCluster { .. })) => {
                first = first.or(Some(error));
            }
            Some(_) | None => return Ok(()),
        }
    }
    first.map_or(Ok(()), |error| Err(error.clone().into()))
}

/// One object for each node; in it the addresses of the nodes that have another history.
pub(crate) fn objects(group: &Group, answers: &[Answer]) -> impl Iterator<Item = Value> {
    answers.iter().map(move |answer| {
        let mut object = object(group, answer);
        if let Ok(status) = &answer.status {
            object["other_history"] = histories::others(answers, status).into();
        }
        object
    })
}

fn object(group: &Group, Answer { peer, status, member, .. }: &Answer) -> Value {
    let s = match status {
        Ok(status) => status,
        Err(error) => {
            return json!({
                "node": peer.id.as_str(), "address": peer.address, "group": group.as_str(), "member": member,
                "error": error.to_string(),
            });
        }
    };
    let members = s
        .members
        .iter()
        .map(|known| json!({ "id": known.member.id, "address": known.member.address, "voter": known.voter }));
    let master = s.master.as_ref();
    json!({
        "node": s.node, "address": peer.address, "cluster": s.cluster, "group": s.group,
        "role": s.role.name(), "term": s.term, "master": master.map(|master| &master.id),
        "master_address": master.map(|master| &master.address), "first": s.first, "committed": s.committed,
        "durable": s.durable, "end": s.end, "committed_position": s.committed_position,
        "committed_chain": format!("{:08x}", s.committed_chain), "members": members.collect::<Vec<_>>(),
        "member": member, "closed_reason": s.role.reason(),
        "disk_full": s.disk_full, "cluster_incarnation": s.cluster_incarnation.map(|of| of.to_string()),
        "alarm": s.alarm,
        "waiting": s.waiting, "durability": s.durability,
    })
}

const FIGURES: [&str; 6] = ["FIRST", "COMMITTED", "DURABLE", "END", "POSITION", "CHAIN"];

fn figures(s: &dledger::Status) -> Vec<String> {
    let figures = [s.first, s.committed, s.durable, s.end, s.committed_position].map(|figure| figure.to_string());
    figures.into_iter().chain([format!("{:08x}", s.committed_chain)]).collect()
}

/// Names of the columns: those of every table, and those of this one.
pub(crate) fn head(figures: &[&str]) -> Vec<String> {
    ["NODE", "ADDRESS", "ROLE", "TERM", "MASTER"].iter().chain(figures).map(|name| (*name).to_owned()).collect()
}

/// Who the node is, its `figures`, and what is wrong with it.
pub(crate) fn row(answer: &Answer, figures: impl FnOnce(&dledger::Status) -> Vec<String>) -> Vec<String> {
    let peer = &answer.peer;
    let stranger = (answer.member == Some(false)).then_some(NO_MEMBER);
    let unheard = |why: String| {
        let why = stranger.map_or(why.clone(), |stranger| format!("{why}; {stranger}"));
        vec![peer.id.to_string(), peer.address.clone(), why]
    };
    match &answer.status {
        Ok(s) => {
            let mut row = vec![s.node.to_string(), peer.address.clone(), s.role.name().to_owned(), s.term.to_string()];
            row.push(s.master.as_ref().map_or_else(|| "-".into(), |master| master.id.to_string()));
            row.extend(figures(s));
            let wrong = wrong(s).into_iter().chain(stranger.map(String::from)).collect::<Vec<_>>();
            row.extend((!wrong.is_empty()).then(|| wrong.join("; ")));
            row
        }
        Err(ClientError::Broken { reason, .. }) => unheard(format!("unreachable ({reason})")),
        Err(error) => unheard(format!("refused ({error})")),
    }
}

/// All that is wrong with a ledger on a node, in one line.
pub(crate) fn wrong(s: &dledger::Status) -> Option<String> {
    let reason = s.role.reason().or(s.waiting.as_deref());
    let wrong = [reason, s.disk_full.as_deref(), s.alarm.as_deref()];
    let wrong = wrong.into_iter().flatten().map(|wrong| wrong.replace('\n', "; ")).collect::<Vec<_>>();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Said of a node that is on the peer list and not in the membership.
const NO_MEMBER: &str = "no member of the ledger";
