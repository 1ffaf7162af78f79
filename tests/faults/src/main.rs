//! The command `dledger-faults`.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod command;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    return command::main();
    #[cfg(not(target_os = "linux"))]
    {
        eprintln!("dledger-faults: what is done to processes here is known for Linux only");
        ExitCode::from(2)
    }
}
