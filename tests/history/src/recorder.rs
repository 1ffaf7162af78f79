//! Writes the lines of a history while it happens.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::{Answer, Call, Event, What};

/// Writes a history while it happens. Cheap to clone; all clones write into one history, in the order of its clock.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    out: Out,
    ops: u64,
    /// The first error; nothing is written after it.
    error: Option<io::Error>,
}

/// Where the events go.
enum Out {
    Lines(Box<dyn Write + Send>),
    Memory(Vec<Event>),
}

impl Recorder {
    /// A history written to `out`. `clock` tells monotonic nanoseconds.
    pub fn new(out: impl Write + Send + 'static, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::start(Out::Lines(Box::new(out)), clock)
    }

    /// A history kept in memory until it is [taken](Self::take).
    pub fn in_memory(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::start(Out::Memory(Vec::new()), clock)
    }

    fn start(out: Out, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let state = State { out, ops: 0, error: None };
        Self(Arc::new(Inner { clock: Box::new(clock), state: Mutex::new(state) }))
    }

    /// The events so far, of a history that is kept in memory; it goes on without them.
    pub fn take(&self) -> Vec<Event> {
        match &mut self.state().out {
            Out::Lines(_) => Vec::new(),
            Out::Memory(events) => std::mem::take(events),
        }
    }

    /// A client calls. Returns the number of the call.
    pub fn invoke(&self, client: u64, call: Call) -> u64 {
        let mut state = self.state();
        let op = state.ops;
        state.ops += 1;
        self.write(&mut state, What::Invoke { client, op, call });
        op
    }

    /// The call was answered.
    pub fn ok(&self, op: u64, answer: Answer) {
        self.record(What::Ok { op, answer });
    }

    /// The call had no effect and never will.
    pub fn fail(&self, op: u64, error: impl ToString) {
        self.record(What::Fail { op, error: error.to_string() });
    }

    /// Nobody can say what became of the call.
    pub fn unknown(&self, op: u64, error: impl ToString) {
        self.record(What::Unknown { op, error: error.to_string() });
    }

    /// Something happened now.
    pub fn record(&self, what: What) {
        let mut state = self.state();
        self.write(&mut state, what);
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The first error of all writes so far: the history ends there.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.state();
        match state.error.take() {
            Some(error) => Err(error),
            None => match &mut state.out {
                Out::Lines(out) => out.flush(),
                Out::Memory(_) => Ok(()),
            },
        }
    }

    /// Reads the clock under the lock, so that the order of the lines is the order of the moments.
    fn write(&self, state: &mut State, what: What) {
        if state.error.is_some() {
            return;
        }
        let event = Event { at: (self.0.clock)(), what };
        match &mut state.out {
            Out::Lines(out) => {
                let written = serde_json::to_writer(&mut *out, &event).map_err(io::Error::from);
                state.error = written.and_then(|()| out.write_all(b"\n")).err();
            }
            Out::Memory(events) => events.push(event),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}
