//! Each mutant and what is to catch it.

use std::fmt;
use std::time::Duration;

/// Where a test looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// One file's own tests.
    Unit,
    /// Simulated clusters.
    A,
    /// The real gRPC.
    B,
    /// Real processes.
    C,
    /// Crash images of a log.
    D,
}

impl Layer {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Unit, Self::A, Self::B, Self::C, Self::D];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit => "unit tests",
            Self::A => "A, simulation",
            Self::B => "B, real gRPC",
            Self::C => "C, real processes",
            Self::D => "D, crash images",
        })
    }
}

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runs {
    /// Tests of a package whose names contain `filter`.
    Test {
        /// The package.
        package: &'static str,
        /// Its library or one of its tests.
        target: &'static str,
        /// What the names contain.
        filter: &'static str,
    },
    /// `dledger-faults` with these arguments; it fails where a law is broken.
    Faults(&'static [&'static str]),
}

/// A test that is to catch something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detector {
    /// Where it looks.
    pub layer: Layer,
    /// What is run.
    pub runs: Runs,
    /// Seeds that run at most, where there are seeds; `None`: as many as in `cargo test`.
    pub seeds: Option<u64>,
    /// How long it may take.
    pub limit: Duration,
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.runs {
            Runs::Test { package, filter, .. } => write!(f, "{package} {filter}"),
            Runs::Faults(arguments) => write!(f, "dledger-faults {}", arguments.join(" ")),
        }
    }
}

/// A mutant.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name.
    pub mutant: &'static str,
    /// What is to catch it, the one that is to be first first.
    pub detectors: &'static [Detector],
}

/// Some take minutes where much else runs.
const LIMIT: Duration = Duration::from_secs(600);

const fn lib(layer: Layer, filter: &'static str) -> Detector {
    Detector { layer, runs: Runs::Test { package: "dledger", target: "dledger", filter }, seeds: None, limit: LIMIT }
}

const fn integration(layer: Layer, target: &'static str, filter: &'static str) -> Detector {
    Detector { layer, runs: Runs::Test { package: "dledger", target, filter }, seeds: None, limit: LIMIT }
}

const fn family(law: &'static str, seeds: u64) -> Detector {
    let runs = Runs::Test { package: "dledger-faults", target: "sim", filter: law };
    Detector { layer: Layer::A, runs, seeds: Some(seeds), limit: LIMIT }
}

const fn scenario(filter: &'static str, seeds: u64) -> Detector {
    Detector { seeds: Some(seeds), ..lib(Layer::A, filter) }
}

/// A history crashed after every step.
const SCRIPT: Detector = lib(Layer::D, "a_power_loss_after_any_step_breaks_no_promise");
/// The same with every call failing.
const FAILING: Detector = lib(Layer::D, "after_any_call_that_fails_nothing_is_acknowledged");
/// Votes and entries in any order.
const RAFT: Detector = lib(Layer::D, "votes_and_entries_survive_any_crash_in_order");
const fn wire(filter: &'static str) -> Detector {
    let runs = Runs::Test { package: "dledger-faults", target: "wire", filter };
    Detector { layer: Layer::B, runs, seeds: None, limit: LIMIT }
}

const POWER_LOSS: Detector = family("acknowledged_records_survive_power_loss_and_partitions", 40);
/// A real process on a real filesystem that loses its power.
const POWER: Detector = Detector {
    layer: Layer::C,
    runs: Runs::Test {
        package: "dledger-faults",
        target: "power",
        filter: "what_was_acknowledged_survives_a_real_loss_of_power",
    },
    seeds: None,
    limit: LIMIT,
};
/// Real processes in one scenario: only the judge of their history can tell.
const fn processes(arguments: &'static [&'static str]) -> Detector {
    Detector { layer: Layer::C, runs: Runs::Faults(arguments), seeds: None, limit: LIMIT }
}

macro_rules! processes {
    ($scenario:literal) => {
        processes(&["run", "--profile=ci", "--seeds=0", concat!("--only=", $scenario), "--out=target/mutants/faults"])
    };
}

const READS: Detector = scenario("a_promised_read_sees_all_that_was_acknowledged_before_it", 20);

