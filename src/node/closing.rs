//! Waiting until a ledger is closed.

use tokio::sync::watch;

use crate::types::Role;

/// Waits until nothing more comes of a ledger, and says why.
pub(super) async fn final_reason(role: &mut watch::Receiver<Role>) -> String {
    // An error: the role task is gone, and the ledger with it.
    let last = role.wait_for(Role::is_final).await.map_or(Role::Stopped, |role| role.clone());
    last.final_reason().unwrap_or_default().to_owned()
}

/// Runs `task` until it ends or nothing more comes of the ledger that has this role.
pub(super) async fn run_until_closed(mut role: watch::Receiver<Role>, task: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        // An error: the role task is gone, and the ledger with it.
        _ = role.wait_for(Role::is_final) => {}
        () = task => {}
    }
}
