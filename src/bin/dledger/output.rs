//! Writing results: exact bytes, one line each, and no fuss about a reader that went away.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::os::fd::AsFd;

use dledger::Record;
use serde_json::{Value, json};
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use crate::exit::Exit;

/// Why the command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads the output any more: no error.
    Pipe,
    /// The command found what it looked for: printed as an error is, and no error.
    Found(String),
    /// The message for the user, and the code that the command exits with.
    Error(Exit, String),
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(Exit::of(&error), error.to_string())
    }
}

/// An error with words of its own.
pub(crate) fn failure(message: impl Display) -> Failure {
    ended(Exit::Failed, message)
}

/// An error of what was given to the command.
pub(crate) fn usage(message: impl Display) -> Failure {
    ended(Exit::Usage, message)
}

/// An error with words and a code of its own.
pub(crate) fn ended(exit: Exit, message: impl Display) -> Failure {
    Failure::Error(exit, message.to_string())
}

/// What the command found, as its end.
pub(crate) fn found(message: impl Display) -> Failure {
    Failure::Found(message.to_string())
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Index and text, for people. What is not printable is escaped.
    Readable,
    /// The bytes and a newline.
    Lines,
    /// One JSON object per line.
    Json,
}

impl Form {
    pub(crate) fn of(lines: bool, json: bool) -> Self {
        match (lines, json) {
            (_, true) => Form::Json,
            (true, _) => Form::Lines,
            _ => Form::Readable,
        }
    }
}

/// Standard output, buffered until [`Output::flush`].
pub(crate) struct Output<W: Write = BufWriter<StdoutLock<'static>>>(W);

impl Output {
    pub(crate) fn stdout() -> Self {
        Self(BufWriter::with_capacity(256 << 10, io::stdout().lock()))
    }
}

/// Ends when nobody reads standard output any more, and never otherwise. A command that waits for something to write
/// would not notice by itself.
pub(crate) async fn nobody_reads() {
    // A file cannot be waited for, and always has a reader.
    if let Ok(output) = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked)
        && output.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Tells a closed pipe apart from all other failures of the output.
fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Pipe,
        _ => failure(format!("cannot write to standard output: {error}")),
    })
}

impl<W: Write> Output<W> {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        written(self.0.write_all(bytes))
    }

    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        written(writeln!(self.0, "{line}"))
    }

    pub(crate) fn record(&mut self, record: &Record, form: Form) -> Result<(), Failure> {
        match form {
            Form::Lines => {
                self.bytes(&record.body)?;
                self.bytes(b"\n")
            }
            Form::Json => self.line(as_json(record)),
            Form::Readable => self.line(format_args!("{:>10}  {}", record.index, readable(&record.body))),
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        written(self.0.flush())
    }
}

/// `body` is a string where the bytes are UTF-8, else `body_hex` has them.
pub(crate) fn as_json(record: &Record) -> Value {
    let mut object = json!({
        "index": record.index,
        "position": record.position,
        "term": record.term,
        "timestamp": record.timestamp,
    });
    match std::str::from_utf8(&record.body) {
        Ok(text) => object["body"] = text.into(),
        Err(_) => object["body_hex"] = hex(&record.body).into(),
    }
    object
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text with what is not printable escaped.
pub(crate) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
        }
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &'static [u8]) -> Record {
        Record { index: 7, position: 100, term: 2, timestamp: 5, body: body.into() }
    }

    fn written(body: &'static [u8], form: Form) -> Vec<u8> {
        let mut output = Output(Vec::new());
        assert!(output.record(&record(body), form).is_ok());
        output.0
    }

    #[test]
    fn lines_are_the_bytes_and_nothing_else() {
        assert_eq!(written(b"\xff\0\r", Form::Lines), b"\xff\0\r\n");
    }

    #[test]
    fn a_readable_line_keeps_the_terminal_whole() {
        assert_eq!(written("grün\x1b[2J".as_bytes(), Form::Readable), "         7  grün\\u{1b}[2J\n".as_bytes());
        assert_eq!(written(b"\xff", Form::Readable), b"         7  \\xff\n");
    }

    #[test]
    fn json_has_text_or_hex() {
        let text: Value = serde_json::from_slice(&written(b"a\"b", Form::Json)).unwrap();
        assert_eq!(text["body"], "a\"b");
        let binary: Value = serde_json::from_slice(&written(b"\xff\x00", Form::Json)).unwrap();
        assert_eq!(binary["body_hex"], "ff00");
        assert_eq!(binary["body"], Value::Null);
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(matches!(Output(Closed).line("x"), Err(Failure::Pipe)));
    }
}
