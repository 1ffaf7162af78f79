//! Who owns the files that this process makes: a tool that root runs must leave nothing that the service cannot open.

use std::fs::{File, Metadata, Permissions, metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

use super::real::parent_of;

/// Gives a new file to the owner of its directory, with the directory's permissions for the group and none for others.
/// The service must be able to open what root made for it, and other users of the group what this user made. Only root
/// can give files away; a file that another user makes stays that user's.
pub(super) fn give_to_owner_of_directory(file: &File, path: &Path) -> io::Result<()> {
    let (dir, made) = (metadata(parent_of(path))?, file.metadata()?);
    if made.uid() == 0 && (made.uid(), made.gid()) != (dir.uid(), dir.gid()) {
        let given = fchown(file, Some(dir.uid()), Some(dir.gid()));
        given.map_err(|error| cannot_give(path, &dir, &error))?;
    }
    let mode = 0o600 | dir.mode() & 0o060;
    if made.mode() & 0o777 != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Gives a new directory to the owner of its parent, and opens it to the group only if the parent hands its group on
/// (setgid). Works on a descriptor, because the parent's owner may have put a link in the directory's place by now.
pub(super) fn give_to_owner_of_parent(dir: &Path) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(dir)?;
    let (parent, made) = (metadata(parent_of(dir))?, file.metadata()?);
    if made.uid() == 0 && parent.uid() != 0 {
        let (uid, gid) = (Some(parent.uid()), Some(parent.gid()));
        fchown(&file, uid, gid).map_err(|error| cannot_give(dir, &parent, &error))?;
    }
    if parent.mode() & 0o2000 != 0 {
        file.set_permissions(Permissions::from_mode(0o2700 | parent.mode() & 0o070))?;
    }
    Ok(())
}

fn cannot_give(path: &Path, dir: &Metadata, error: &io::Error) -> io::Error {
    let (uid, gid) = (dir.uid(), dir.gid());
    let why = format!("cannot give {} to {uid}:{gid}, the owner of its directory: {error}", path.display());
    io::Error::new(error.kind(), why)
}

/// The user and group that get the files made in `dir`, if this process runs as root and the directory is not root's.
pub(crate) fn given_to(dir: &Path) -> Option<(u32, u32)> {
    let root = metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let dir = metadata(dir).ok().filter(|dir| root && dir.uid() != 0)?;
    Some((dir.uid(), dir.gid()))
}

#[cfg(test)]
mod tests {
    use std::fs::set_permissions;
    use std::os::unix::fs::{chown, symlink};

    use super::*;
    use crate::disk::Disk;
    use crate::disk::real::RealDisk;

    /// Only root can give files away: as anybody else the test sees the permissions alone.
    #[test]
    fn what_is_made_belongs_to_whom_the_directory_does() {
        const SERVICE: u32 = 4242;
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        RealDisk.create_dir(&data).unwrap();
        assert_eq!(metadata(&data).unwrap().mode() & 0o7777, 0o700);
        let root = metadata(&data).unwrap().uid() == 0;
        if root {
            chown(&data, Some(SERVICE), Some(SERVICE)).unwrap();
        } else {
            eprintln!("skipped: not root, so no file is given away");
        }
        set_permissions(&data, Permissions::from_mode(0o2775)).unwrap();
        let ledger = data.join("g");
        RealDisk.create_dir(&ledger).unwrap();
        RealDisk.create(&ledger.join("0"), 4096).unwrap();
        RealDisk.write_atomic(&ledger.join("start"), b"bytes").unwrap();
        RealDisk.write_cache(&ledger.join("0.index"), b"bytes").unwrap();
        drop(RealDisk.lock(&ledger.join("lock")).unwrap());
        let belongs = |path: &Path, mode: u32| {
            let found = metadata(path).unwrap();
            assert_eq!(format!("{:o}", found.mode() & 0o7777), format!("{mode:o}"), "{}", path.display());
            assert!(!root || (found.uid(), found.gid()) == (SERVICE, SERVICE), "{}", path.display());
        };
        belongs(&ledger, 0o2770);
        for name in ["0", "start", "0.index", "lock"] {
            belongs(&ledger.join(name), 0o660);
        }
        set_permissions(&ledger, Permissions::from_mode(0o755)).unwrap();
        RealDisk.write_atomic(&ledger.join("start"), b"more").unwrap();
        belongs(&ledger.join("start"), 0o640);
    }

    #[test]
    fn nothing_behind_a_link_is_given_away() {
        let dir = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (dir.path().join("data"), dir.path().join("elsewhere"));
        RealDisk.create_dir(&data).unwrap();
        RealDisk.create_dir(&elsewhere).unwrap();
        set_permissions(&data, Permissions::from_mode(0o2770)).unwrap();
        symlink(&elsewhere, data.join("g")).unwrap();
        give_to_owner_of_parent(&data.join("g")).unwrap_err();
        assert_eq!(metadata(&elsewhere).unwrap().mode() & 0o7777, 0o700);
        // Replacing a file leaves alone the file that a link in the place of the temporary one leads to, be it symbolic
        // or hard.
        let precious = dir.path().join("precious");
        std::fs::write(&precious, b"precious").unwrap();
        let temporary = data.join("start.tmp");
        for link in [|at: &Path, to: &Path| symlink(at, to), |at: &Path, to: &Path| std::fs::hard_link(at, to)] {
            link(&precious, &temporary).unwrap();
            RealDisk.write_atomic(&data.join("start"), b"bytes").unwrap();
            assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
            assert_eq!(std::fs::read(data.join("start")).unwrap(), b"bytes");
        }
    }
}
