//! The command `dledger`: runs a node, appends to, reads from and looks at clusters that run elsewhere, looks after the
//! directories of nodes that do not run.

mod append;
mod exit;
mod get;
mod health;
mod log;
mod members;
mod options;
mod output;
mod read;
mod recover;
mod retention;
mod serve;
mod status;
mod table;
mod tail;
mod target;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::Exit;
use options::Sources;
use output::Failure;

/// A replicated commitlog: run a node, append, read, look.
#[derive(Debug, Parser)]
#[command(name = "dledger", version, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Append(append::Append),
    Get(get::Get),
    Read(read::Read),
    Tail(tail::Tail),
    Status(status::StatusCommand),
    Health(health::Health),
    Members(members::Members),
    Transfer(members::Transfer),
    Retention(retention::RetentionCommand),
    Recover(recover::Recover),
    Log(log::Log),
}

fn main() -> ExitCode {
    let (command, sources) = match read(std::env::args_os().collect()) {
        Ok(read) => read,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the threads of the command cannot be started: {error}");
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(run(command, sources));
    // Does not wait for threads that a hanging disk still holds.
    runtime.shutdown_background();
    exit
}

/// Parses the words and the environment; also says where each value came from.
fn read(words: Vec<OsString>) -> Result<(Command, Sources), clap::Error> {
    let mut command = options::without_empty_variables(Cli::command());
    let parsed = command.try_get_matches_from_mut(&words);
    let matches = parsed.map_err(|error| options::named(error, &Cli::command(), &words))?;
    let sources = Sources::of(&command, &matches);
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((cli.command, sources))
}

async fn run(command: Command, sources: Sources) -> ExitCode {
    // Tools that compare need 1 to say that they found something.
    let looks = matches!(command, Command::Log(_));
    let outcome = match command {
        Command::Serve(command) => command.run(sources).await,
        Command::Append(command) => command.run().await,
        Command::Get(command) => command.run().await,
        Command::Read(command) => command.run().await,
        Command::Tail(command) => command.run().await,
        Command::Status(command) => command.run().await,
        Command::Health(command) => command.run(sources).await,
        Command::Members(command) => command.run().await,
        Command::Transfer(command) => command.run().await,
        Command::Retention(command) => command.run().await,
        Command::Recover(command) => command.run(),
        Command::Log(command) => command.run().await,
    };
    match outcome {
        Ok(()) => Exit::Well,
        // The reader of the output has seen enough.
        Err(Failure::Pipe) => Exit::Well,
        Err(Failure::Found(found)) => {
            eprintln!("{found}");
            Exit::Failed
        }
        Err(Failure::Error(exit, error)) => {
            eprintln!("error: {error}");
            if looks { Exit::Usage } else { exit }
        }
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_promised_spellings_are_accepted() {
        let peers = "n0-127.0.0.1:40911;n1-127.0.0.1:40912;n2-127.0.0.1:40913";
        let lines = [
            vec!["serve", "--group", "g", "--id", "n0", "--peers", peers, "--data-dir", "DIR"],
            vec![
                "serve",
                "--group",
                "g",
                "--group",
                "h",
                "--id",
                "n3",
                "--bind",
                "[::]:1",
                "--join",
                "--data-dir",
                "DIR",
            ],
            vec!["append", "--group", "g", "--peers", peers, "--lines"],
            vec!["append", "--group", "g", "--peers", peers, "--lines", "a.txt", "b.txt"],
            vec!["append", "--group", "g", "--peers", peers, "text"],
            vec!["get", "--group", "g", "--peers", peers, "17"],
            vec!["get", "--group", "g", "--peers", peers, "--position", "4096", "--consistency", "lease", "--json"],
            vec!["read", "--group", "g", "--peers", peers, "--since", "15m", "--consistency", "linearizable", "--json"],
            vec!["read", "--group", "g", "--peers", peers, "--node", "n1", "--from", "0", "--lines"],
            vec!["tail", "--group", "g", "--peers", peers, "--from", "5", "--node", "n2", "--json"],
            vec!["status", "--group", "g", "--peers", peers, "--json"],
            vec!["health"],
            vec!["health", "--group", "g", "--id", "n0", "--bind", "0.0.0.0:1", "--live", "--json"],
            vec!["serve", "--group", "g", "--id", "n0", "--peers", peers, "--data-dir", "DIR", "--strict", "--stay"],
            vec!["status", "--group", "g", "--peers", peers, "--watch"],
            vec!["status", "--group", "g", "--peers", peers, "--watch=500ms", "--json"],
            vec!["members", "list", "--group", "g", "--peers", peers, "--json"],
            vec!["members", "add", "--group", "g", "--peers", peers, "h:1", "--promote", "--wait", "1h", "--json"],
            vec!["members", "promote", "--group", "g", "--peers", peers, "n3"],
            vec!["members", "remove", "--group", "g", "--peers", peers, "n3"],
            vec!["members", "replace", "--group", "g", "--peers", peers, "n1", "h:1"],
            vec!["members", "move", "--group", "g", "--peers", peers, "n1", "h:1"],
            vec!["transfer", "--group", "g", "--peers", peers, "--to", "n1", "--json"],
            vec!["retention", "show", "--group", "g", "--peers", peers, "--json"],
            vec!["retention", "move", "--group", "g", "--peers", peers, "--node", "n1", "--to", "17"],
            vec!["log", "repair", "DIR", "--from", "h:1", "--from", "h:2", "--dry-run", "--json"],
            vec!["log", "dump", "DIR", "--from", "1", "--to", "9", "--bodies", "--json"],
            vec!["log", "verify", "DIR", "--json"],
            vec!["log", "truncate", "DIR", "--to", "9", "--yes", "--discard-committed"],
            vec!["log", "diff", "DIR", "OTHER"],
            vec!["recover", "--from", "DIR", "--new-cluster"],
            vec!["recover", "--from", "DIR", "--new-cluster", "--address", "h:1", "--yes", "--json"],
        ];
        for line in lines {
            let parsed = Cli::try_parse_from(std::iter::once("dledger").chain(line.iter().copied()));
            assert!(parsed.is_ok(), "{line:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn wrong_arguments_are_refused_by_name() {
        let refused = [
            (vec!["get", "--group", "a b", "--peers", "n0=h:1", "1"], "group \"a b\" is not valid"),
            (vec!["get", "--group", "g", "--peers", "n0=h:1", "one"], "'one'"),
            (vec!["get", "--group", "g", "--peers", "", "1"], "the peer list is empty"),
            (vec!["get", "--group", "g", "--peers", "n0=a:1;n0=b:1", "1"], "peer id n0 stands for both"),
            (vec!["append", "--group", "g", "--peers", "n0=a:1"], "<RECORD|FILE>"),
            (vec!["recover", "--from", "DIR"], "--new-cluster"),
            (vec!["get", "--group", "g", "--peers", "n0=a:1"], "<INDEX>"),
            (vec!["get", "--group", "g", "--peers", "n0=a:1", "1", "--consistency", "strong"], "no consistency"),
            (vec!["read", "--group", "g", "--peers", "n0=a:1", "--since", "then"], "15m"),
            (vec!["status", "--group", "g", "--peers", "n0=a:1", "--watch=often"], "2s"),
            (vec!["read", "--group", "g", "--peers", "n0=a:1", "--lines", "--json"], "cannot be used with"),
        ];
        for (line, expected) in refused {
            let error = Cli::try_parse_from(std::iter::once("dledger").chain(line.iter().copied())).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
