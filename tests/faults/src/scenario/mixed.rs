//! Whatever the seed says, one after the other.

use super::{Act, Stage, Trouble, table};

/// Faults of one round.
const ROUND: usize = 5;

/// Some of what other scenarios do, each when the one before is over. What this machine cannot do is left out; a note
/// says so, and a run that is left with no fault at all proves nothing.
pub(super) async fn mixed(stage: &mut Stage) -> Result<(), Trouble> {
    let acts = table::MIXED;
    for _ in 0..ROUND {
        let act: Act = *stage.rng.pick(acts);
        match act(stage).await {
            Ok(()) => {}
            Err(Trouble::NotHere(why)) => stage.note(format!("left out: {why}")),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(())
}
