//! Whatever the seed says, one after the other and some at once.

use super::{Act, Stage, Trouble, table};

/// Faults of one round.
const ROUND: usize = 5;

/// Some of what other scenarios do. What this machine cannot do is left out.
pub(super) async fn mixed(stage: &mut Stage) -> Result<(), Trouble> {
    let acts = table::MIXED;
    for _ in 0..ROUND {
        let act: Act = *stage.rng.pick(acts);
        match act(stage).await {
            Ok(()) | Err(Trouble::NotHere(_)) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(())
}
