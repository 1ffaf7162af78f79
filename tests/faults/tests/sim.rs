//! Whole clusters of this very code, deterministic: simulated disk, network and time.
//!
//! `DLEDGER_SEEDS=n` runs more seeds, `DLEDGER_SEED=x` runs one again. A failure names its seed. What runs is in
//! `src/sim/`; `dledger-faults` runs the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what cannot go on fails its test")]

use dledger_faults::sim::{self, families, family};

/// Tests of functions of the same name, in a module.
macro_rules! scenarios {
    ($($module:ident: $($name:ident),*;)*) => {$(
        mod $module {
            $(#[test]
            fn $name() {
                dledger_faults::sim::$module::$name();
            })*
        }
    )*};
}

/// Tests of families, by their laws.
macro_rules! laws {
    ($($name:ident;)*) => {
        $(#[test]
        fn $name() {
            let law = stringify!($name);
            let family = families().iter().find(|family| family.law == law);
            sim::each(family.unwrap_or_else(|| panic!("{law}: no family shows that")));
        })*

        #[test]
        fn every_family_has_its_test() {
            let tests = [$(stringify!($name)),*];
            let without: Vec<_> = families().iter().filter(|family| !tests.contains(&family.law)).collect();
            assert!(without.is_empty(), "{:?}", without.iter().map(|family| family.name).collect::<Vec<_>>());
        }
    };
}

scenarios! {
    first_steps: three_nodes_elect_replicate_part_crash_and_heal;
    succession:
        a_master_whose_process_dies_is_succeeded_before_its_lease_is_over,
        without_fast_failover_a_dead_masters_lease_runs_out_first,
        a_silent_masters_lease_runs_out_first,
        a_master_that_only_seems_dead_is_succeeded_once_and_follows,
        a_master_whose_disk_hangs_gives_way;
}

laws! {
    acknowledged_records_survive_power_loss_and_partitions;
    acknowledged_records_survive_all_that_a_network_can_do;
    acknowledged_records_survive_failing_disks;
    acknowledged_records_survive_bit_rot_on_a_minority;
    acknowledged_records_survive_killed_processes_without_a_sync;
    nodes_that_start_in_any_order_form_exactly_one_cluster_of_all;
    nodes_with_different_peer_lists_never_form_two_clusters;
    two_processes_of_the_lowest_id_never_form_two_clusters;
    a_node_that_joins_forms_nothing_and_promises_itself_to_nobody;
    acknowledged_records_survive_power_loss_until_retention_removes_them;
    acknowledged_records_survive_failing_disks_until_retention_removes_them;
    acknowledged_records_survive_lost_disks_that_are_replaced_one_by_one;
    acknowledged_records_survive_members_that_come_and_go;
}

#[test]
fn a_seed_determines_everything() {
    for name in ["retention", "members"] {
        let run = |seed| family(name).unwrap().run(seed, None).unwrap();
        let one = run(7);
        assert_eq!(one, run(7));
        assert_ne!(one.trace, run(8).trace);
    }
}
