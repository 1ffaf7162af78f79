//! Bugs that can be planted, to see that the tests find them. **With the feature `mutants` the safety rules can be
//! switched off from outside: it is for the tests of this crate, and no program that keeps data may be built with it.**
//!
//! Without the feature [`planted`] is a constant `false`, and nothing of this is in the program. With it, the bug that
//! `DLEDGER_MUTANT` names is there, and no other. What is to catch each is in `tests/faults/src/mutants/table.rs`.

macro_rules! mutants {
    ($(#[doc = $broken:literal] $name:ident,)*) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Mutant {
            $(#[doc = $broken] $name,)*
        }

        /// Each with its name and what is broken.
        #[cfg(feature = "mutants")]
        const ALL: &[(Mutant, &str, &str)] = &[$((Mutant::$name, stringify!($name), $broken),)*];
    };
}

mutants! {
    // disk
    #[doc = "A sync of a file returns at once and does nothing."]
    SyncSkipped,
    // format
    #[doc = "Entries that come over the network are stored without a look at their chain values."]
    FrameNotVerified,
    // segment
    #[doc = "An entry need not continue the chain value of the entry before it."]
    ChainNotChecked,
    #[doc = "A start takes an entry for whole whose header is."]
    TornTailKept,
    #[doc = "The first read of an entry after a start does not compute its chain value."]
    BodyNotVerified,
    // log
    #[doc = "A completion says durable when the entries are written."]
    AckBeforeSync,
    #[doc = "A sync that fails is taken for one that did not."]
    FailedSyncIgnored,
    #[doc = "The name of a new segment file is not synced."]
    DirectoryNotSynced,
    #[doc = "A vote counts before it is synced."]
    VoteNotSynced,
    #[doc = "A vote is durable before the entries that were written before it."]
    VoteAheadOfEntries,
    #[doc = "Of two votes on the disk a start takes the older one."]
    OlderVoteWins,
    #[doc = "Damage that no interrupted write explains is cut off as if it were a torn tail."]
    CutOnCorruption,
    #[doc = "After a start everything in the log is taken for committed."]
    CommittedAtStart,
    #[doc = "A follower removes committed entries when its leader's conflict."]
    CommittedTruncated,
    #[doc = "A truncation returns before it is synced."]
    TruncationNotSynced,
    #[doc = "A start keeps a segment that was begun for an entry that is not there."]
    RollKept,
    #[doc = "A purge removes the segment of the first entry that is to stay."]
    PurgeOffByOne,
    #[doc = "Retention removes segments that are not committed."]
    RetentionIgnoresCommit,
    #[doc = "Readers are served what is stored, committed or not."]
    UncommittedServed,
    #[doc = "A leader begins a segment 8 bytes sooner than its followers do."]
    LeaderRollsEarly,
    // raft
    #[doc = "A leader that once had a lease keeps it for as long as it takes itself for the leader."]
    LeaseNeverEnds,
    #[doc = "A lease is counted from when the answers came, not from when the question was sent."]
    LeaseFromTheAnswer,
    #[doc = "A linearizable read asks nobody."]
    RoundSkipped,
    #[doc = "A follower that restarts votes at once, although its leader counts on it."]
    VoteHoldDropped,
    #[doc = "An append that was proposed and not committed in time is said to be refused."]
    UnknownSaidRefused,
    #[doc = "The ack of an append that shares its entry with others names the place of the first of them."]
    AckOfAnother,
    #[doc = "A node asks for votes with a disk that is not the one of the membership."]
    ElectionOnOtherDisk,
    #[doc = "A new leader says that it is master before it knows what its predecessors committed."]
    MasterTooEarly,
    // rpc
    #[doc = "A leader is given up that still counts on what was acknowledged to it."]
    GivenUpTooEarly,
    #[doc = "A disk that was wiped votes and acknowledges in the name of the one before."]
    WipedDiskAnswers,
    #[doc = "A node without data lets everybody who asks form the cluster with it."]
    PromisedToAll,
    #[doc = "A connection to a peer that is silent is kept for ever, and so is a stream."]
    SilenceTolerated,
    // node
    #[doc = "A follower serves a promised read one entry before it has all that the read must see."]
    ReadOneBehind,
    #[doc = "The records of a batch travel one by one."]
    BatchTorn,
    // client
    #[doc = "A client sends again what may be in the log already."]
    UnknownResent,
    #[doc = "A client says that an append was refused when the stream that took it broke."]
    BrokenSaidRefused,
    #[doc = "A client waits for the answer to an append past its deadline."]
    DeadlineIgnored,
}

/// Whether the bug is in this program.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn planted(_: Mutant) -> bool {
    false
}

/// Says at the start of a node which bug is planted. Here: none can be.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn warn() {}

#[cfg(feature = "mutants")]
pub(crate) use switched::{planted, warn};

#[cfg(feature = "mutants")]
mod switched {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{ALL, Mutant};

    /// What the environment names, read once.
    fn chosen() -> Option<(Mutant, &'static str, &'static str)> {
        static CHOSEN: OnceLock<Option<(Mutant, &'static str, &'static str)>> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let name = std::env::var("DLEDGER_MUTANT").ok().filter(|name| !name.is_empty())?;
            let found = ALL.iter().find(|(_, known, _)| *known == name);
            if found.is_none() {
                let all: Vec<_> = ALL.iter().map(|(_, known, _)| *known).collect();
                eprintln!("DLEDGER_MUTANT={name}: no mutant is called that; one of {}", all.join(", "));
                std::process::exit(2);
            }
            found.copied()
        })
    }

    /// Whether the bug is in this program.
    #[inline]
    pub(crate) fn planted(mutant: Mutant) -> bool {
        let Some((_, name, _)) = chosen().filter(|(chosen, ..)| *chosen == mutant) else { return false };
        static REACHED: AtomicBool = AtomicBool::new(false);
        if !REACHED.swap(true, Ordering::Relaxed) {
            // One that is never reached proves nothing about the tests that pass.
            eprintln!("mutant {name} reached");
        }
        true
    }

    /// Says at the start of a node which bug is planted.
    pub(crate) fn warn() {
        match chosen() {
            Some((_, name, broken)) => {
                tracing::error!(
                    mutant = name,
                    broken,
                    "THIS NODE IS BROKEN ON PURPOSE: trust nothing it says or keeps"
                );
            }
            None => tracing::warn!("built with `mutants`, for tests: the environment could switch safety rules off"),
        }
    }
}
