//! What can be done on this machine, found out by trying.

use std::collections::BTreeMap;
use std::fmt;

use super::{Error, Result};

/// Something a fault needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Network namespaces joined by a bridge, with packet filters in them. Without: TCP proxies.
    Namespaces,
    /// Packets held back by a queue to this process. Without: held back by the proxies, or not at all.
    Queue,
    /// A filesystem of its own for each node.
    Filesystem,
    /// Such a filesystem shut down under its users, as by a loss of power.
    PowerLoss,
    /// Such a filesystem that lets nobody write for a while.
    Freeze,
    /// Such a filesystem that is slow.
    Throttle,
    /// A library between a process and the system, built with the C compiler that Rust links with.
    Shim,
}

impl Capability {
    /// All there are.
    pub const ALL: [Self; 7] =
        [Self::Namespaces, Self::Queue, Self::Filesystem, Self::PowerLoss, Self::Freeze, Self::Throttle, Self::Shim];

    /// As it is written in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "network namespaces",
            Self::Queue => "packet queue",
            Self::Filesystem => "filesystem per node",
            Self::PowerLoss => "filesystem shutdown",
            Self::Freeze => "filesystem freeze",
            Self::Throttle => "disk throttle",
            Self::Shim => "preloaded library",
        }
    }
}

/// What can be done on this machine, and why the rest cannot.
#[derive(Debug, Clone, Default)]
pub struct Capabilities(BTreeMap<Capability, Result<(), String>>);

impl Capabilities {
    pub(crate) fn set(&mut self, capability: Capability, answer: Result<(), String>) {
        self.0.insert(capability, answer);
    }

    /// Whether it can be had.
    pub fn has(&self, capability: Capability) -> bool {
        matches!(self.0.get(&capability), Some(Ok(())))
    }

    /// Why it cannot be had; nothing if it can.
    pub fn why_not(&self, capability: Capability) -> Option<&str> {
        match self.0.get(&capability) {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(why),
            None => Some("not looked for"),
        }
    }

    /// The names of all that can be had.
    pub fn had(&self) -> Vec<&'static str> {
        Capability::ALL.into_iter().filter(|capability| self.has(*capability)).map(Capability::name).collect()
    }

    /// The names of all that cannot be had, and why.
    pub fn missing(&self) -> BTreeMap<&'static str, String> {
        let missing = |capability: Capability| Some((capability.name(), self.why_not(capability)?.to_owned()));
        Capability::ALL.into_iter().filter_map(missing).collect()
    }

    /// An error where it cannot be had.
    ///
    /// # Errors
    /// [`Error::NotHere`], with why not.
    pub fn need(&self, capability: Capability) -> Result<()> {
        self.why_not(capability).map_or(Ok(()), |why| Err(Error::not_here(capability.name(), why)))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for capability in Capability::ALL {
            let answer = self.why_not(capability).map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
            writeln!(f, "{:<20} {answer}", capability.name())?;
        }
        Ok(())
    }
}
