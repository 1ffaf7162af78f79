//! A process that is ended when its time is over, with all that it has started.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Success,
    Failure,
    /// It was killed: its time was over.
    Killed,
}

/// How it ended and what it printed, to either stream.
pub(super) struct Ran {
    pub(super) ended: Ended,
    pub(super) text: String,
}

/// Runs `command` for `limit` at most.
pub(super) fn run(command: &mut Command, limit: Duration) -> io::Result<Ran> {
    let mut said = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
    // A group of its own: what it leaves behind goes with it.
    let ended = wait(command.process_group(0).spawn()?, limit)?;
    Ok(Ran { ended, text: text_of(&mut said)? })
}

fn wait(mut child: Child, limit: Duration) -> io::Result<Ended> {
    let group = format!("-{}", child.id());
    let (ended, end) = mpsc::channel();
    // It ends with the child.
    thread::spawn(move || ended.send(child.wait()).unwrap_or_default());
    let status = end.recv_timeout(limit).ok();
    // Also after a good end: a node that a test has started may outlive it.
    let kill = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let Some(status) = status else {
        kill?;
        end.recv().map_err(io::Error::other)??;
        return Ok(Ended::Killed);
    };
    Ok(if status?.success() { Ended::Success } else { Ended::Failure })
}

fn text_of(said: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
