//! The command `dledger-faults`.

mod check;
#[cfg(target_os = "linux")]
mod command;
#[cfg(not(target_os = "linux"))]
mod elsewhere;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return command::main();
    #[cfg(not(target_os = "linux"))]
    return elsewhere::main();
}
