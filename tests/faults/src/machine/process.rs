//! Processes killed and stopped.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::os::{self, Stat};
use super::{Active, Error, Result, Shared};

/// How long a signal may take to have its effect.
const PROMPTLY: Duration = Duration::from_secs(5);

/// Processes that got SIGKILL.
pub(crate) struct Killed {
    evidence: Vec<String>,
}

impl Killed {
    pub(crate) fn install(shared: &Arc<Shared>, id: u64) -> Result<Self> {
        let pids = alive(shared, id)?;
        let lives: Vec<_> = pids.iter().map(|pid| (*pid, Stat::of(*pid))).collect();
        let left = os::kill_all(&pids, PROMPTLY);
        if !left.is_empty() {
            return Err(Error::State(format!("processes {left:?} of node {id} outlive SIGKILL")));
        }
        Ok(Self { evidence: lives.into_iter().map(|(pid, was)| end(pid, was)).collect() })
    }
}

/// How a process ended.
fn end(pid: u32, was: Option<Stat>) -> String {
    match Stat::of(pid) {
        Some(now) if was.is_some_and(|was| was.started == now.started) && now.exit & 0x7f == 9 => {
            format!("process {pid} ended by signal 9")
        }
        Some(now) if was.is_some_and(|was| was.started == now.started) => {
            format!("process {pid} ended with status {:#x}", now.exit)
        }
        // The code that started it has asked for its status already.
        _ => format!("process {pid} ended after SIGKILL"),
    }
}

impl Active for Killed {
    fn observed(&mut self) -> Result<Option<String>> {
        Ok(Some(self.evidence.join(", ")))
    }

    fn remove(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Processes that got SIGSTOP.
pub(crate) struct Paused {
    /// Those that were stopped, by id and start.
    pids: Vec<(u32, Stat)>,
    seen: Option<String>,
}

impl Paused {
    pub(crate) fn install(shared: &Arc<Shared>, id: u64) -> Result<Self> {
        let mut own = Self { pids: Vec::new(), seen: None };
        for pid in alive(shared, id)? {
            let stat = Stat::of(pid).ok_or_else(|| Error::State(format!("process {pid} of node {id} is gone")))?;
            os::signal(pid, Signal::STOP)?;
            own.pids.push((pid, stat));
        }
        // Each of its threads stops by itself, so that it takes a moment.
        let stopped = |own: &Self| own.pids.iter().all(|(pid, _)| Stat::of(*pid).is_some_and(|stat| stat.state == 'T'));
        if !os::until(PROMPTLY, || stopped(&own)) {
            return Err(Error::State(format!("the process of node {id} does not stop")));
        }
        Ok(own)
    }

    fn same(&self) -> impl Iterator<Item = (u32, Stat)> + '_ {
        let now = self.pids.iter().filter_map(|(pid, was)| Some((*pid, *was, Stat::of(*pid)?)));
        now.filter(|(_, was, now)| was.started == now.started).map(|(pid, _, now)| (pid, now))
    }
}

impl Active for Paused {
    fn observed(&mut self) -> Result<Option<String>> {
        let stopped: Vec<u32> = self.same().filter(|(_, now)| now.state == 'T').map(|(pid, _)| pid).collect();
        if !stopped.is_empty() {
            self.seen = Some(format!("processes {stopped:?} in state T"));
        }
        Ok(self.seen.clone())
    }

    fn remove(&mut self) -> Result<()> {
        let same: Vec<_> = self.same().filter(|(_, now)| !now.is_dead()).collect();
        same.iter().try_for_each(|(pid, _)| os::signal(*pid, Signal::CONT))?;
        let runs = || self.same().all(|(_, now)| now.state != 'T');
        if os::until(PROMPTLY, runs) {
            return Ok(());
        }
        Err(Error::State("a process that got SIGCONT is still stopped".into()))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // Half installed, or not removed: none may stay stopped.
        for (pid, now) in self.same() {
            if now.state == 'T' {
                let _ = os::signal(pid, Signal::CONT);
            }
        }
    }
}

/// The live processes of a node: there must be one.
pub(crate) fn alive(shared: &Shared, id: u64) -> Result<Vec<u32>> {
    let pids = shared.processes(id);
    if pids.is_empty() { Err(Error::State(format!("node {id} has no process"))) } else { Ok(pids) }
}
