//! The log under every fault a disk can have: power lost at every step, calls that fail, processes that die.
//!
//! | file | what it is |
//! |---|---|
//! | this | one *crash point*: an image of a disk that is opened and checked |
//! | `model` | what a log promised, and the laws a later life is held to |
//! | `driver` | one life of a log; its calls, each with what it promises |
//! | `script` | one history, crashed after every step and with every call failing |
//! | `random` | random histories |
//! | `killed` | real files, a real process, `kill -9` |
//! | `points` | how many crash points, and which seed |
//!
//! | variable | what it does |
//! |---|---|
//! | `DLEDGER_SEED=x` | runs one seed again |
//! | `DLEDGER_SEEDS=n` | runs the seeds below n |
//! | `DLEDGER_CRASH_POINTS=n` | runs until n crash points have been checked, from `DLEDGER_SEED` on |
//! | `DLEDGER_KILLS=n` | kills n processes |

pub(crate) mod driver;
mod killed;
pub(crate) mod model;
pub(crate) mod points;
mod random;
pub(crate) mod script;

use crate::disk::sim::{Kept, Rng, SimDisk};
use driver::{Driver, Mode};
use model::Promise;

/// No unsynced change survives the power loss.
pub(crate) const NOTHING: Kept<'_> = Kept::These { names: 0, blocks: 0 };
/// Every unsynced change survives the power loss.
pub(crate) const EVERYTHING: Kept<'_> = Kept::These { names: usize::MAX, blocks: u64::MAX };

/// Opens `disk` and checks that the log keeps `promise`; that what the log then shows stays, whatever comes; and that
/// the log goes on.
fn check(disk: &SimDisk, promise: &Promise, mode: Mode) {
    let opened = Driver::open(disk, promise, mode).unwrap_or_else(|end| panic!("not opened: {end:?}"));
    go_on(opened);
}

fn go_on(opened: Driver) {
    let mode = opened.mode;
    let (disk, found) = opened.end();
    let same = disk.image(NOTHING);
    let mut again = Driver::open(&same, &found, mode).unwrap();
    let went_on = (|| {
        again.append(vec!["behind the crash".into()])?;
        again.on_durable()?;
        again.flush()?;
        again.vote(false)?;
        let written = again.written();
        again.commit(written)
    })();
    assert_eq!(went_on, Ok(()), "a log that was opened goes on");
    let (disk, promise) = again.end();
    drop(Driver::open(&disk.image(NOTHING), &promise, mode).unwrap().end());
}

/// Images of `disk` after a power loss: all there can be, if they are few, else the extremes and `some` by chance.
pub(crate) fn images(disk: &SimDisk, some: u64, rng: &mut Rng) -> Vec<SimDisk> {
    if let Some(all) = disk.every_image(some as usize + 2) {
        return all.into_iter().map(|kept| disk.image(kept)).collect();
    }
    let mut images = vec![disk.image(NOTHING), disk.image(EVERYTHING)];
    images.extend((0..some).map(|_| disk.image(Kept::Chance(rng))));
    images
}
