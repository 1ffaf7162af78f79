//! The walk in short: elect, replicate, part, crash, heal.

use std::time::Duration;

use bytes::Bytes;
use dledger::Role;
use dledger_sim::{self as sim, SimCluster};

const SOON: Duration = Duration::from_secs(10);

/// See its name.
///
/// # Panics
/// If that does not hold.
pub fn three_nodes_elect_replicate_part_crash_and_heal() {
    sim::run(1, async {
        let cluster = SimCluster::new(1, 3, |_| {});
        for i in 0..3 {
            cluster.start(i).await.unwrap();
        }
        cluster.wait("a master", SOON, || cluster.master().is_some()).await;
        let old = cluster.master().unwrap();
        for n in 0..50 {
            let acks = cluster.append(old, vec![format!("before {n}").into()]).await.unwrap();
            assert_eq!(acks[0].index, n);
        }
        let Some(Role::Master { term }) = cluster.role(old) else { panic!("not the master any more") };

        // Cut off, the old master acknowledges nothing; the others elect another.
        cluster.isolate(old);
        let lonely = sim::spawn({
            let cluster = cluster.clone();
            async move { cluster.append(old, vec!["lonely".into()]).await }
        });
        cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != old)).await;
        let new = cluster.master().unwrap();
        assert!(matches!(cluster.role(new), Some(Role::Master { term: later }) if later > term));
        let after = cluster.append(new, vec!["after".into(), "after that".into()]).await.unwrap();
        assert_eq!(after.iter().map(|ack| ack.index).collect::<Vec<_>>(), [50, 51]);
        lonely.await.unwrap_err();

        // It comes back, all lose their power at once, and nothing acknowledged is gone.
        cluster.heal();
        cluster.wait("a slave", SOON, || matches!(cluster.role(old), Some(Role::Slave { .. }))).await;
        for i in 0..3 {
            cluster.crash(i);
        }
        for i in 0..3 {
            cluster.start(i).await.unwrap();
        }
        cluster.wait("a master after the crash", SOON, || cluster.master().is_some()).await;
        let last = cluster.append(cluster.master().unwrap(), vec!["last".into()]).await.unwrap();
        cluster.wait("all to have it", SOON, || (0..3).all(|i| committed(&cluster, i) > last[0].index)).await;
        let records = cluster.committed(0, 0).await;
        assert_eq!(records, cluster.committed(1, 0).await);
        assert_eq!(records, cluster.committed(2, 0).await);
        let bodies: Vec<Bytes> = records.into_iter().map(|record| record.body).collect();
        assert_eq!(bodies[49..], ["before 49", "after", "after that", "last"].map(Bytes::from));
    });
}

fn committed(cluster: &SimCluster, i: usize) -> u64 {
    cluster.ledger(i).map_or(0, |ledger| ledger.status().committed)
}
