//! A network of its own: a namespace for each node and one for the clients, joined by a bridge in a further one. The
//! host's namespace has no part in it, so none of its addresses or rules is ever touched.

use std::fmt::Write;
use std::fs::File;
use std::os::fd::AsFd;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Error, Party, Result, os};

/// The port every node listens on: each has a network for itself.
pub(crate) const PORT: u16 = 40911;

const CLIENTS: u64 = 254;

/// The namespaces of one machine.
pub(crate) struct Spaces {
    name: String,
}

impl Spaces {
    /// Makes them; they are removed with all else that carries the name.
    pub(crate) fn new(name: &str, nodes: u64) -> Result<Self> {
        for program in ["ip", "nft", "nsenter"] {
            os::installed(program).map_err(|why| Error::not_here("network namespaces", why))?;
        }
        if nodes >= CLIENTS {
            return Err(Error::not_here("network namespaces", "too many nodes for one bridge"));
        }
        let spaces = Self { name: name.to_owned() };
        let switch = format!("{name}-sw");
        os::run("ip", &["netns", "add", &switch])?;
        let mut wires = String::from("link add br0 type bridge\nlink set br0 up\n");
        let parties: Vec<Party> = (1..=nodes).map(Party::Node).chain([Party::Clients]).collect();
        for party in &parties {
            let space = spaces.space(*party);
            os::run("ip", &["netns", "add", &space])?;
            let _ = writeln!(wires, "link add {party} type veth peer name eth0 netns {space}");
            let _ = writeln!(wires, "link set {party} master br0 up");
        }
        os::run_with("ip", &["-n", &switch, "-batch", "-"], &wires)?;
        for party in &parties {
            let own = format!("addr add {}/24 dev eth0\nlink set eth0 up\nlink set lo up\n", address(*party));
            os::run_with("ip", &["-n", &spaces.space(*party), "-batch", "-"], &own)?;
        }
        // Whether packets can be filtered and counted, not merely the tool be there.
        spaces.nft(
            Party::Clients,
            "add table ip probe\nadd chain ip probe in { type filter hook input priority 0; }\ndelete table ip probe\n",
        )?;
        Ok(spaces)
    }

    fn space(&self, party: Party) -> String {
        match party {
            Party::Node(id) => format!("{}-n{id}", self.name),
            Party::Clients => format!("{}-c", self.name),
        }
    }

    /// What a command must begin with to run in the namespace of `party`; it becomes the program, and forks no child.
    pub(crate) fn wrapper(&self, party: Party) -> [String; 2] {
        // Not `ip netns exec`: that copies the mounts, which then cannot be unmounted.
        ["nsenter".to_owned(), format!("--net=/run/netns/{}", self.space(party))]
    }

    /// Runs a program in the namespace of `party`.
    pub(crate) fn run(&self, party: Party, program: &[&str], input: &str) -> Result<String> {
        let [enter, space] = self.wrapper(party);
        let args: Vec<&str> = [&*space].into_iter().chain(program.iter().copied()).collect();
        os::run_with(&enter, &args, input)
    }

    /// Has nft carry out `commands` in the namespace of `party`.
    pub(crate) fn nft(&self, party: Party, commands: &str) -> Result<()> {
        self.run(party, &["nft", "-f", "-"], commands).map(|_| ())
    }

    /// Moves the calling thread into the namespace of `party`, and with it those that it will start.
    pub(crate) fn enter(&self, party: Party) -> Result<()> {
        let path = format!("/run/netns/{}", self.space(party));
        let space = File::open(&path).map_err(Error::io("open", &path))?;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| Error::io("enter", &path)(errno.into()))
    }
}

/// The address of a party, in every machine the same: they do not see each other.
pub(crate) fn address(party: Party) -> String {
    match party {
        Party::Node(id) => format!("10.193.0.{id}"),
        Party::Clients => format!("10.193.0.{CLIENTS}"),
    }
}
