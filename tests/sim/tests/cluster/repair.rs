//! What a damaged node may do before its repair is settled.

use std::time::Duration;

use dledger::{RepairPolicy, StartError};
use dledger_sim::{SimCluster, pass, run};

/// Node 0 lacks what only the dead node 2 has besides: to vote for node 1 would be to lose it.
#[test]
fn a_damaged_node_does_not_vote_on_what_it_lacks() {
    run(7, async {
        let cluster = SimCluster::new(7, 3, |config| config.repair = RepairPolicy::FromPeers);
        for i in 0..3 {
            cluster.start(i).await.unwrap();
        }
        cluster.wait("a master", Duration::from_secs(10), || cluster.master().is_some()).await;
        let append = async |record: &str| {
            for _ in 0..100 {
                let Some(master) = cluster.master() else {
                    pass(Duration::from_millis(50)).await;
                    continue;
                };
                match cluster.append(master, vec![record.to_owned().into()]).await {
                    Ok(acks) => return acks[0],
                    Err(_) => pass(Duration::from_millis(50)).await,
                }
            }
            panic!("{}", cluster.describe());
        };
        append("on all three").await;
        cluster.isolate(1);
        cluster.wait("another master", Duration::from_secs(10), || cluster.master() != Some(1)).await;
        let ack = append("on nodes 0 and 2").await;
        for i in 0..3 {
            cluster.kill(i);
        }
        cluster.heal();
        cluster.rot(0, ack.position + 6);
        cluster.start(1).await.unwrap();
        let error = cluster.start(0).await.unwrap_err();
        assert!(matches!(error, StartError::Unrepaired { .. }), "{error}");
        assert!(error.to_string().contains("not settled"), "{error}");
        assert_eq!(cluster.master(), None, "{}", cluster.describe());
        // With the third one back there is a quorum that has it, and so has the damaged one then.
        cluster.start(2).await.unwrap();
        cluster.start(0).await.unwrap();
        append("at the end").await;
        for i in 0..3 {
            cluster.wait("all", Duration::from_secs(10), || cluster.ledger(i).unwrap().status().committed == 3).await;
            let records = cluster.committed(i, 0).await;
            assert_eq!((records[1].position, &records[1].body[..]), (ack.position, &b"on nodes 0 and 2"[..]));
        }
    });
}
