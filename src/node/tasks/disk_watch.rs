//! The task that reports a disk that hangs: a call that never ends fails nothing, and a slave whose disk hangs looks
//! merely behind.

use std::time::Duration;

use crate::node::node::WeakNode;
use crate::raft::TokioRuntime;

/// How often the task looks.
const LOOK: Duration = Duration::from_secs(1);

/// Watches the disk of `node` until the node is gone or stops.
pub(crate) async fn watch_disk(node: WeakNode) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(node) = node.upgrade() else { return };
        let outages = node.outages();
        if outages.is_hushed() {
            return;
        }
        let ledgers = node.ledgers();
        let open = ledgers.iter().filter(|ledger| !ledger.replica().role.borrow().is_final());
        let mut hangs: Vec<_> = open.filter_map(|ledger| Some((ledger.hangs()?, ledger.group().as_str()))).collect();
        // The last is what has taken longest, and the one that the log names.
        hangs.sort();
        outages.note_disk::<TokioRuntime>(hangs.into_iter().map(|((_, what), group)| (group, what)));
    }
}
