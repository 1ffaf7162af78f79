//! A slow disk: what the processes of a node write to its loop device is throttled by their cgroup (version 1).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::{Active, Error, Result, Shared, os, sweep};

const RATE: &str = "blkio.throttle.write_bps_device";

/// The cgroups of one machine: one for each node, which its processes are started in.
pub(crate) struct Throttles {
    name: String,
}

impl Throttles {
    /// Makes them; they are removed with all else that carries the name.
    pub(crate) fn new(name: &str, disks: &[(u64, Disk)]) -> Result<Self> {
        let own = Self { name: name.to_owned() };
        let root = sweep::cgroup(name);
        if !root.parent().is_some_and(Path::is_dir) {
            return Err(Error::not_here("disk throttle", "there are no blkio cgroups of version 1"));
        }
        fs::create_dir(&root).map_err(Error::io("create", &root))?;
        for (id, disk) in disks {
            let dir = own.dir(*id);
            fs::create_dir(&dir).map_err(Error::io("create", &dir))?;
            // Whether the kernel takes a rule, not merely shows the file.
            set(&dir, disk, 1 << 40)?;
            set(&dir, disk, 0)?;
        }
        Ok(own)
    }

    fn dir(&self, id: u64) -> PathBuf {
        sweep::cgroup(&self.name).join(format!("n{id}"))
    }

    /// What a command must begin with to run in the cgroup of the node; it becomes the program, and forks no child.
    pub(crate) fn wrapper(&self, id: u64) -> [String; 4] {
        let join = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", self.dir(id).display());
        ["sh".into(), "-c".into(), join, "sh".into()]
    }
}

fn set(dir: &Path, disk: &Disk, rate: u64) -> Result<()> {
    let file = dir.join(RATE);
    fs::write(&file, format!("{} {rate}", disk.number()?)).map_err(Error::io("write", &file))
}

/// A rate that is in force.
pub(crate) struct Throttled {
    shared: Arc<Shared>,
    id: u64,
    rate: u64,
    before: u64,
}

impl Throttled {
    pub(crate) fn install(shared: &Arc<Shared>, id: u64, rate: u64) -> Result<Self> {
        let rate = rate.max(4096);
        let mut own = Self { shared: shared.clone(), id, rate, before: 0 };
        let disk = shared.disk(id);
        own.before = own.written()?;
        set(&shared.throttles()?.dir(id), disk, rate)?;
        Ok(own)
    }

    /// How many bytes the node has had written to its device.
    fn written(&self) -> Result<u64> {
        let file = self.shared.throttles()?.dir(self.id).join("blkio.throttle.io_service_bytes");
        let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        let device = format!("{} Write ", self.shared.disk(self.id).number()?);
        Ok(text.lines().find_map(|line| line.strip_prefix(&device)?.parse().ok()).unwrap_or(0))
    }

    /// How long a write and sync of a quarter of a second's worth takes in the node's place.
    fn probe(&self) -> Result<(u64, Duration)> {
        let bytes = (self.rate / 4).clamp(4096, 4 << 20);
        let probe = self.shared.disk(self.id).root().join("probe-slow");
        let (count, target) = (format!("count={}", bytes.div_ceil(4096)), format!("of={}", probe.display()));
        let [shell, options, join, name] = self.shared.throttles()?.wrapper(self.id);
        let began = Instant::now();
        let dd = ["timeout", "10", "dd", "if=/dev/zero", &target, "bs=4096", &count, "conv=fsync"];
        let args: Vec<&str> = [&*options, &*join, &*name].into_iter().chain(dd).collect();
        let wrote = os::run(&shell, &args);
        let took = began.elapsed();
        let _ = fs::remove_file(&probe);
        // What the node has waiting may go first: then it takes longer than anybody wants to wait.
        if took < Duration::from_secs(10) {
            wrote?;
        }
        Ok((bytes, took))
    }
}

impl Active for Throttled {
    fn observed(&mut self) -> Result<Option<String>> {
        let by_node = self.written()?.saturating_sub(self.before);
        let (bytes, took) = self.probe()?;
        let least = Duration::from_secs_f64(bytes as f64 / self.rate as f64 / 2.0);
        let slow = took >= least;
        Ok(slow.then(|| {
            format!("{bytes} bytes took {took:.0?}; the node wrote {by_node} bytes at {} a second", self.rate)
        }))
    }

    fn remove(&mut self) -> Result<()> {
        set(&self.shared.throttles()?.dir(self.id), self.shared.disk(self.id), 0)
    }
}
