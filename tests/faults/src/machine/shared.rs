//! What a machine is made of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use parking_lot::Mutex;

use super::disk::Disk;
use super::proxies::Proxies;
use super::shim::Shim;
use super::spaces::{PORT, Spaces, address};
use super::throttle::Throttles;
use super::{Capabilities, Capability, Error, Node, Options, Party, Result, freeze, os, power, queue, sweep};

/// What a machine is made of. Dropped, all of it is taken away.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) capabilities: Capabilities,
    disks: Vec<(u64, Disk)>,
    network: Network,
    throttles: Option<Throttles>,
    shim: Option<Shim>,
    gone: Mutex<bool>,
}

enum Network {
    Spaces(Spaces),
    Proxies(Proxies),
}

impl Shared {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let name = sweep::name();
        let built = Self::build(&name, options);
        if built.is_err() {
            for problem in sweep::remove(&name) {
                eprintln!("left by a machine that could not be made: {problem}");
            }
        }
        built
    }

    fn build(name: &str, options: &Options) -> Result<Self> {
        let home = sweep::home(name);
        fs::create_dir(&home).map_err(Error::io("create", &home))?;
        let mut found = Capabilities::default();
        let unprivileged = || Err(Error::not_here("means of root", "not allowed, by options or environment"));
        let told_not_to = std::env::var_os("DLEDGER_FAULTS_UNPRIVILEGED").is_some_and(|value| value == "1");
        let may = options.privileged && !told_not_to;
        let root = || match (may, rustix::process::geteuid().is_root()) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::not_here("means of root", "not root")),
            (false, _) => unprivileged(),
        };

        let spaces = note(&mut found, Capability::Namespaces, root().and_then(|()| Spaces::new(name, options.nodes)))?;
        let why = found.why_not(Capability::Namespaces).unwrap_or_default().to_owned();
        let queued = spaces.as_ref().ok_or_else(|| Error::not_here("packet queue", why));
        note(&mut found, Capability::Queue, queued.and_then(queue::probe))?;
        let network = match spaces {
            Some(spaces) => Network::Spaces(spaces),
            None => Network::Proxies(Proxies::new(name, options.nodes)?),
        };

        let ids = 1..=options.nodes;
        let mounted = || ids.clone().map(|id| Ok((id, Disk::mounted(&home, id, options.disk)?))).collect();
        let disks: Option<Vec<(u64, Disk)>> =
            note(&mut found, Capability::Filesystem, root().and_then(|()| mounted()))?;
        let first = disks.as_ref().and_then(|disks| Some(&disks.first()?.1));
        let why = found.why_not(Capability::Filesystem).unwrap_or_default().to_owned();
        let first = || first.ok_or_else(|| Error::not_here("filesystem", &why));
        note(&mut found, Capability::PowerLoss, first().and_then(power::works))?;
        note(&mut found, Capability::Freeze, first().and_then(freeze::probe))?;
        let throttles = first().and_then(|_| Throttles::new(name, disks.as_deref().unwrap_or_default()));
        let throttles = note(&mut found, Capability::Throttle, throttles)?;
        let disks = match disks {
            Some(disks) => disks,
            None => plain(&home, ids)?,
        };

        let shim = note(&mut found, Capability::Shim, Shim::build(&home))?;
        let mut shared = Self {
            name: name.to_owned(),
            nodes: Vec::new(),
            capabilities: found,
            disks,
            network,
            throttles,
            shim,
            gone: Mutex::new(false),
        };
        shared.nodes = (1..=options.nodes).map(|id| shared.place(id)).collect::<Result<_>>()?;
        Ok(shared)
    }

    fn place(&self, id: u64) -> Result<Node> {
        let (bind, address) = match &self.network {
            Network::Spaces(_) => {
                let address = format!("{}:{PORT}", address(Party::Node(id)));
                (address.clone(), address)
            }
            Network::Proxies(proxies) => {
                let (bind, address) = proxies.addresses[id as usize - 1];
                (bind.to_string(), address.to_string())
            }
        };
        let mut wrapper = Vec::new();
        wrapper.extend(self.throttles.iter().flat_map(|throttles| throttles.wrapper(id)));
        if let Network::Spaces(spaces) = &self.network {
            wrapper.extend(spaces.wrapper(Party::Node(id)));
        }
        let mut environment = Vec::new();
        if let Some(shim) = &self.shim {
            shim.make_page(id)?;
            environment.extend(shim.environment(id));
        }
        let owner = format!("{}/{id}", self.name);
        Ok(Node { id, dir: self.disk(id).data(), bind, address, wrapper, environment, owner })
    }

    pub(crate) fn processes(&self, id: u64) -> Vec<u32> {
        let own = format!("{}/{id}", self.name);
        os::processes(|owner| owner == own)
    }

    /// The node that a file is on the disk of.
    pub(crate) fn owner(&self, file: &Path) -> Option<u64> {
        self.disks.iter().find(|(_, disk)| file.starts_with(disk.root())).map(|(id, _)| *id)
    }

    pub(crate) fn disk(&self, id: u64) -> &Disk {
        &self.disks.iter().find(|(own, _)| *own == id).unwrap_or_else(|| panic!("there is no node {id}")).1
    }

    pub(crate) fn spaces(&self) -> Result<&Spaces> {
        match &self.network {
            Network::Spaces(spaces) => Ok(spaces),
            Network::Proxies(_) => Err(self.missing(Capability::Namespaces)),
        }
    }

    pub(crate) fn proxies(&self) -> Option<&Proxies> {
        match &self.network {
            Network::Spaces(_) => None,
            Network::Proxies(proxies) => Some(proxies),
        }
    }

    pub(crate) fn throttles(&self) -> Result<&Throttles> {
        self.throttles.as_ref().ok_or_else(|| self.missing(Capability::Throttle))
    }

    pub(crate) fn shim(&self) -> Result<&Shim> {
        self.shim.as_ref().ok_or_else(|| self.missing(Capability::Shim))
    }

    fn missing(&self, capability: Capability) -> Error {
        Error::not_here(capability.name(), self.capabilities.why_not(capability).unwrap_or("it was not made"))
    }

    /// Takes all away, once: what could not be.
    pub(crate) fn take_away(&self) -> Vec<String> {
        let mut gone = self.gone.lock();
        if std::mem::replace(&mut *gone, true) { Vec::new() } else { sweep::remove(&self.name) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for problem in self.take_away() {
            eprintln!("left behind: {problem}");
        }
    }
}

