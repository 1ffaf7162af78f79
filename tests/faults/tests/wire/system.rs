//! What the system tells the threads of a simulation: random numbers that a seed determines, and simulated time.
//!
//! Elections wait for random times, hash maps are laid out at random, `select!` polls its branches in random order: all
//! of it begins with `getrandom` of the C library. And h2 forgets streams that were reset by the real clock, which is
//! `clock_gettime`. This program has symbols of its own for the two: the linker prefers them to those of a shared
//! library. Nothing else does it without changes to four crates and the compiler's flags. Threads that are not part of
//! a simulation are told what the system says.

#![allow(unsafe_code, reason = "symbols of the C library are replaced")]

use std::cell::Cell;

use dledger_sim::Rng;
use rustix::rand::GetRandomFlags;
use rustix::time::ClockId;

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread is part of a simulation with this seed.
pub fn simulate(seed: u64) {
    SEED.set(Some(seed));
}

/// As the C library has it.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// # Safety
/// As that of the C library: `buffer` may be written to, for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller says so; a byte slice has no other needs.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    match SEED.get() {
        Some(seed) => {
            let mut rng = Rng::new(seed);
            bytes.fill_with(|| rng.draw() as u8);
            SEED.set(Some(rng.draw()));
        }
        None => {
            let mut filled = 0;
            while filled < length {
                match rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                    Ok(some) => filled += some,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return -1,
                }
            }
        }
    }
    length as isize
}

/// # Safety
/// As that of the C library: `time` may be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: i32, time: *mut Timespec) -> i32 {
    let told = if SEED.get().is_some() {
        // All clocks are one. Not zero: programs subtract from what they are told.
        let now = dledger_faults::wire::now();
        Timespec { seconds: now.as_secs() as i64 + 1_000, nanoseconds: i64::from(now.subsec_nanos()) }
    } else {
        // CLOCK_REALTIME is 0; what else is asked for here is the time since the machine was started.
        let clock = if clock == 0 { ClockId::Realtime } else { ClockId::Monotonic };
        let now = rustix::time::clock_gettime(clock);
        Timespec { seconds: now.tv_sec, nanoseconds: now.tv_nsec }
    };
    // SAFETY: the caller says so.
    unsafe { time.write(told) };
    0
}
