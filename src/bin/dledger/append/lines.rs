//! Records from lines, of files of any size, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Longest line, bytes; the cluster's own limit is mostly lower.
const MAX_LINE: u64 = 64 << 20;
/// A chunk is handed on when it has this many bytes,
const CHUNK_BYTES: usize = 256 << 10;
/// or this many lines.
const CHUNK_LINES: usize = 1024;
/// Chunks that are read ahead of the appends.
const AHEAD: usize = 4;

/// Consecutive lines, or why there are no more.
pub(crate) type Chunk = Result<Vec<Bytes>, String>;

/// Reads the files one after the other; `-` is standard input, and so is an empty list. Reads on a thread of its own:
/// reading standard input blocks, and the program must not wait for that when it ends.
pub(crate) fn read(files: Vec<PathBuf>) -> mpsc::Receiver<Chunk> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        if files.is_empty() {
            read_one("standard input", io::stdin().lock(), &sender);
            return;
        }
        for file in files {
            if file.as_os_str() == "-" {
                if !read_one("standard input", io::stdin().lock(), &sender) {
                    return;
                }
                continue;
            }
            let name = file.display().to_string();
            let goes_on = match File::open(&file) {
                Ok(file) => read_one(&name, file, &sender),
                Err(error) => {
                    // A receiver that is gone wants no more, not even that.
                    let _ = sender.blocking_send(Err(format!("cannot open {name}: {error}")));
                    false
                }
            };
            if !goes_on {
                return;
            }
        }
    });
    receiver
}

/// Returns whether the next file is to be read.
fn read_one(name: &str, input: impl Read, chunks: &mpsc::Sender<Chunk>) -> bool {
    let mut input = BufReader::with_capacity(CHUNK_BYTES, input);
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for line in 1u64.. {
        let mut record = Vec::new();
        let failed = match (&mut input).take(MAX_LINE + 1).read_until(b'\n', &mut record) {
            Ok(_) if record.len() as u64 > MAX_LINE => Some(format!("line {line} of {name} is over {MAX_LINE} bytes")),
            Ok(_) => None,
            Err(error) => Some(format!("cannot read {name}: {error}")),
        };
        let ends = record.is_empty() || failed.is_some();
        if !ends {
            record.pop_if(|last| *last == b'\n');
            bytes += record.len();
            chunk.push(Bytes::from(record));
        }
        let full = bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_LINES;
        // With nothing buffered, the next line may be a while: someone types it.
        if (ends || full || input.buffer().is_empty()) && !chunk.is_empty() {
            bytes = 0;
            if chunks.blocking_send(Ok(std::mem::take(&mut chunk))).is_err() {
                return false;
            }
        }
        if let Some(error) = failed {
            let _ = chunks.blocking_send(Err(error));
            return false;
        }
        if ends {
            break;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(text: &'static [u8]) -> Vec<Bytes> {
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let reader = std::thread::spawn(move || read_one("test", text, &sender));
        let mut lines = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            lines.extend(chunk.unwrap());
        }
        assert!(reader.join().unwrap());
        lines
    }

    #[tokio::test]
    async fn a_line_is_all_bytes_before_its_newline() {
        assert_eq!(read_all(b"a\r\n\n\xff\0\nlast").await, [&b"a\r"[..], b"", b"\xff\0", b"last"]);
        assert!(read_all(b"").await.is_empty());
        assert_eq!(read_all(b"one\n").await, ["one"]);
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        let mut chunks = read(vec!["/does/not/exist".into()]);
        assert!(chunks.recv().await.unwrap().unwrap_err().contains("/does/not/exist"));
        assert!(chunks.recv().await.is_none());
    }
}
