//! Names that tell whose a thing is, and the removal of all that carries one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::os::{self, Stat};

const PREFIX: &str = "dlf-";
const CGROUPS: &str = "/sys/fs/cgroup/blkio";
const NAMESPACES: &str = "/run/netns";

/// A new name, which no other machine has or had: `dlf-PID-STARTED-NUMBER`.
pub(crate) fn name() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    let started = Stat::of(pid).map_or(0, |stat| stat.started);
    format!("{PREFIX}{pid}-{started}-{}", MADE.fetch_add(1, Ordering::Relaxed))
}

/// Where the machine of this name keeps its files.
pub(crate) fn home(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// The cgroup of the machine of this name.
pub(crate) fn cgroup(name: &str) -> PathBuf {
    Path::new(CGROUPS).join(name)
}

/// The machine that a thing belongs to, from the thing's name.
fn machine_of(thing: &str) -> Option<&str> {
    let parts: Vec<&str> = thing.strip_prefix(PREFIX)?.splitn(4, ['-', '/']).take(3).collect();
    let numbers = parts.len() == 3 && parts.iter().all(|part| part.parse::<u64>().is_ok());
    numbers.then(|| &thing[..PREFIX.len() + parts.iter().map(|part| part.len()).sum::<usize>() + 2])
}

/// Whether the process that made the machine of this name is gone.
fn is_dead(name: &str) -> bool {
    let mut numbers = name[PREFIX.len()..].split('-').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(started))) = (numbers.next(), numbers.next()) else { return false };
    Stat::of(pid as u32).is_none_or(|stat| stat.started != started || stat.is_dead())
}

/// Removes all that dead runs left here: the names of their machines.
pub fn sweep() -> Vec<String> {
    let mut names: Vec<String> = things().iter().filter_map(|thing| machine_of(thing)).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names.retain(|name| is_dead(name));
    for name in &names {
        for problem in remove(name) {
            eprintln!("left by a dead run: {problem}");
        }
    }
    names
}

/// Everything on this machine that is named as ours are: processes, mounts, files, cgroups, namespaces.
pub fn leftovers(name: &str) -> Vec<String> {
    things().into_iter().filter(|thing| machine_of(thing) == Some(name)).collect()
}

fn things() -> Vec<String> {
    let owners = os::processes(|_| true).into_iter().filter_map(os::owner);
    let mounts =
        mounts().into_iter().filter_map(|(_, at)| Some(at.strip_prefix(std::env::temp_dir()).ok()?.to_owned()));
    let mounts = mounts.filter_map(|at| at.to_str().map(str::to_owned));
    let dirs = [std::env::temp_dir(), CGROUPS.into(), NAMESPACES.into()];
    let files = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten();
    let files = files.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let loops = loops()
        .into_iter()
        .filter_map(|(_, file)| Some(file.strip_prefix(std::env::temp_dir()).ok()?.to_str()?.to_owned()));
    owners.chain(mounts).chain(loops).chain(files).filter(|thing| machine_of(thing).is_some()).collect()
}

/// Devices and where they are mounted.
pub(crate) fn mounts() -> Vec<(String, PathBuf)> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let pairs = text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?.to_owned(), PathBuf::from(fields.next()?)))
    });
    pairs.collect()
}

/// Loop devices and the files behind them.
pub(crate) fn loops() -> Vec<(String, PathBuf)> {
    let devices =
        fs::read_dir("/sys/block").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let loops = devices.filter(|device| device.starts_with("loop"));
    let backed = loops.filter_map(|device| {
        let file = fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")).ok()?;
        Some((device, PathBuf::from(file.trim_end())))
    });
    backed.collect()
}

/// Takes away all that carries this name: what could not be.
pub(crate) fn remove(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let home = home(name);
    // What is frozen thaws first: a process that waits for it would not die.
    let mounted: Vec<_> = mounts().into_iter().map(|(_, at)| at).filter(|at| at.starts_with(&home)).collect();
    for at in &mounted {
        let _ = os::run("fsfreeze", &["-u", &at.to_string_lossy()]);
    }
    let own = |owner: &str| machine_of(owner) == Some(name);
    for pid in os::kill_all(&os::processes(own), Duration::from_secs(5)) {
        problems.push(format!("process {pid} does not end"));
    }
    for at in mounted.iter().rev() {
        if let Err(error) = os::run("umount", &[&at.to_string_lossy()]) {
            problems.push(error.to_string());
            let _ = os::run("umount", &["-l", &at.to_string_lossy()]);
        }
    }
    let stacked = mounts().iter().any(|(_, at)| at.starts_with(&home));
    if !stacked
        && let Err(error) = fs::remove_dir_all(&home)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        problems.push(format!("{}: {error}", home.display()));
    }
    let spaces =
        fs::read_dir(NAMESPACES).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for space in spaces.filter(|space| machine_of(space) == Some(name)) {
        problems.extend(os::run("ip", &["netns", "del", &space]).err().map(|error| error.to_string()));
    }
    remove_cgroups(&cgroup(name), &mut problems);
    problems
}

fn remove_cgroups(dir: &Path, problems: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let below = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.for_each(|entry| remove_cgroups(&entry.path(), problems));
    // The last process of it may have ended just now.
    let mut last = None;
    if !os::until(Duration::from_secs(2), || fs::remove_dir(dir).map_err(|error| last = Some(error)).is_ok()) {
        problems.extend(last.map(|error| format!("{}: {error}", dir.display())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_a_thing_is() {
        let name = name();
        assert_eq!(machine_of(&format!("{name}-n1")), Some(&*name));
        assert_eq!(machine_of(&format!("{name}/3")), Some(&*name));
        assert_eq!(machine_of(&name), Some(&*name));
        assert_eq!(machine_of("dlf-other"), None);
        assert!(!is_dead(&name));
        // The id of a process that lives, but did not make it.
        assert!(is_dead(&format!("dlf-{}-1-0", std::process::id())));
    }
}
