//! A library between a process and the C library: syncs that fail, take their time or never come back, and a wall clock
//! that is off. It reaches what goes through the C library, as all syncs of `dledger` do.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::{Active, Error, Result, Shared, os};

const SOURCE: &str = include_str!("shim.c");

/// What a process can be told to do; the value is the place in the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Syncs fail with EIO if it is not 0.
    FailSyncs = 0,
    /// Microseconds that each sync takes longer.
    SlowSyncs = 1,
    /// Syncs do not come back while it is not 0.
    HangSyncs = 2,
    /// Seconds that the wall clock is off by.
    ShiftClock = 3,
}

/// How many processes have loaded the library: the place in the page.
const LOADED: u64 = 12;

impl Order {
    /// Where the library counts what it did.
    fn counter(self) -> u64 {
        self as u64 + 8
    }

    fn past(self) -> &'static str {
        match self {
            Self::FailSyncs => "syncs answered with EIO",
            Self::SlowSyncs => "syncs held up",
            Self::HangSyncs => "syncs hung",
            Self::ShiftClock => "readings of the wall clock shifted",
        }
    }
}

/// The library, built.
pub(crate) struct Shim {
    library: PathBuf,
    home: PathBuf,
}

impl Shim {
    /// Builds it, and sees that a program loads it.
    pub(crate) fn build(home: &Path) -> Result<Self> {
        os::installed("cc").map_err(|why| Error::not_here("preloaded library", why))?;
        let (source, library) = (home.join("shim.c"), home.join("shim.so"));
        std::fs::write(&source, SOURCE).map_err(Error::io("write", &source))?;
        let (from, to) = (source.to_string_lossy(), library.to_string_lossy());
        os::run("cc", &["-shared", "-fPIC", "-O1", "-o", &to, &from, "-ldl"])?;
        let shim = Self { library, home: home.to_owned() };
        let page = shim.page(0);
        shim.make_page(0)?;
        let mut probe = Command::new("true");
        probe.envs(shim.environment(0));
        probe.status().map_err(Error::io("run", "true"))?;
        if read(&page, LOADED)? == 0 {
            return Err(Error::State("LD_PRELOAD has no effect here".into()));
        }
        Ok(shim)
    }

    /// Makes the page of a node.
    pub(crate) fn make_page(&self, id: u64) -> Result<()> {
        let page = self.page(id);
        let file = File::create(&page).map_err(Error::io("create", &page))?;
        file.set_len(128).map_err(Error::io("set the length of", &page))
    }

    /// What a process of the node needs in its environment.
    pub(crate) fn environment(&self, id: u64) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("DLF_SHIM", self.page(id))]
    }

    fn page(&self, id: u64) -> PathBuf {
        self.home.join(format!("n{id}.shim"))
    }
}

/// An order that is in force.
pub(crate) struct Ordered {
    /// The page must outlive it.
    _shared: Arc<Shared>,
    page: PathBuf,
    order: Order,
    before: i64,
}

impl Ordered {
    pub(crate) fn install(shared: &Arc<Shared>, id: u64, order: Order, value: i64) -> Result<Self> {
        let page = shared.shim()?.page(id);
        let before = read(&page, order.counter())?;
        write(&page, order as u64, value)?;
        Ok(Self { _shared: shared.clone(), page, order, before })
    }
}

impl Active for Ordered {
    fn observed(&mut self) -> Result<Option<String>> {
        let count = read(&self.page, self.order.counter())? - self.before;
        Ok((count > 0).then(|| format!("{count} {}", self.order.past())))
    }

    fn remove(&mut self) -> Result<()> {
        write(&self.page, self.order as u64, 0)
    }
}

fn read(page: &Path, place: u64) -> Result<i64> {
    let mut number = [0; 8];
    let file = File::open(page).map_err(Error::io("open", page))?;
    file.read_exact_at(&mut number, place * 8).map_err(Error::io("read", page))?;
    Ok(i64::from_ne_bytes(number))
}

fn write(page: &Path, place: u64, value: i64) -> Result<()> {
    let file = OpenOptions::new().write(true).open(page).map_err(Error::io("open", page))?;
    file.write_all_at(&value.to_ne_bytes(), place * 8).map_err(Error::io("write", page))
}
