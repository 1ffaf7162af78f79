//! `dledger serve`: runs a node.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Args;
use dledger::{Config, Group, Node, NodeBuilder, OpenFileLimit, Role};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::exit::Exit;
use crate::options::Options;
use crate::options::Sources;
use crate::output::{Failure, Output, ended, usage};

/// openraft logs every call that fails and every task that ends; the node itself logs what an operator can use of that.
const DEFAULT_FILTER: &str = "info,openraft=off";

/// Signals this soon after the first are the same request to end: `timeout` and some supervisors signal a process and
/// then its group.
const SAME_MOMENT: Duration = Duration::from_secs(1);

/// Run a node until SIGTERM or SIGINT, or until all of its ledgers are closed.
///
/// Every option but --config and --json can be set in the TOML file under its own name; where both are given, the
/// option wins. A second signal, at least a second after the first one, ends the process at once. Logs go to standard
/// error; `DLEDGER_LOG` filters them (default `info,openraft=off`).
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// TOML file with options under their names.
    #[arg(long, env = "DLEDGER_CONFIG", value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Print one object instead of a sentence when the node serves.
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(crate) async fn run(self, mut sources: Sources) -> Result<(), Failure> {
        log_to_stderr()?;
        let options = self.options.with_file(self.config.as_deref(), &mut sources)?;
        let config: Config = options.into_config(&sources)?;
        let stay = config.stay;
        // Made before the node starts, so that no signal that comes meanwhile is lost.
        let mut stop = Stop::new()?;
        raise_open_files();
        let node = tokio::select! {
            started = dledger::server::serve(NodeBuilder::from_config(config)) => {
                started.map_err(|error| sources.unlisted(error))?
            }
            () = stop.asked() => {
                tracing::info!("stopped before the node was up");
                return Ok(());
            }
        };
        // The node serves whether or not somebody reads that line.
        let told = tell(&node, self.json);
        if let Err(Failure::Error(_, error)) = told {
            tracing::warn!(error, "cannot print that the node serves");
        }
        let outcome = tokio::select! {
            biased;
            () = stop.asked() => Ok(()),
            closed = node.closed(), if !stay => Err(all_closed(&closed)),
        };
        node.shutdown().await;
        outcome
    }
}

/// The end of a node that serves nobody: its supervisor must hear of it.
fn all_closed(closed: &[(Group, String)]) -> Failure {
    let each = closed.iter().map(|(group, reason)| format!("{group}: {reason}")).collect::<Vec<_>>().join("; ");
    let what = if closed.len() == 1 { "the ledger is closed" } else { "all ledgers are closed" };
    ended(Exit::Closed, format_args!("{what} ({each}). --stay keeps the process running"))
}

fn tell(node: &Node, json: bool) -> Result<(), Failure> {
    let (id, cluster, address) = (node.id().as_str(), node.cluster().as_str(), node.local_addr());
    let (mut groups, mut closed) = (Vec::new(), Vec::new());
    for status in node.statuses() {
        match status.role {
            Role::Closed { reason, .. } => closed.push((status.group, reason)),
            _ => groups.push(status.group.to_string()),
        }
    }
    let mut output = Output::stdout();
    if json {
        let address = address.to_string();
        let closed = closed.iter().map(|(group, reason)| json!({ "group": group.as_str(), "reason": reason }));
        output.line(json!({
            "event": "serving", "node": id, "cluster": cluster, "address": address, "groups": groups,
            "closed": closed.collect::<Vec<_>>(),
        }))?;
    } else {
        let served = if groups.is_empty() { "no ledger".into() } else { groups.join(", ") };
        output.line(format_args!("node {id} of cluster {cluster} serves {served} on {address}"))?;
        for (group, reason) in closed {
            output.line(format_args!("{group} is closed: {reason}"))?;
        }
    }
    output.flush()
}

/// Raises the soft limit, which is often 1024, because connections and segments take descriptors.
fn raise_open_files() {
    let limit = OpenFileLimit::raise().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot raise the soft limit of open files (ulimit -n) to the hard one");
        OpenFileLimit::now()
    });
    let said = |limit: Option<u64>| limit.map_or("unlimited".into(), |limit| limit.to_string());
    tracing::info!(soft = said(limit.soft), hard = said(limit.hard), "limit of open files");
}

fn log_to_stderr() -> Result<(), Failure> {
    let usual = || EnvFilter::new(DEFAULT_FILTER);
    let filter = match std::env::var("DLEDGER_LOG") {
        Ok(filter) if filter.is_empty() => usual(),
        Ok(filter) => EnvFilter::try_new(&filter).map_err(|error| {
            usage(format!("DLEDGER_LOG = {filter:?} cannot be read ({error}): write it like `info,dledger=debug`"))
        })?,
        Err(std::env::VarError::NotPresent) => usual(),
        Err(error) => return Err(usage(format!("DLEDGER_LOG cannot be read: {error}"))),
    };
    // A file or a pipe gets no colour codes, and nothing does if NO_COLOR is set.
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(io::stderr).init();
    Ok(())
}

/// What ends the node.
struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Listens from now on. The first signal has the node end as it should, which takes as long as its disk does; a
    /// second one, at least a second later, ends the process.
    fn new() -> Result<Self, Failure> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut signals = Signals { terminate, interrupt };
        let (told, asked) = watch::channel(false);
        // A task of its own hears the second signal whatever the first one is waiting for.
        tokio::spawn(async move {
            let (signal, _) = signals.next().await;
            let first = Instant::now();
            tracing::info!(
                signal,
                "shutting down; a second signal ends the process at once, a second after this one or later"
            );
            told.send_replace(true);
            let (signal, code) = loop {
                let next = signals.next().await;
                if is_another(first.elapsed()) {
                    break next;
                }
            };
            // The process ends whether or not this can be printed.
            let _ = writeln!(io::stderr(), "error: ended at once by a second signal ({signal})");
            std::process::exit(code);
        });
        Ok(Self { asked })
    }

    /// Ends with the first signal.
    async fn asked(&mut self) {
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            // The task that listens is gone: the runtime ends.
            std::future::pending().await
        }
    }
}

/// Whether a signal that comes this long after the first is another request to end.
fn is_another(after: Duration) -> bool {
    after >= SAME_MOMENT
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// The next signal: its name, and the exit code of a process that it ends.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 143),
            _ = self.interrupt.recv() => ("SIGINT", 130),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_of_the_same_moment_are_one_request_to_end() {
        assert!(!is_another(Duration::ZERO) && !is_another(Duration::from_millis(999)));
        assert!(is_another(Duration::from_secs(1)) && is_another(Duration::from_secs(3600)));
    }
}
