//! Reads the lines of a history.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::Event;

/// The events of a history, line by line.
pub struct History<R> {
    lines: R,
    name: String,
    line: u64,
    buffer: Vec<u8>,
    /// Nothing is read after an error.
    over: bool,
}

impl History<BufReader<File>> {
    /// The history in a file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, HistoryError> {
        let name = path.as_ref().display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::new(name, BufReader::with_capacity(1 << 20, file))),
            Err(source) => Err(HistoryError::Open { name, source }),
        }
    }
}

impl<R: BufRead> History<R> {
    /// The longest line, in bytes: nothing that a file says makes the judge take more memory at once.
    pub const MAX_LINE: u64 = 64 << 20;

    /// The history that `lines` yields; `name` is for messages.
    pub fn new(name: impl Into<String>, lines: R) -> Self {
        Self { lines, name: name.into(), line: 0, buffer: Vec::new(), over: false }
    }

    fn event(&mut self) -> Result<Option<Event>, HistoryError> {
        self.line += 1;
        self.buffer.clear();
        let read = (&mut self.lines).take(Self::MAX_LINE + 1).read_until(b'\n', &mut self.buffer);
        let (name, line) = (|| self.name.clone(), self.line);
        let length = read.map_err(|source| HistoryError::Read { name: name(), line, source })?;
        if length == 0 {
            return Ok(None);
        }
        if length as u64 > Self::MAX_LINE {
            return Err(HistoryError::TooLong { name: name(), line });
        }
        match serde_json::from_slice(&self.buffer) {
            Ok(event) => Ok(Some(event)),
            Err(_) if self.buffer.last() != Some(&b'\n') => Err(HistoryError::CutShort { name: name(), line }),
            Err(error) => Err(HistoryError::Line { name: name(), line, what: error.to_string() }),
        }
    }
}

impl<R: BufRead> Iterator for History<R> {
    type Item = Result<Event, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let event = self.event();
        self.over = !matches!(event, Ok(Some(_)));
        event.transpose()
    }
}

/// A history cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The file cannot be opened.
    #[error("cannot open {name}: {source}")]
    Open {
        /// Which file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system failed.
    #[error("cannot read line {line} of {name}: {source}")]
    Read {
        /// Which file.
        name: String,
        /// Which line, counted from 1.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is no event.
    #[error("line {line} of {name} is no event of a history: {what}. docs/tools.md has the format")]
    Line {
        /// Which file.
        name: String,
        /// Which line, counted from 1.
        line: u64,
        /// What is wrong with it, and where.
        what: String,
    },
    /// A line that does not end within [`History::MAX_LINE`].
    #[error("line {line} of {name} is longer than 64 MiB: spread the records of a replica over several lines")]
    TooLong {
        /// Which file.
        name: String,
        /// Which line, counted from 1.
        line: u64,
    },
    /// The last line is not whole.
    #[error("{name} ends within line {line}: whoever wrote it was interrupted. Take the line away to judge the rest")]
    CutShort {
        /// Which file.
        name: String,
        /// Which line, counted from 1.
        line: u64,
    },
}
