//! A fault: put in place, seen, taken away.

use super::Result;

/// Something that can be done to a cluster.
pub trait Fault: Send + Sync {
    /// Which one: `kill`, `pause`, `cut` …, as a history names it.
    fn kind(&self) -> &'static str;

    /// To whom: node ids; empty where it is to links between all.
    fn nodes(&self) -> Vec<u64>;

    /// Puts it in place. [`Error::NotHere`](super::Error::NotHere): this machine cannot do it.
    ///
    /// # Errors
    /// What this machine cannot do, and what failed; nothing of the fault is left then.
    fn install(&self) -> Result<Installed>;
}

/// What a fault is while it is in place.
pub trait Active: Send {
    /// What shows that it did something, if it has by now: text for people, with counts.
    ///
    /// # Errors
    /// It cannot be told.
    fn observed(&mut self) -> Result<Option<String>>;

    /// Takes it away. Called once.
    ///
    /// # Errors
    /// It could not be taken away, or what it left shows that it was none.
    fn remove(&mut self) -> Result<()>;
}

/// A fault that is in place. Dropped, it is taken away.
pub struct Installed {
    kind: &'static str,
    active: Box<dyn Active>,
    evidence: Option<String>,
    removed: bool,
}

impl Installed {
    pub(crate) fn new(kind: &'static str, active: Box<dyn Active>) -> Self {
        Self { kind, active, evidence: None, removed: false }
    }

    /// What shows that it did something, if it has by now. After [`remove`](Self::remove): what was last seen, with
    /// what only its end could show.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn observed(&mut self) -> Result<Option<String>> {
        if !self.removed
            && let Some(seen) = self.active.observed()?
        {
            self.evidence = Some(seen);
        }
        Ok(self.evidence.clone())
    }

    /// Takes it away, once; looks before and after whether it did anything.
    ///
    /// # Errors
    /// It could not be taken away, or what it left shows that it was none.
    pub fn remove(&mut self) -> Result<()> {
        if self.removed {
            return Ok(());
        }
        let before = self.observed();
        self.removed = true;
        self.active.remove()?;
        if let Some(seen) = self.active.observed()? {
            self.evidence = Some(seen);
        }
        before.map(|_| ())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // A caller that wants to know calls `remove`; here a panic may be under way.
        if let Err(error) = self.remove() {
            eprintln!("the fault {} was not taken away cleanly: {error}", self.kind);
        }
    }
}

impl std::fmt::Debug for Installed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installed").field("kind", &self.kind).field("evidence", &self.evidence).finish_non_exhaustive()
    }
}
