//! Descriptors kept for what must not fail for want of one.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::is_exhausted;

/// Descriptors to give up when there is no other: what a ledger has to write down must not fail for want of one.
static RESERVE: Mutex<Vec<File>> = Mutex::new(Vec::new());
/// As many as [`Disk::write_atomic`](super::Disk::write_atomic) needs.
const RESERVED: usize = 2;

/// Fills the reserve, as far as the system lets it.
pub(super) fn reserve() {
    let mut reserve = RESERVE.lock().unwrap_or_else(PoisonError::into_inner);
    while reserve.len() < RESERVED {
        match File::open("/dev/null") {
            Ok(file) => reserve.push(file),
            // Tried again the next time.
            Err(_) => return,
        }
    }
}

/// Opens a file with the help of the reserve.
pub(super) fn open_surely(open: impl Fn() -> io::Result<File>) -> io::Result<File> {
    let mut opened = open();
    while opened.as_ref().is_err_and(is_exhausted) {
        let given_up = RESERVE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if given_up.is_none() {
            break;
        }
        drop(given_up);
        opened = open();
    }
    opened
}
