//! The mutant gate: plants each bug and sees that the suite finds it. `--only NAME`, `--all`, `--no-control`.

use std::process::ExitCode;

use clap::Parser;
use dledger_faults::mutants::{Options, gate};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    match gate(&Arguments::parse().options, |trial| eprintln!("{trial}")) {
        Ok(verdict) => {
            print!("{verdict}");
            if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}
