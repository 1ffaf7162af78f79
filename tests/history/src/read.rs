//! Reads the lines of a history.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::line::later_format;
use crate::{Event, FORMAT};

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
    /// Most bytes of a line, so that no file makes the judge take more memory than that at once.
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
        if let Some(format) = (line == 1).then(|| later_format(&self.buffer)).flatten() {
            return Err(HistoryError::OtherFormat { name: name(), format });
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
    /// Written for another judge.
    #[error(
        "{name} is in format {format} of a history, and this judge knows format {FORMAT} alone: use the \
        `dledger-faults` of the version that wrote it"
    )]
    OtherFormat {
        /// Which file.
        name: String,
        /// Its format.
        format: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"{"at":1,"event":"begin","format":1,"run":"r","nodes":["n0"],"retention":false}"#;
    const NOTE: &str = r#"{"at":2,"event":"note","text":"x"}"#;

    fn read(text: &str) -> (usize, Option<String>) {
        let mut events = 0;
        for event in History::new("h", text.as_bytes()) {
            match event {
                Ok(_) => events += 1,
                Err(error) => return (events, Some(error.to_string())),
            }
        }
        (events, None)
    }

    #[test]
    fn lines_are_read_one_by_one() {
        assert_eq!(read(""), (0, None));
        assert_eq!(read(&format!("{BEGIN}\n{NOTE}\n")), (2, None));
        assert_eq!(read(&format!("{BEGIN}\r\n{NOTE}")), (2, None));
    }

    #[test]
    fn an_error_says_which_line_and_is_the_last_word() {
        let (events, error) = read(&format!("{BEGIN}\n{{}}\n{NOTE}\n"));
        assert_eq!(events, 1);
        assert!(error.unwrap().starts_with("line 2 of h is no event of a history: missing field `at`"));
        let mut history = History::new("h", "x\n{}\n".as_bytes());
        assert!(history.next().unwrap().is_err());
        assert!(history.next().is_none());
    }

    #[test]
    fn a_history_that_was_cut_short_is_told_from_a_wrong_one() {
        let (events, error) = read(&format!("{BEGIN}\n{}", &NOTE[..20]));
        assert_eq!(events, 1);
        assert!(error.unwrap().starts_with("h ends within line 2"));
    }

    #[test]
    fn another_format_is_named_whatever_else_it_has() {
        let later = r#"{"at":1,"event":"start","format":2,"what":{}}"#;
        assert!(read(&format!("{later}\n")).1.unwrap().starts_with("h is in format 2 of a history"));
    }

    #[test]
    fn a_line_without_end_is_not_read_into_memory() {
        let endless = BufReader::new(io::repeat(b' '));
        let error = History::new("h", endless).next().unwrap().unwrap_err();
        assert!(matches!(error, HistoryError::TooLong { line: 1, .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = History::open("/no/such/file").err().unwrap();
        assert!(error.to_string().starts_with("cannot open /no/such/file: "), "{error}");
    }
}
