//! The real gRPC stack, servers, peers and clients, on a simulated network, disk and time: layer B.
//!
//! `DLEDGER_SEEDS=n` runs more seeds, `DLEDGER_SEED=x` runs one again. A failure names its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what cannot go on fails its test")]

use dledger_faults::wire::scenarios;

#[path = "wire/seeds.rs"]
mod seeds;
#[path = "wire/system.rs"]
mod system;

#[test]
fn a_master_that_is_held_is_left_for_the_next_one() {
    seeds::each("a_master_that_is_held_is_left_for_the_next_one", 2, scenarios::held_master);
}

#[test]
fn calls_over_held_links_end_at_their_deadline() {
    seeds::each("calls_over_held_links_end_at_their_deadline", 2, scenarios::held_clients);
}

#[test]
fn half_open_connections_are_given_up_for_new_ones() {
    seeds::each("half_open_connections_are_given_up_for_new_ones", 3, scenarios::half_open);
}

#[test]
fn a_master_that_only_hears_or_is_only_heard_is_succeeded() {
    seeds::each("a_master_that_only_hears_or_is_only_heard_is_succeeded", 2, scenarios::one_way);
}

#[test]
fn nodes_and_clients_50_ms_apart_work_as_near_ones() {
    seeds::each("nodes_and_clients_50_ms_apart_work_as_near_ones", 1, scenarios::far_apart::<50>);
}

#[test]
fn nodes_and_clients_200_ms_apart_work_as_near_ones() {
    seeds::each("nodes_and_clients_200_ms_apart_work_as_near_ones", 1, scenarios::far_apart::<200>);
}

#[test]
fn nodes_and_clients_400_ms_apart_work_as_near_ones() {
    seeds::each("nodes_and_clients_400_ms_apart_work_as_near_ones", 1, scenarios::far_apart::<400>);
}

#[test]
fn nodes_and_clients_800_ms_apart_work_as_near_ones() {
    seeds::each("nodes_and_clients_800_ms_apart_work_as_near_ones", 1, scenarios::far_apart::<800>);
}

#[test]
fn a_node_that_restarts_is_connected_to_again() {
    seeds::each("a_node_that_restarts_is_connected_to_again", 2, scenarios::restarts);
}

#[test]
fn frames_cut_at_any_byte_confuse_nobody() {
    seeds::each("frames_cut_at_any_byte_confuse_nobody", 2, scenarios::cut_frames);
}

#[test]
fn acknowledged_records_survive_whatever_happens_to_links_and_nodes() {
    seeds::each("acknowledged_records_survive_whatever_happens_to_links_and_nodes", 2, scenarios::chaos);
}

/// What is compared has the hash of the whole history, to the nanosecond.
#[test]
fn a_seed_determines_everything() {
    if std::env::var_os("DLEDGER_SEED").is_some() {
        println!("it runs a seed of its own");
        return;
    }
    let test = "acknowledged_records_survive_whatever_happens_to_links_and_nodes";
    assert_eq!(seeds::in_a_process(test, 1000), seeds::in_a_process(test, 1000));
}
