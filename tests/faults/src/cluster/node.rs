//! One process after the other on one directory.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest that the kernel may take to end a process that was killed. One that waits for its disk takes its time.
const DEATH: Duration = Duration::from_secs(20);
/// Lines of the log that are shown with a death.
const LAST_LINES: usize = 5;
/// Characters of such a line.
const LINE: usize = 400;

/// How a program is started at a place: in its network, with what its faults need.
pub type Launch = Arc<dyn Fn(&str) -> std::process::Command + Send + Sync>;

/// Where a node lives.
#[derive(Clone)]
pub struct Place {
    /// Its id.
    pub name: String,
    /// `host:port` that the others and the clients reach it at.
    pub address: String,
    /// `host:port` it listens on: another one where a proxy stands in between.
    pub bind: String,
    /// Its data.
    pub data_dir: PathBuf,
    /// How it is started.
    pub launch: Launch,
}

/// One process after the other on one directory.
pub struct Node {
    place: Place,
    binary: PathBuf,
    args: Mutex<Vec<String>>,
    env: Mutex<Vec<(String, String)>>,
    log: PathBuf,
    /// Processes so far.
    lives: AtomicU64,
    /// Whether a fault explains that the process ends by itself.
    may_end: AtomicBool,
    /// Why processes ended that nobody had ended, as long as it has not been told.
    deaths: Mutex<Vec<String>>,
    child: tokio::sync::Mutex<Option<Child>>,
}

impl Node {
    pub(super) fn new(place: Place, binary: PathBuf, args: Vec<String>, log: PathBuf) -> Self {
        Self {
            place,
            binary,
            args: Mutex::new(args),
            env: Mutex::default(),
            log,
            lives: AtomicU64::new(0),
            may_end: AtomicBool::new(false),
            deaths: Mutex::default(),
            child: tokio::sync::Mutex::new(None),
        }
    }

    /// Its id.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Where it lives.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Which process it is in, counted from 1.
    pub fn life(&self) -> u64 {
        self.lives.load(Ordering::SeqCst)
    }

    /// Whether a fault explains from now on that the process ends by itself.
    pub fn may_end(&self, may: bool) {
        self.may_end.store(may, Ordering::SeqCst);
    }

    /// Options of the next processes, instead of those so far.
    pub fn set_args(&self, args: Vec<String>) {
        *self.args.lock() = args;
    }

    /// Environment of the next processes, besides what they inherit.
    pub fn set_env(&self, env: Vec<(String, String)>) {
        *self.env.lock() = env;
    }

    /// Starts a process; does not wait until it serves.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub async fn start(&self) -> io::Result<()> {
        let mut child = self.child.lock().await;
        if let Some(process) = child.as_mut() {
            match process.try_wait()? {
                None => return Err(io::Error::other(format!("{} runs already", self.name()))),
                // Nobody has looked since.
                Some(status) => self.note_death(&status),
            }
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        // Dies with this process, however that ends.
        let mut command = Command::from((self.place.launch)("setpriv"));
        command.args(["--pdeathsig", "KILL"]).arg(&self.binary).arg("serve");
        command.args(self.args.lock().iter());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.envs(self.env.lock().iter().cloned());
        command.env("NO_COLOR", "1");
        // A signal to the runner's terminal is not for the nodes.
        command.process_group(0);
        self.lives.fetch_add(1, Ordering::SeqCst);
        self.may_end(false);
        *child = Some(command.spawn()?);
        Ok(())
    }

    /// The running process.
    pub async fn pid(&self) -> Option<Pid> {
        let child = self.child.lock().await;
        child.as_ref().and_then(Child::id).and_then(|id| Pid::from_raw(id as i32))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// There is no process.
    pub async fn signal(&self, signal: Signal) -> io::Result<()> {
        self.send(self.child.lock().await.as_ref(), signal)
    }

    /// The letter of `/proc/PID/stat`: `T` is stopped.
    pub async fn state(&self) -> Option<char> {
        let pid = self.pid().await?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }

    /// `kill -9`. Returns what the kernel says of the end.
    ///
    /// # Errors
    /// There is no process, or it does not end.
    pub async fn kill(&self) -> io::Result<String> {
        // Held from the signal to the end, so that a look for deaths meanwhile sees none.
        let mut child = self.child.lock().await;
        self.send(child.as_ref(), Signal::KILL)?;
        let status = self.wait(&mut child, DEATH).await?;
        if status.signal() != Some(Signal::KILL.as_raw()) {
            // It was dead before.
            self.note_death(&status);
        }
        Ok(said(&status))
    }

    /// SIGTERM.
    ///
    /// # Errors
    /// It does not end in time, or not with success: then it is killed.
    pub async fn stop(&self, within: Duration) -> io::Result<()> {
        let mut child = self.child.lock().await;
        self.send(child.as_ref(), Signal::TERM)?;
        match self.wait(&mut child, within).await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(io::Error::other(format!("{} was told to stop: {}", self.name(), said(&status)))),
            Err(error) => {
                self.send(child.as_ref(), Signal::KILL)?;
                self.wait(&mut child, DEATH).await?;
                Err(error)
            }
        }
    }

    /// Waits until the process is gone: something else ends it.
    ///
    /// # Errors
    /// It is still there.
    pub async fn ended(&self, within: Duration) -> io::Result<String> {
        let mut child = self.child.lock().await;
        self.wait(&mut child, within).await.map(|status| said(&status))
    }

    fn send(&self, child: Option<&Child>, signal: Signal) -> io::Result<()> {
        let pid = child.and_then(Child::id).and_then(|id| Pid::from_raw(id as i32));
        let pid = pid.ok_or_else(|| io::Error::other(format!("{} does not run", self.name())))?;
        Ok(kill_process(pid, signal)?)
    }

    async fn wait(&self, child: &mut Option<Child>, within: Duration) -> io::Result<ExitStatus> {
        let Some(process) = child.as_mut() else {
            return Err(io::Error::other(format!("{} does not run", self.name())));
        };
        match timeout(within, process.wait()).await {
            Ok(status) => {
                *child = None;
                status
            }
            Err(_) => Err(io::Error::other(format!("{} has not ended within {within:?}", self.name()))),
        }
    }

    /// Whether there is a process that has not ended.
    pub async fn runs(&self) -> bool {
        self.child.lock().await.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Why processes ended that nobody had ended, if no fault explains it. Each is told once.
    pub async fn deaths(&self) -> Vec<String> {
        // Who holds it is just about to end the process.
        if let Ok(mut child) = self.child.try_lock()
            && let Some(process) = child.as_mut()
            && let Ok(Some(status)) = process.try_wait()
        {
            self.note_death(&status);
            *child = None;
        }
        std::mem::take(&mut *self.deaths.lock())
    }

    fn note_death(&self, status: &ExitStatus) {
        if self.may_end.load(Ordering::SeqCst) {
            return;
        }
        let lines = self.last_lines(LAST_LINES).join("\n  ");
        let death = format!("{} ended by itself: {}. It said last:\n  {lines}", self.name(), said(status));
        self.deaths.lock().push(death);
    }

    /// The end of its log.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<String> =
            text.lines().rev().take(count).map(|line| line.chars().take(LINE).collect()).collect();
        lines.reverse();
        lines
    }

    /// The lines of its log that have this in them.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(|line| format!("{}: {line}", self.name())).collect()
    }
}

fn said(status: &ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "ended".into(),
    }
}
