//! `dledger-faults check`: whether a history keeps the promises of a ledger.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dledger_history::{Begin, Counts, History, HistoryError, Judge, Report, Verdict, What};

/// Judge a history: what clients asked and were told, what nodes said, what replicas hold.
///
/// Exits with 0 if all laws held, 1 if one was broken, and 2 if the history proves nothing or cannot be read.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The history, as JSON lines; `-` is standard input. docs/tools.md has the format.
    history: String,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(self) -> ExitCode {
        let (report, begin) = match self.judgement() {
            Ok(judged) => judged,
            Err(error) => return invalid(error),
        };
        match self.print(&report, begin.as_ref()) {
            // The reader of the output has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Err(error) => return invalid(format_args!("cannot write to standard output: {error}")),
            Ok(()) => {}
        }
        let Counts { violations, invalid: reasons, .. } = &report.counts;
        match report.verdict {
            Verdict::Pass => ExitCode::SUCCESS,
            Verdict::Fail => {
                eprintln!("{} violations", violations.values().sum::<u64>());
                ExitCode::FAILURE
            }
            Verdict::Invalid => invalid(format_args!("this history proves nothing: {reasons} reasons")),
        }
    }

    fn judgement(&self) -> Result<(Report, Option<Begin>), HistoryError> {
        match &*self.history {
            "-" => judge(History::new("standard input", io::stdin().lock())),
            path => judge(History::open(path)?),
        }
    }

    fn print(&self, report: &Report, begin: Option<&Begin>) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string(report)?)?;
        } else {
            lines(report, begin).into_iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        out.flush()
    }
}

fn invalid(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(2)
}

fn judge(history: History<impl BufRead>) -> Result<(Report, Option<Begin>), HistoryError> {
    let (mut judge, mut begin) = (Judge::new(), None);
    for event in history {
        let event = event?;
        if let (None, What::Begin(first)) = (&begin, &event.what) {
            begin = Some(first.clone());
        }
        judge.push(event);
    }
    Ok((judge.finish(), begin))
}

fn lines(report: &Report, begin: Option<&Begin>) -> Vec<String> {
    let Report { verdict, counts, violations, invalid } = report;
    let verdict = match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Invalid => "invalid",
    };
    let run = begin.map_or("?", |begin| &begin.run);
    let seed = begin.and_then(|begin| begin.seed).map_or(String::new(), |seed| format!(", seed {seed}"));
    let took = humantime::format_duration(Duration::from_millis(counts.duration / 1_000_000));
    let Counts { events, appends, appends_acked, appends_failed, appends_unknown, records_acked, .. } = counts;
    let Counts { reads, reads_promised, records_read, statuses, chains, replicas, records, .. } = counts;
    let faults: Vec<_> = counts.faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(", ") };
    let mut lines = vec![
        format!("verdict   {verdict}"),
        format!("history   {run}{seed}: {events} lines, {took}"),
        format!(
            "appends   {appends}: {appends_acked} acknowledged ({records_acked} records), {appends_failed} failed, \
             {appends_unknown} unknown"
        ),
        format!(
            "reads     {reads}, {reads_promised} of them lease or linearizable; {records_read} records, with tails"
        ),
        format!("replicas  {replicas}, {records} records in the end, {} compared", counts.records_compared),
        format!("nodes     {statuses} statuses, {chains} chain values"),
        format!("faults    {faults}"),
    ];
    for violation in violations {
        lines.push(format!("broken    {}: {}", violation.law, violation.explanation));
    }
    for (law, count) in &counts.violations {
        let shown = violations.iter().filter(|violation| violation.law == *law).count() as u64;
        if *count > shown {
            lines.push(format!("broken    {law}: {} more", count - shown));
        }
    }
    lines.extend(invalid.iter().map(|reason| format!("invalid   {reason}")));
    let more = counts.invalid - invalid.len() as u64;
    if more > 0 {
        lines.push(format!("invalid   {more} more"));
    }
    let replay = begin.and_then(|begin| begin.replay.as_ref()).filter(|_| report.verdict != Verdict::Pass);
    lines.extend(replay.map(|replay| format!("replay    {replay}")));
    lines
}
