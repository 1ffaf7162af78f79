//! Where a value came from: an option, a variable, a line of the file. A message that names the wrong one of them sends
//! whoever reads it to the wrong place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use dledger::{ConfigError, StartError};

use crate::output::{Failure, usage};

/// Takes a variable that is set but empty for one that is not set: templates and `docker -e NAME` leave such ones.
pub(crate) fn without_empty_variables(command: Command) -> Command {
    let unset = |arg: Arg| if is_empty(&arg) { arg.env(None::<&'static str>) } else { arg };
    command.mut_args(unset).mut_subcommands(without_empty_variables)
}

fn is_empty(arg: &Arg) -> bool {
    value(arg).is_some_and(|value| value.is_empty())
}

fn value(arg: &Arg) -> Option<OsString> {
    std::env::var_os(arg.get_env()?)
}

/// An error of the command line that names the variables it is about. `command` has all of them.
pub(crate) fn named(mut error: clap::Error, command: &Command, words: &[OsString]) -> clap::Error {
    let command = chosen(command, words);
    let given = |arg: &Arg| {
        let option = format!("--{}", arg.get_long().unwrap_or_default());
        let with_value = format!("{option}=");
        words.iter().filter_map(|word| word.to_str()).any(|word| word == option || word.starts_with(&with_value))
    };
    let named = |shown: &str| {
        let long = shown.strip_prefix("--")?.split([' ', '=', '[']).next()?;
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(long))?;
        let variable = arg.get_env()?.to_string_lossy();
        match value(arg) {
            Some(value) if value.is_empty() => Some(format!("{shown} (or {variable}, which is set, but empty)")),
            Some(_) if !given(arg) => Some(format!("{variable} (the variable for {shown})")),
            Some(_) => None,
            None if error.kind() == clap::error::ErrorKind::MissingRequiredArgument => {
                Some(format!("{shown} (or {variable})"))
            }
            None => None,
        }
    };
    let about = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(shown)) => named(shown).map(ContextValue::String),
        Some(ContextValue::Strings(all)) => {
            let each = all.iter().map(|shown| named(shown).unwrap_or_else(|| shown.clone()));
            Some(ContextValue::Strings(each.collect()))
        }
        _ => None,
    };
    if let Some(about) = about {
        error.insert(ContextKind::InvalidArg, about);
    }
    error
}

/// The subcommand that the words lead to.
fn chosen<'c>(command: &'c Command, words: &[OsString]) -> &'c Command {
    let step = |command: &'c Command, word: &OsString| {
        word.to_str().and_then(|word| command.find_subcommand(word)).unwrap_or(command)
    };
    words.iter().fold(command, step)
}

/// Where the options of a node were given, by their names.
#[derive(Debug, Default)]
pub(crate) struct Sources(BTreeMap<String, String>);

impl Sources {
    /// Of the command that was chosen.
    pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Self {
        let Some((name, matches)) = matches.subcommand() else { return Self::default() };
        let arguments = command.find_subcommand(name).map(Command::get_arguments).into_iter().flatten();
        let source = |arg: &Arg| {
            let long = arg.get_long()?;
            let from = match matches.value_source(arg.get_id().as_str())? {
                ValueSource::CommandLine => format!("--{long}"),
                ValueSource::EnvVariable => format!("the variable {}", arg.get_env()?.to_string_lossy()),
                _ => return None,
            };
            Some((long.to_owned(), from))
        };
        Self(arguments.filter_map(source).collect())
    }

    /// Adds the options that only the file at `path` gives, with their lines.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str) {
        for (option, line) in lines_of(text) {
            self.0.entry(option).or_insert_with(|| place(path, line));
        }
    }

    /// A message, and where the options came from that it is about.
    pub(crate) fn told(&self, message: impl std::fmt::Display, about: &[&str]) -> Failure {
        let from = about.iter().filter_map(|option| Some(format!("{option} is from {}", self.0.get(*option)?)));
        let from = from.collect::<Vec<_>>().join(", ");
        usage(if from.is_empty() { message.to_string() } else { format!("{message} ({from})") })
    }

    /// Why a node did not start; of a peer list that lacks the node, where the list came from.
    pub(crate) fn unlisted(&self, error: StartError) -> Failure {
        match error {
            StartError::Peers(error) => self.told(error, &["peers", "id"]),
            error => error.into(),
        }
    }

    /// A setting that is out of its bounds, under the name of its option.
    pub(crate) fn refused(&self, error: &ConfigError) -> Failure {
        match option_of(error.key) {
            // Nobody wrote what is found there.
            Some("advertise") if error.found == "none" => {
                self.told(format_args!("--advertise is missing: give the {}", error.expected), &["bind"])
            }
            Some(option) => {
                let source = self.0.get(option).filter(|source| **source != format!("--{option}"));
                let from = source.map(|source| format!(" ({option} is from {source})")).unwrap_or_default();
                usage(format_args!("--{option} = {}: expected {}{from}", error.found, error.expected))
            }
            None => usage(error),
        }
    }
}

/// Each key of a TOML file, and its line, counted from one.
fn lines_of(text: &str) -> Vec<(String, usize)> {
    let keys: BTreeMap<String, toml::Spanned<toml::Value>> = toml::from_str(text).unwrap_or_default();
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    keys.into_iter().map(|(key, value)| (key, line(value.span().start))).collect()
}

/// What is wrong in a TOML file, and on which line: `check` says what is wrong with a file of one key.
pub(crate) fn wrong_in(
    path: &Path,
    text: &str,
    whole: &toml::de::Error,
    check: impl Fn(&str) -> Option<String>,
) -> String {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let wrong = lines_of(text).into_iter().find_map(|(key, line)| {
        let value = table.get(&key)?.clone();
        let alone = toml::to_string(&toml::Table::from_iter([(key.clone(), value)])).ok()?;
        Some(format!("{}: {key}: {}", place(path, line), check(&alone)?))
    });
    wrong.unwrap_or_else(|| format!("{}: {whole}", path.display()))
}

fn place(path: &Path, line: usize) -> String {
    format!("{}, line {line}", path.display())
}

/// The option that sets what the library calls `key`.
fn option_of(key: &str) -> Option<&'static str> {
    Some(match key {
        "groups" => "group",
        "bind" => "bind",
        "advertise" => "advertise",
        "single" => "single",
        "segment_size" => "segment-size",
        "max_record_bytes" => "max-record",
        "election_timeout" => "election-timeout",
        "heartbeat_interval" => "heartbeat",
        "disk_stall_timeout" => "disk-stall",
        "preferred_leaders" => "preferred-leaders",
        "durability" => "durability",
        "lock_wait" => "lock-wait",
        "max_connections" => "max-connections",
        "max_peer_connections" => "max-peer-connections",
        "max_client_bytes" => "max-client-bytes",
        "retention.max_age" => "retention-age",
        "retention.max_bytes" => "retention-size",
        "retention.check" => "retention-check",
        "retention.force" => "retention-force",
        "retention.refuse" => "retention-refuse",
        "retention.every" => "retention-every",
        _ => return None,
    })
}
