//! One history, crashed after every step, and with every call failing.

use std::io::ErrorKind;
use std::time::Duration;

use super::driver::{Driver, End, Mode, Step};
use super::model::Promise;
use super::points::Points;
use super::{check, images};
use crate::disk::sim::{Rng, SimDisk};

const MODES: [Mode; 4] = [mode(false, true), mode(true, false), mode(false, false), mode(true, true)];

const fn mode(interval: bool, at_once: bool) -> Mode {
    let interval = if interval { Some(Duration::from_millis(100)) } else { None };
    Mode { interval, at_once }
}

fn text(what: &str, length: usize) -> String {
    format!("{what:.<length$}")
}

/// Appends in several sizes over several rolls, of both kinds, commits, truncations, purges, votes, flushes, file
/// work, a clean end and what comes after.
fn script(log: &mut Driver) -> Step {
    log.append(vec![])?;
    log.append(vec!["a".into(), "".into(), text("b", 700)])?;
    log.on_durable()?;
    log.vote(false)?;
    log.flush()?;
    log.commit(2)?;
    // Two segments are dirty when this is flushed.
    for n in 0..6 {
        log.append(vec![text(&format!("first {n}"), 1100 + 300 * n)])?;
        log.on_durable()?;
    }
    log.work()?;
    log.flush()?;
    log.append_frame(vec![text("from a leader", 2500), "small".into()], 4)?;
    log.on_durable()?;
    log.commit(6)?;
    log.flush()?;
    for n in 0..8 {
        log.append(vec![text(&format!("to be cut {n}"), 1900)])?;
    }
    log.on_durable()?;
    log.flush()?;
    log.work()?;
    // Over a roll, in the middle of a segment, and once more before it is flushed.
    log.truncate(9)?;
    log.append(vec![])?;
    log.append(vec![text("instead", 2100)])?;
    log.roll()?;
    log.on_durable()?;
    log.truncate(10)?;
    log.append(vec![text("instead of that", 900), text("x", 30)])?;
    log.on_durable()?;
    log.vote(true)?;
    log.flush()?;
    log.append_frame(vec![text("follower", 3000)], 9)?;
    log.append_frame(vec![text("follower", 3000)], 11)?;
    log.roll_frame(11)?;
    log.on_durable()?;
    log.flush()?;
    log.purge(7)?;
    log.append(vec![text("behind a purge", 400)])?;
    log.on_durable()?;
    log.work()?;
    log.reopen()?;
    log.append(vec![text("second life", 1500), text("of a batch", 1500)])?;
    log.append(vec![text("second life", 3000)])?;
    log.roll()?;
    log.append(vec![text("behind a roll", 300)])?;
    log.on_durable()?;
    log.vote(false)?;
    log.flush()?;
    let written = log.written();
    log.commit(written)?;
    log.append(vec![text("never flushed", 3500)])?;
    log.on_durable()?;
    log.work()?;
    log.purge(written - 1)?;
    log.append(vec![text("never flushed either", 1000)])?;
    log.on_durable()
}

/// What the script leaves on a disk that `prepare` has made ready to fail.
fn run(mode: Mode, prepare: impl Fn(&SimDisk)) -> (SimDisk, Promise, Option<End>) {
    let (disk, promise) = (SimDisk::new(), Promise::of_nothing());
    prepare(&disk);
    let mut log = match Driver::open(&disk, &promise, mode) {
        Ok(log) => log,
        Err(end) => return (disk, promise, Some(end)),
    };
    let ended = script(&mut log).err();
    let (disk, promise) = log.end();
    (disk, promise, ended)
}

#[test]
fn a_power_loss_after_any_step_breaks_no_promise() {
    Points::each("script", 1, |seed| {
        let mut points = 0;
        for mode in &MODES[..if seed == 0 { 2 } else { 4 }] {
            let (steps, _, ended) = {
                let (disk, promise, ended) = run(*mode, |_| {});
                (disk.steps(), promise, ended)
            };
            assert_eq!(ended, None, "the script runs to its end");
            for step in 0..=steps {
                let mut rng = Rng::new(seed << 32 | step);
                let (disk, promise, _) = run(*mode, |disk| disk.lose_power_after(step));
                for (at, image) in images(&disk, 2, &mut rng).iter().enumerate() {
                    let told = Told(format!("power loss after step {step} of {steps}, image {at}, {mode:?}"));
                    check(image, &promise, *mode);
                    points += 1;
                    told.keep();
                }
            }
        }
        points
    });
}

#[test]
fn after_any_call_that_fails_nothing_is_acknowledged_and_no_promise_is_broken() {
    let failures =
        [(ErrorKind::Other, 0), (ErrorKind::StorageFull, 0), (ErrorKind::Other, 400), (ErrorKind::StorageFull, 900)];
    Points::each("failing calls", 1, |seed| {
        let mut points = 0;
        for mode in &MODES[..if seed == 0 { 2 } else { 4 }] {
            for call in 0.. {
                let mut rng = Rng::new(seed << 32 | call);
                let (kind, written) = failures[(call + seed) as usize % failures.len()];
                let (disk, promise, _) = run(*mode, |disk| disk.fail_any(call, kind, written));
                if disk.fired() == 0 {
                    break;
                }
                let told = Told(format!("call {call} fails: {kind:?}, {written} of 1000 written, {mode:?}"));
                for image in images(&disk, 1, &mut rng) {
                    check(&image, &promise, *mode);
                    points += 1;
                }
                check(&disk.kill().unwrap(), &promise, *mode);
                points += 1;
                told.keep();
            }
        }
        points
    });
}

/// Says where it was when a check panics.
pub(crate) struct Told(pub(crate) String);

impl Told {
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("at: {}", self.0);
    }
}
