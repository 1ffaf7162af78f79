//! The task that asks the other members what time it is, when this node leads and its clock is in doubt.

use std::time::Duration;

use futures::future::join_all;

use crate::log::age::SLACK;
use crate::node::closing::run_until_closed;
use crate::node::ledger::{Ledger, WeakLedger};
use crate::raft::Runtime;
use crate::types::{Member, Span};

/// How long until the task asks them again: a person has to set the clock right.
const AGAIN: Duration = Duration::from_secs(10);

/// What the members' clocks say of this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClockVerdict {
    /// A majority of the voters, this node included, has it as late.
    Agreed,
    /// Too many voters have it earlier for that.
    Alone,
    /// Too few voters answer.
    Unknown,
}

/// Asks on behalf of one ledger.
pub(crate) struct ClockCheck {
    ledger: WeakLedger,
}

impl ClockCheck {
    pub(crate) fn new(ledger: WeakLedger) -> Self {
        Self { ledger }
    }

    /// Runs until the ledger is closed.
    pub(crate) async fn run<R: Runtime>(self) {
        let Some(role) = self.ledger.upgrade().map(|ledger| ledger.role()) else { return };
        run_until_closed(role, self.watch::<R>()).await;
    }

    async fn watch<R: Runtime>(&self) {
        let Some(mut doubt) = self.ledger.upgrade().map(|ledger| ledger.replica().timestamps.doubt()) else { return };
        let mut told = None;
        loop {
            let Ok(Some(doubted)) = doubt.wait_for(Option::is_some).await.map(|doubt| *doubt) else { return };
            let Some(ledger) = self.ledger.upgrade() else { return };
            let verdict = ask(&ledger).await;
            let (group, stamps) = (ledger.group(), &ledger.replica().timestamps);
            let ahead = Duration::from_millis(doubted.ahead);
            match verdict {
                ClockVerdict::Agreed => {
                    stamps.confirm();
                    let ahead = Span(ahead);
                    tracing::info!(%group, %ahead,
                        "this node's clock is ahead of the newest entry, and the other voters' clocks agree");
                    told = None;
                    continue;
                }
                ClockVerdict::Alone => stamps.refute(),
                ClockVerdict::Unknown => {}
            }
            if told != Some(verdict) {
                let others = match verdict {
                    ClockVerdict::Alone => "the other voters' clocks are not: set this one right",
                    _ => {
                        "too few voters say what time it is: this node trusts its clock if it still says so in an hour"
                    }
                };
                tracing::warn!(
                    %group,
                    ahead = %Span(ahead),
                    "this node's clock is ahead of the newest entry and the time that has passed, and {others}. Until \
                     then it stamps entries with the time that is due"
                );
                told = Some(verdict);
            }
            drop(ledger);
            R::sleep(AGAIN).await;
        }
    }
}

/// Asks all voters.
async fn ask(ledger: &Ledger) -> ClockVerdict {
    let replica = ledger.replica();
    let voters: Vec<Member> = replica
        .view
        .borrow()
        .members
        .iter()
        .filter(|member| member.voter)
        .map(|member| member.member.clone())
        .collect();
    let others = voters.iter().filter(|member| member.id != replica.identity.node);
    let answers = join_all(others.map(|member| clock_of(ledger, member))).await;
    verdict(voters.len(), replica.timestamps.clock(), &answers)
}

/// The member's time; `None` if it does not say.
async fn clock_of(ledger: &Ledger, member: &Member) -> Option<u64> {
    let answer = ledger.ask_member(member).await.ok()?;
    (answer.clock_ms != 0).then_some(answer.clock_ms)
}

/// `answers`: the clocks of the other voters, out of `voters` in all.
fn verdict(voters: usize, own: u64, answers: &[Option<u64>]) -> ClockVerdict {
    let majority = voters / 2 + 1;
    let late = answers.iter().flatten().filter(|clock| clock.saturating_add(SLACK) >= own).count();
    let early = answers.iter().flatten().count() - late;
    if late + 1 >= majority {
        ClockVerdict::Agreed
    } else if voters - early < majority {
        ClockVerdict::Alone
    } else {
        ClockVerdict::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_if_a_majority_of_the_voters_has_it_that_late() {
        let (own, late, early) = (1_000_000, Some(1_000_000 - SLACK), Some(1_000_000 - SLACK - 1));
        assert_eq!(verdict(1, own, &[]), ClockVerdict::Agreed);
        assert_eq!(verdict(3, own, &[late, early]), ClockVerdict::Agreed);
        assert_eq!(verdict(3, own, &[early, early]), ClockVerdict::Alone);
        assert_eq!(verdict(3, own, &[None, early]), ClockVerdict::Unknown);
        assert_eq!(verdict(3, own, &[None, None]), ClockVerdict::Unknown);
        assert_eq!(verdict(2, own, &[early]), ClockVerdict::Alone);
        assert_eq!(verdict(2, own, &[Some(u64::MAX)]), ClockVerdict::Agreed);
        assert_eq!(verdict(5, own, &[late, early, early, None]), ClockVerdict::Unknown);
        assert_eq!(verdict(0, own, &[]), ClockVerdict::Agreed);
    }
}
