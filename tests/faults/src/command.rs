//! What `dledger-faults` can be told.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dledger_faults::cluster::binary;
use dledger_faults::machine::{Machine, Options};
use dledger_faults::runner::{self, Job, Profile};
use dledger_faults::{mutants, report, scenario, sim};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::check::Check;

/// Runs real `dledger serve` processes under faults and simulated clusters beside them, and judges what clients saw.
#[derive(Debug, Parser)]
#[command(name = "dledger-faults", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Run),
    /// Print the scenarios and the families of simulations.
    List,
    /// Print what can be done on this machine, and why the rest cannot.
    Capabilities,
    Check(Check),
    /// Draw any history as a page: of a run here, or of a deployment.
    Report {
        /// JSON lines (docs/tools.md).
        history: PathBuf,
        /// The page.
        #[arg(short, long, value_name = "FILE", default_value = "history.html")]
        out: PathBuf,
    },
    /// Plant bugs one by one, and see that the suite finds each. Exit status: 0 all were found, 1 one was not.
    Mutants(mutants::Options),
}

/// Run scenarios. Exit status: 0 all passed, 1 a law was broken, 2 a run proves nothing.
#[derive(Debug, Args)]
struct Run {
    /// What belongs to it.
    #[arg(long, value_enum, default_value = "ci")]
    profile: Profile,
    /// What determines chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a soak lasts.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Run these scenarios only.
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,
    /// Simulated seeds of each family. Default: by profile.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Where histories, logs and the report go.
    #[arg(long, value_name = "DIR", default_value = "dledger-faults-out")]
    out: PathBuf,
    /// The command that is tested. Default: `DLEDGER_BIN`, else the one built with this suite.
    #[arg(long, value_name = "PATH")]
    dledger: Option<PathBuf>,
    /// Keep the histories of runs that passed.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(command) => run(command),
        Command::List => {
            list();
            ExitCode::SUCCESS
        }
        Command::Capabilities => capabilities(),
        Command::Check(command) => command.run(),
        Command::Report { history, out } => page(&history, &out),
        Command::Mutants(options) => plant(&options),
    }
}

fn page(history: &Path, out: &Path) -> ExitCode {
    let page = report::from_history(history).map_err(|error| error.to_string());
    let written =
        page.and_then(|page| std::fs::write(out, page).map_err(|error| format!("{}: {error}", out.display())));
    match written {
        Ok(()) => {
            println!("{}", out.display());
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn plant(options: &mutants::Options) -> ExitCode {
    match mutants::gate(options, |trial| eprintln!("{trial}")) {
        Ok(verdict) => {
            print!("{verdict}");
            if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => failed(&why),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("dledger-faults: {error}");
    ExitCode::from(2)
}

fn run(command: Run) -> ExitCode {
    let Run { profile, seed, minutes, only, seeds, out, dledger, keep } = command;
    let done = binary::find(dledger.as_deref()).and_then(|binary| {
        let out = std::path::absolute(&out).map_err(|error| format!("{}: {error}", out.display()))?;
        let job = Job { profile, seed, minutes, only, seeds, out, binary, keep };
        println!("{} under test, results in {}", job.binary.display(), job.out.display());
        runner::run(&job, &stopped()?)
    });
    match done {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::from(summary.exit_code())
        }
        Err(error) => failed(&error),
    }
}

/// True after SIGINT or SIGTERM.
fn stopped() -> Result<watch::Receiver<bool>, String> {
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("signals cannot be waited for: {error}"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stop.send_replace(true);
            eprintln!("stopping: what runs is ended and taken away");
            // The sender has to live for those who ask later; a second signal changes nothing.
            std::future::pending::<()>().await;
        });
    });
    Ok(stopped)
}

fn list() {
    for scenario in scenario::all() {
        println!("{:<24} {} nodes: {}", scenario.name, scenario.voters, scenario.about);
    }
    for family in sim::families() {
        println!("{:<24} simulated: {}", family.name, family.law.replace('_', " "));
    }
}

fn capabilities() -> ExitCode {
    match Machine::new(Options::nodes(1)) {
        Ok(machine) => {
            print!("{}", machine.capabilities());
            match machine.close() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("dledger-faults: something is left behind: {error}");
                    ExitCode::from(2)
                }
            }
        }
        Err(error) => failed(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    /// `cargo run -p dledger-faults` is what the documents say; the package has the command under test, too.
    #[test]
    fn cargo_runs_this_program_unless_it_is_told_another() {
        let manifest: toml::Table = include_str!("../Cargo.toml").parse().unwrap();
        assert_eq!(manifest["package"]["default-run"].as_str(), Some("dledger-faults"));
    }
}
