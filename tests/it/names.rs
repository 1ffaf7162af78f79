//! Names, not IPs: a cluster forms as soon as its names resolve, however late that is.
//!
//! Names are made to resolve by a hosts file of the test's own, mounted over `/etc/hosts` in a mount namespace
//! that only the test's processes see.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::kit;

const BIN: &str = env!("CARGO_BIN_EXE_dledger");

/// `program` with `hosts` for `/etc/hosts`.
fn with_hosts(hosts: &Path, program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#]);
    command.arg("sh").arg(hosts).arg(program).stdin(Stdio::null());
    command
}

struct Killed(Vec<Child>);

impl Drop for Killed {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_cluster_forms_when_its_names_resolve_at_last() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let allowed = with_hosts(&hosts, "true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("not run: this machine allows no mount namespace");
        return;
    }
    let place = kit(3).down().unwrap();
    let ports: Vec<_> = place.peers().iter().map(|peer| peer.address.rsplit(':').next().unwrap()).collect();
    let list = |host: &dyn Fn(usize) -> String| {
        (0..3).map(|n| format!("broker-{n}-{}:{}", host(n), ports[n])).collect::<Vec<_>>().join(";")
    };
    let (named, numbered) = (list(&|n| format!("broker-{n}.late.localhost.test")), list(&|_| "127.0.0.1".into()));

    let mut nodes = Killed(Vec::new());
    for (n, port) in ports.iter().enumerate() {
        let mut serve = with_hosts(&hosts, BIN);
        serve.args(["serve", "--group", "g", "--id", &format!("broker-{n}"), "--peers", &named]);
        serve.args(["--bind", &format!("127.0.0.1:{port}"), "--segment-size", "32MiB", "--data-dir"]);
        serve.arg(dir.path().join(n.to_string())).stdout(Stdio::piped()).stderr(Stdio::null());
        nodes.0.push(serve.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(nodes.0[n].stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(&format!("broker-{n}")), "{line}");
    }
    let status = Command::new(BIN).args(["status", "--json", "--group", "g", "--peers", &numbered]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    for node in status.as_array().unwrap() {
        assert_eq!((&node["role"], &node["term"]), (&"electing".into(), &0.into()), "{node}");
    }

    let mut file = std::fs::OpenOptions::new().append(true).open(&hosts).unwrap();
    for n in 0..3 {
        writeln!(file, "127.0.0.1 broker-{n}.late.localhost.test").unwrap();
    }
    let mut append = with_hosts(&hosts, BIN);
    append.args(["append", "--group", "g", "--peers", &named, "--timeout", "60s", "--json", "at last"]);
    let output = append.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ack: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ack["index"], 0, "{ack}");
}
