//! Whether the faults that a history claims really happened.

use std::collections::BTreeMap;

use crate::findings::Findings;
use crate::{FaultEvent, FaultPhase};

/// The faults of a history. One that was not installed, observed and removed proves nothing.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<u64, Fault>);

#[derive(Debug)]
struct Fault {
    kind: String,
    installed: bool,
    observed: bool,
    removed: bool,
}

impl Faults {
    pub(super) fn push(&mut self, event: FaultEvent, findings: &mut Findings) {
        let FaultEvent { fault: id, kind, phase, evidence, .. } = event;
        let new = || Fault { kind: kind.clone(), installed: false, observed: false, removed: false };
        let fault = self.0.entry(id).or_insert_with(new);
        if fault.kind != kind {
            findings.invalid(|| format!("fault {id} is a {} and a {kind}: number faults uniquely", fault.kind));
            return;
        }
        match phase {
            FaultPhase::Installed if fault.installed => {
                findings.invalid(|| format!("fault {id} ({kind}) is installed twice: number faults uniquely"));
            }
            FaultPhase::Installed => fault.installed = true,
            FaultPhase::Observed | FaultPhase::Removed if !fault.installed => {
                findings.invalid(|| format!("fault {id} ({kind}) is observed or removed before it is installed"));
            }
            FaultPhase::Observed if evidence.trim().is_empty() => {
                findings.invalid(|| format!("fault {id} ({kind}) is said to be observed, without evidence"));
            }
            FaultPhase::Observed => fault.observed = true,
            FaultPhase::Removed if fault.removed => {
                findings.invalid(|| format!("fault {id} ({kind}) is removed twice"));
            }
            FaultPhase::Removed => fault.removed = true,
        }
    }

    /// How many of each kind were installed.
    pub(super) fn finish(self, findings: &mut Findings) -> BTreeMap<String, u64> {
        let mut kinds = BTreeMap::new();
        for (id, Fault { kind, installed, observed, removed }) in self.0 {
            if !installed {
                findings.invalid(|| format!("fault {id} ({kind}) was never installed"));
                continue;
            }
            if !observed {
                findings.invalid(|| format!("fault {id} ({kind}) was never observed: nothing shows that it happened"));
            }
            if !removed {
                findings.invalid(|| format!("fault {id} ({kind}) was never removed"));
            }
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }
}
