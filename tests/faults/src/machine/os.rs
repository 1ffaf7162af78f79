//! Other programs, and processes as `/proc` tells of them.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::{Error, Result};

/// In the environment of every process of a node: `MACHINE/ID`.
pub(crate) const OWNER: &str = "DLF_NODE";

/// Longest that a program may take.
const LONGEST: Duration = Duration::from_secs(60);
/// How soon one ends that was killed, unless it waits for a disk; and how soon what it printed has been read.
const SOON: Duration = Duration::from_secs(5);

/// Runs a program to its end: what it printed.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String> {
    run_with(program, args, "")
}

/// As [`run`], with this on its standard input.
pub(crate) fn run_with(program: &str, args: &[&str], input: &str) -> Result<String> {
    run_within(program, args, input, LONGEST)
}

fn run_within(program: &str, args: &[&str], input: &str, within: Duration) -> Result<String> {
    let command = || format!("{program} {}", args.join(" "));
    let failed = |why: String| Error::Command { command: command(), why };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let (out, err) = (drained(child.stdout.take()), drained(child.stderr.take()));
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.as_bytes().to_vec();
        // One that does not read its input says by its status what is wrong.
        std::thread::spawn(move || stdin.write_all(&input));
    }
    let ended = ends(&mut child, within).map_err(|error| failed(error.to_string()))?;
    let late = || Error::Late { command: command(), within };
    let status = ended.ok_or_else(late)?;
    // Whom it has left behind may have its output.
    let read = |pipe: Receiver<Vec<u8>>| pipe.recv_timeout(SOON).map_err(|_| late());
    let (out, err) = (read(out)?, read(err)?);
    if status.success() {
        return Ok(String::from_utf8_lossy(&out).into_owned());
    }
    let said = String::from_utf8_lossy(&err).trim().to_owned();
    Err(failed(if said.is_empty() { status.to_string() } else { said }))
}

/// Reads to the end, beside the caller: neither of two pipes may fill.
fn drained(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (all, read) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let done = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        // Without an end, what the program said is not known.
        if !matches!(done, Some(Err(_))) {
            let _ = all.send(bytes);
        }
    });
    read
}

/// Waits for the end of a program; kills it where that does not come, and says so by nothing. One that waits for a disk
/// may outlive that for as long as it waits: it is left behind.
pub(crate) fn ends(child: &mut Child, within: Duration) -> std::io::Result<Option<ExitStatus>> {
    if ended(child.id(), within) {
        return child.wait().map(Some);
    }
    child.kill()?;
    if ended(child.id(), SOON) {
        child.wait()?;
    }
    Ok(None)
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `R`, `S`, `D`, `T`, `Z` …
    pub(crate) state: char,
    /// When it started, in ticks since the machine did: with the id, a name that is not used again.
    pub(crate) started: u64,
    /// How it ended, as `wait` tells it, once it is a zombie.
    pub(crate) exit: i32,
}

impl Stat {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may have anything in it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let state = fields.first()?.chars().next()?;
        let exit = fields.get(49).and_then(|exit| exit.parse().ok()).unwrap_or(0);
        Some(Self { state, started: fields.get(19)?.parse().ok()?, exit })
    }

    pub(crate) fn is_dead(self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// The live processes whose `DLF_NODE` passes.
pub(crate) fn processes(passes: impl Fn(&str) -> bool) -> Vec<u32> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| owner(*pid).is_some_and(|owner| passes(&owner))).collect()
}

/// The `DLF_NODE` of a live process.
pub(crate) fn owner(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let own = variables.find_map(|variable| variable.strip_prefix(OWNER.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(own.to_vec()).ok()
}

pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let failed = |why: String| Error::State(format!("signal to process {pid}: {why}"));
    let id = Pid::from_raw(pid as i32).ok_or_else(|| failed("no such id".into()))?;
    kill_process(id, signal).map_err(|error| failed(error.to_string()))
}

/// Waits until the process has ended (it may still be a zombie): whether it has.
pub(crate) fn ended(pid: u32, within: Duration) -> bool {
    let Some(id) = Pid::from_raw(pid as i32) else { return true };
    let Ok(fd) = pidfd_open(id, PidfdFlags::empty()) else { return true };
    let timeout = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: i64::from(within.subsec_nanos()) };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&timeout)), Ok(n) if n > 0)
}

/// SIGKILL, and waits for the ends: those that did not come.
pub(crate) fn kill_all(pids: &[u32], within: Duration) -> Vec<u32> {
    for pid in pids {
        // One that has just ended is as good.
        let _ = signal(*pid, Signal::KILL);
    }
    let until = Instant::now() + within;
    pids.iter().copied().filter(|pid| !ended(*pid, until.saturating_duration_since(Instant::now()))).collect()
}

/// Waits a moment between two looks at something that tells nobody when it changes.
pub(crate) fn moment() {
    let nothing: &mut [PollFd<'_>] = &mut [];
    let _ = poll(nothing, Some(&Timespec { tv_sec: 0, tv_nsec: 2_000_000 }));
}

/// Looks again and again, for so long at most.
pub(crate) fn until(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        moment();
    }
}

/// Whether a program is to be found.
pub(crate) fn installed(program: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where root's tools are: another user's PATH may lack it.
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = dirs.map(|dir: std::path::PathBuf| dir.join(program)).any(|file| Path::is_file(&file));
    if found { Ok(()) } else { Err(format!("{program} is not installed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let late = run_within("tail", &["-f", "/dev/null"], "", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(late, Error::Late { .. }), "{late}");
        assert!(late.to_string().contains("has not ended within 50ms"), "{late}");
    }

    #[test]
    fn what_a_program_prints_is_told_whole() {
        let printed = run_with("cat", &[], &"x".repeat(1 << 20)).unwrap();
        assert_eq!(printed.len(), 1 << 20);
        let error = run("sh", &["-c", "echo why >&2; exit 3"]).unwrap_err();
        assert!(error.to_string().ends_with(": why"), "{error}");
        let error = run("sh", &["-c", "exit 3"]).unwrap_err();
        assert!(error.to_string().contains("3"), "{error}");
    }
}