/// Every mutant of `src/mutants.rs`, and what is to catch it.
pub const TABLE: &[Case] = &[
    // disk
    Case { mutant: "SyncSkipped", detectors: &[POWER] },
    // format
    Case { mutant: "FrameNotVerified", detectors: &[lib(Layer::Unit, "a_damaged_or_cut_frame_is_refused")] },
    // segment
    Case { mutant: "ChainNotChecked", detectors: &[lib(Layer::Unit, "every_row_is_found_and_decided")] },
    Case { mutant: "TornTailKept", detectors: &[SCRIPT] },
    Case { mutant: "BodyNotVerified", detectors: &[lib(Layer::Unit, "damage_in_an_earlier_segment_is_found_by_the")] },
    // log
    Case { mutant: "AckBeforeSync", detectors: &[RAFT, SCRIPT, POWER_LOSS] },
    Case { mutant: "FailedSyncIgnored", detectors: &[FAILING] },
    Case { mutant: "DirectoryNotSynced", detectors: &[SCRIPT] },
    Case { mutant: "VoteNotSynced", detectors: &[RAFT, SCRIPT] },
    Case { mutant: "VoteAheadOfEntries", detectors: &[RAFT, scenario("a_vote_releases_no_acknowledgement", 20)] },
    Case { mutant: "OlderVoteWins", detectors: &[RAFT, SCRIPT] },
    Case { mutant: "CutOnCorruption", detectors: &[lib(Layer::Unit, "every_row_is_found_and_decided")] },
    Case {
        mutant: "CommittedAtStart",
        detectors: &[lib(Layer::C, "a_killed_process_loses_nothing_it_has_said"), RAFT],
    },
    Case { mutant: "CommittedTruncated", detectors: &[lib(Layer::Unit, "committed_entries_are_never_truncated")] },
    Case { mutant: "TruncationNotSynced", detectors: &[RAFT, SCRIPT] },
    Case { mutant: "RollKept", detectors: &[RAFT, SCRIPT] },
    Case { mutant: "PurgeOffByOne", detectors: &[SCRIPT] },
    Case { mutant: "RetentionIgnoresCommit", detectors: &[lib(Layer::Unit, "nothing_goes_that_is_needed_or_not")] },
    Case { mutant: "UncommittedServed", detectors: &[SCRIPT] },
    Case {
        mutant: "LeaderRollsEarly",
        detectors: &[lib(Layer::Unit, "an_entry_rolls_when_it_does_not_fit"), POWER_LOSS],
    },
    // raft
    Case { mutant: "LeaseNeverEnds", detectors: &[scenario("a_follower_that_restarts_keeps_the_promise", 20)] },
    Case { mutant: "LeaseFromTheAnswer", detectors: &[scenario("a_late_answer_gives_no_more_time", 20)] },
    Case { mutant: "RoundSkipped", detectors: &[READS] },
    Case { mutant: "VoteHoldDropped", detectors: &[scenario("a_follower_that_restarts_again_and_again", 20)] },
    Case {
        mutant: "UnknownSaidRefused",
        detectors: &[scenario("an_append_that_is_committed_after_its_deadline", 1), POWER_LOSS],
    },
    Case { mutant: "AckOfAnother", detectors: &[processes!("isolate-leader"), POWER_LOSS] },
    Case { mutant: "ElectionOnOtherDisk", detectors: &[lib(Layer::Unit, "a_node_asks_for_votes_only_with_the_disk")] },
    Case { mutant: "MasterTooEarly", detectors: &[scenario("a_master_knows_from_the_first_moment", 5)] },
    // transport, peer
    Case { mutant: "GivenUpTooEarly", detectors: &[scenario("a_leader_that_seems_dead_is_not_succeeded", 20)] },
    Case {
        mutant: "WipedDiskAnswers",
        detectors: &[integration(Layer::B, "failover", "a_wiped_disk_does_not_pass_for_the_one_that_voted")],
    },
    Case { mutant: "PromisedToAll", detectors: &[family("two_processes_of_the_lowest_id_never_form", 15)] },
    Case { mutant: "SilenceTolerated", detectors: &[wire("half_open_connections_are_given_up_for_new_ones")] },
    // node
    Case { mutant: "ReadOneBehind", detectors: &[READS] },
    Case { mutant: "BatchTorn", detectors: &[POWER_LOSS] },
    // client
    Case {
        mutant: "UnknownResent",
        detectors: &[processes!("reset"), lib(Layer::Unit, "a_stream_that_breaks_leaves_the_outcome_unknown")],
    },
    Case { mutant: "BrokenSaidRefused", detectors: &[wire("a_master_that_is_held_is_left_for_the_next_one")] },
    Case { mutant: "DeadlineIgnored", detectors: &[wire("calls_over_held_links_end_at_their_deadline")] },
];
