//! `dledger recover`: a way on when the quorum of a cluster is lost for good.

use std::path::PathBuf;

use clap::Args;
use dledger::offline::{NewCluster, StoppedLedger};
use serde_json::json;

use crate::members::host_port;
use crate::output::{Failure, Output, found};

/// Make a new cluster of one from the directory of a survivor, when the quorum of its cluster is lost for good.
///
/// The records that the survivor stores keep their indexes and positions. WHAT WAS ACKNOWLEDGED AND HAS NOT REACHED IT
/// IS LOST: choose the survivor whose log ends last (`dledger log verify` on each). The other members are given up for
/// ever: they refuse this node, and it refuses them. Its node must be stopped. See docs/recovery.md.
#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// The ledger's directory: the one with the name of the group, in the survivor's data directory.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Say that a new cluster is what is wanted: there is no other way to recover.
    #[arg(long, required = true)]
    new_cluster: bool,
    /// `host:port` at which the node will be reached. Default: the address in the membership.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
    address: Option<String>,
    /// Do it. Without this, the command shows what it would do, and exits with 1.
    #[arg(long)]
    yes: bool,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

impl Recover {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let made = if self.yes {
            StoppedLedger::open(&self.from)?.make_new_cluster(self.address.as_deref())?
        } else {
            StoppedLedger::to_read(&self.from)?.plan_new_cluster(self.address.as_deref())?
        };
        let mut output = Output::stdout();
        if self.json {
            let mut object = json!(made);
            object["done"] = self.yes.into();
            output.line(object)?;
        } else {
            words(&made).into_iter().try_for_each(|line| output.line(line))?;
        }
        output.flush()?;
        match self.yes {
            true => Ok(()),
            false => Err(found("nothing was changed: give --yes to do it")),
        }
    }
}

fn words(made: &NewCluster) -> Vec<String> {
    let NewCluster { cluster, group, node, address, first, end, committed, given_up, old_incarnation, incarnation } =
        made;
    let becomes = if incarnation.is_some() { "is now" } else { "would become" };
    let old = old_incarnation.as_deref().unwrap_or("none");
    let mut lines = vec![
        format!("{node} at {address} {becomes} a cluster of its own: cluster {cluster}, ledger {group}"),
        format!("its records from index {first} up to {end} stay where they are; it knew {committed} to be committed"),
        format!("LOST: whatever was acknowledged at index {end} or later, for it has not reached {node}"),
    ];
    let gone: Vec<_> = given_up.iter().map(|member| format!("{} at {}", member.node, member.address)).collect();
    if !gone.is_empty() {
        lines.push(format!(
            "GIVEN UP FOR EVER: {}. Their directories must be emptied to be used again",
            gone.join(", ")
        ));
    }
    lines.push(match incarnation {
        Some(new) => format!("incarnation of the cluster: {new}, before: {old}"),
        None => format!("incarnation of the cluster that is given up: {old}"),
    });
    if incarnation.is_some() {
        lines.push(format!(
            "next: start {node} with its usual options, or with `--bind {address}` in place of --peers; restart its \
             clients; add nodes with empty directories (`dledger serve --join`, `dledger members add HOST:PORT \
             --promote`)"
        ));
    }
    lines
}