fn plain(home: &Path, ids: std::ops::RangeInclusive<u64>) -> Result<Vec<(u64, Disk)>> {
    // What was begun of the filesystems is in the way.
    for at in sweep::mounts().into_iter().map(|(_, at)| at).filter(|at| at.starts_with(home)) {
        os::run("umount", &[&at.to_string_lossy()])?;
    }
    for id in ids.clone() {
        let _ = (fs::remove_dir(home.join(format!("n{id}"))), fs::remove_file(home.join(format!("n{id}.img"))));
    }
    ids.map(|id| Ok((id, Disk::plain(home, id)?))).collect()
}

/// Notes whether something could be had. That this machine cannot do it may come as any error: a container gives root
/// without its rights, a kernel knows no such call. But what this process has had before is here.
///
/// # Errors
/// It was had before, and fails now: what would be tested without it is not what was asked for.
fn note<T>(found: &mut Capabilities, capability: Capability, tried: Result<T>) -> Result<Option<T>> {
    static HAD: Mutex<BTreeSet<Capability>> = Mutex::new(BTreeSet::new());
    let mut had_before = HAD.lock();
    let (answer, had) = match tried {
        Ok(had) => {
            had_before.insert(capability);
            (Ok(()), Some(had))
        }
        Err(Error::NotHere { why, .. }) => (Err(why), None),
        Err(error) if had_before.contains(&capability) => {
            let name = capability.name();
            return Err(Error::State(format!("{name}: this machine could do it before, and now: {error}")));
        }
        Err(error) => (Err(error.to_string()), None),
    };
    found.set(capability, answer);
    Ok(had)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_had_before_is_not_done_without() {
        let mut found = Capabilities::default();
        let mut noted = |tried| note::<()>(&mut found, Capability::Throttle, tried).map(|had| had.is_some());
        let broken = || Err(Error::State("it broke".into()));
        let told_not_to = || Err(Error::not_here("means of root", "not allowed"));
        assert!(!noted(told_not_to()).unwrap());
        assert!(noted(Ok(())).unwrap());
        assert!(noted(broken()).unwrap_err().to_string().ends_with("and now: it broke"));
        assert!(!noted(told_not_to()).unwrap());
        assert_eq!(found.missing().get("disk throttle").map(String::as_str), Some("not allowed"));
        // Where it never worked, it is not here.
        let mut found = Capabilities::default();
        assert!(note::<()>(&mut found, Capability::Freeze, broken()).unwrap().is_none());
        assert_eq!(found.had(), Vec::<&str>::new());
    }
}
