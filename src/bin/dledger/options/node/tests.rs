//! Options of a node: where they come from, and what is refused.

use clap::Parser;
use dledger::Retention;

use super::super::values::INTERVAL;
use super::*;

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

const PEERS: &str = "n0-127.0.0.1:40911;n1-127.0.0.1:40912;n2-127.0.0.1:40913";

fn flags(line: &[&str]) -> Options {
    Flags::try_parse_from(std::iter::once("serve").chain(line.iter().copied())).unwrap().options
}

fn refusal(options: Options) -> String {
    match options.into_config(&Sources::default()) {
        Err(Failure::Error(_, error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_is_found_from_the_same_machine_by_what_it_serves_with() {
    let own = |line: &[&str]| match flags(line).own(&Sources::default()) {
        Ok(own) => own.address,
        Err(Failure::Error(_, error)) => error,
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(own(&["--group", "g", "--id", "n1", "--peers", PEERS]), "127.0.0.1:40912");
    assert_eq!(own(&["--group", "g", "--id", "n1", "--peers", PEERS, "--bind", "0.0.0.0:7"]), "127.0.0.1:7");
    assert_eq!(own(&["--group", "g", "--id", "n1", "--bind", "[::]:7", "--advertise", "h:9"]), "[::1]:7");
    assert!(own(&["--group", "g", "--id", "n1", "--bind", "h:0"]).contains("name a port"));
    assert!(own(&["--group", "g", "--id", "n1"]).contains("--bind is missing"));
    assert!(own(&["--group", "g"]).contains("--id is missing"));
}

#[test]
fn the_node_binds_to_its_own_address() {
    let options = flags(&["--group", "g", "--group", "h", "--id", "n1", "--peers", PEERS, "--data-dir", "DIR"]);
    let config = options.into_config(&Sources::default()).unwrap();
    assert_eq!((config.bind.as_str(), config.peers.len()), ("127.0.0.1:40912", 3));
    assert_eq!(config.groups, ["g".parse().unwrap(), "h".parse().unwrap()]);
    assert_eq!(config.data_dir, PathBuf::from("DIR"));
    assert_eq!(config.retention, None, "nothing is removed unless that is wanted");
}

#[test]
fn a_node_that_joins_needs_no_peers_but_an_address() {
    let all = ["--group", "g", "--group", "h", "--id", "n3", "--join", "--data-dir", "D"];
    assert!(refusal(flags(&all)).contains("--bind is missing"));
    let bind = ["--bind", "0.0.0.0:1", "--advertise", "n3.example:1"];
    let config = flags(&[&all[..], &bind].concat()).into_config(&Sources::default()).unwrap();
    assert!(config.join && config.peers.is_empty());
    // In the shell of an operator, who has the list of the cluster that it is to join.
    let config = flags(&[&all[..], &bind, &["--peers", PEERS]].concat()).into_config(&Sources::default()).unwrap();
    assert!(config.join && config.peers.is_empty());
    assert!(refusal(flags(&[&all[..], &["--peers", PEERS]].concat())).contains("own id n3"));
    assert!(refusal(flags(&[&all[..], &bind, &["--peers", "n0"]].concat())).contains("cannot be read"));
    let file: Options = toml::from_str("join = true").unwrap();
    assert!(flags(&[&all[..6], &all[7..], &bind].concat()).or(file).join == Some(true));
}

#[test]
fn a_cluster_of_one_is_asked_for_by_name() {
    let all = ["--group", "g", "--id", "n0", "--data-dir", "D"];
    let said = refusal(flags(&all));
    assert!(["--peers", "--join", "--single"].iter().all(|way| said.contains(way)), "{said}");
    assert!(refusal(flags(&[&all[..], &["--single"]].concat())).contains("--bind is missing"));
    let file: Options = toml::from_str("single = true\nbind = \"127.0.0.1:1\"").unwrap();
    let config = flags(&all).or(file).into_config(&Sources::default()).unwrap();
    assert!(config.single && config.peers.is_empty());
    let both = [&all[..], &["--bind", "127.0.0.1:1", "--single", "--join"]].concat();
    assert!(refusal(flags(&both)).contains("single = true"));
}

#[test]
fn a_port_that_is_another_one_at_every_start_is_refused_also_for_one_node() {
    for way in ["--single", "--join"] {
        let all = ["--group", "g", "--id", "n0", "--data-dir", "D", "--bind", "127.0.0.1:0", way];
        let said = refusal(flags(&all));
        assert!(said.contains("--bind 127.0.0.1:0") && said.contains("--advertise"), "{said}");
        let led = [&all[..], &["--advertise", "proxy.example:1"]].concat();
        assert!(flags(&led).into_config(&Sources::default()).is_ok());
    }
}

#[test]
fn flags_win_over_the_file() {
    let text = r#"
        group = ["a", "b"]
        id = "n0"
        peers = "n0=h:1;n1=h:2"
        data-dir = "/from/file"
        durability = "interval:5ms"
        repair = "from-peers"
        segment-size = "64MiB"
        max-record = 1048576
        retention-age = "72h"
        retention-size = "64GiB"
        retention-force = 0.8
    "#;
    let file: Options = toml::from_str(text).unwrap();
    let config = flags(&["--data-dir", "/from/flag", "--segment-size", "32MiB"])
        .or(file)
        .into_config(&Sources::default())
        .unwrap();
    assert_eq!(config.data_dir, PathBuf::from("/from/flag"));
    assert_eq!((config.segment_size, config.max_record_bytes), (32 << 20, 1 << 20));
    assert_eq!(config.durability, Durability::Interval(Duration::from_millis(5)));
    assert_eq!((config.groups.len(), config.repair), (2, RepairPolicy::FromPeers));
    let expected = Retention {
        max_age: Some(Duration::from_secs(72 * 3600)),
        max_bytes: Some(64 << 30),
        force: 0.8,
        ..Retention::default()
    };
    assert_eq!(config.retention, Some(expected));
}

#[test]
fn what_is_wrong_in_the_file_is_named() {
    let cases = [
        ("data_directory = \"x\"", "data_directory"),
        ("durability = \"maybe\"", "no durability"),
        ("segment-size = \"big\"", "no size"),
        ("group = \"a b\"", "not valid"),
        ("repair = \"maybe\"", "write `refuse` or `from-peers`"),
        ("retention-age = \"long\"", "no time"),
        ("retention-size = \"big\"", "no size"),
        ("retention-hours = 3", "retention-hours"),
    ];
    for (text, expected) in cases {
        let error = toml::from_str::<Options>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let Err(Failure::Error(_, error)) = Options::from_file(Path::new("/no/such.toml"), &mut Sources::default()) else {
        panic!("opened")
    };
    assert!(error.starts_with("the file of options, /no/such.toml: "), "{error}");
}

#[test]
fn what_is_missing_or_does_not_fit_is_named() {
    assert!(refusal(flags(&["--group", "g"])).contains("--id is missing"));
    assert!(refusal(flags(&["--group", "g", "--id", "n0"])).contains("--peers is missing"));
    assert!(refusal(flags(&["--id", "n0", "--peers", PEERS, "--data-dir", "D"])).contains("--group is missing"));
    assert!(refusal(flags(&["--id", "n0", "--peers", PEERS, "--group", "g"])).contains("--data-dir is missing"));
    assert!(refusal(flags(&["--id", "n7", "--peers", PEERS])).contains("own id n7 is not among the peers"));
    // One that says where it listens may be a member, which its directory knows.
    let all = ["--group", "g", "--id", "n7", "--peers", PEERS, "--data-dir", "D", "--bind", "127.0.0.1:7"];
    let config = flags(&all).into_config(&Sources::default()).unwrap();
    assert_eq!((config.peers.len(), config.bind.as_str()), (3, "127.0.0.1:7"));
    let all = ["--group", "g", "--id", "n0", "--peers", PEERS, "--data-dir", "D", "--segment-size", "1000"];
    assert!(refusal(flags(&all)).contains("--segment-size = 1000"));
}

#[test]
fn the_wait_for_a_directory_is_half_a_minute_unless_it_is_given() {
    let all = ["--group", "g", "--id", "n0", "--peers", PEERS, "--data-dir", "D"];
    let waits = |options: Options| options.into_config(&Sources::default()).unwrap().lock_wait;
    assert_eq!(waits(flags(&all)), Duration::from_secs(30));
    assert_eq!(waits(flags(&[&all[..], &["--lock-wait", "0"]].concat())), Duration::ZERO);
    for (text, expected) in [("lock-wait = 0", 0), ("lock-wait = \"90s\"", 90)] {
        assert_eq!(waits(flags(&all).or(toml::from_str(text).unwrap())), Duration::from_secs(expected));
    }
    assert!(toml::from_str::<Options>("lock-wait = 7").unwrap_err().to_string().contains("is no time"));
}

#[test]
fn durability_reads_as_documented() {
    assert_eq!(durability("sync"), Ok(Durability::Sync));
    assert_eq!(durability("interval"), Ok(Durability::Interval(INTERVAL)));
    assert_eq!(durability("interval:1s"), Ok(Durability::Interval(Duration::from_secs(1))));
    assert!(durability("interval:soon").unwrap_err().contains("interval:10ms"));
}
