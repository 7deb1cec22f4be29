//! The file system that pins live in.

use std::{io, path::Path};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{FsType, statfs},
};

use super::DataPlaneError;
use crate::state::footprint::Footprint;

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// Where systems keep theirs; sysfs does not let anybody make folders below.
const SYSTEM_MOUNT: &str = "/sys/fs/bpf";

/// Makes `pin_dir` a folder on a bpffs: the one that is mounted there or
/// above, else a new one at `/sys/fs/bpf` for a path below it, where every
/// system has one, or at `pin_dir` itself.
pub fn ensure(pin_dir: &Path, footprint: &mut Footprint) -> Result<(), DataPlaneError> {
    let error = |source| DataPlaneError::Bpffs {
        path: pin_dir.to_owned(),
        source,
    };
    if !is_bpffs(pin_dir).map_err(error)? {
        let system = Path::new(SYSTEM_MOUNT);
        let is_system = pin_dir.starts_with(system);
        let at = if is_system { system } else { pin_dir };
        if !is_system {
            footprint.create_dir_all(pin_dir).map_err(error)?;
        }
        let none: Option<&str> = None;
        mount(Some("bpf"), at, Some("bpf"), MsFlags::empty(), none)
            .map_err(|errno| error(errno.into()))?;
        // Another daemon may pin below the system's mount from now on.
        if !is_system {
            footprint.mounted(at);
        }
    }
    footprint.create_dir_all(pin_dir).map_err(error)
}

/// Whether the nearest existing folder at or above `path` is on a bpffs.
fn is_bpffs(path: &Path) -> io::Result<bool> {
    for ancestor in path.ancestors() {
        match statfs(ancestor) {
            Ok(stat) => return Ok(stat.filesystem_type() == FsType(BPF_FS_MAGIC)),
            Err(nix::Error::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}

/// A file or interface name as a pin's name: bpffs reserves dots.
#[must_use]
pub fn pin_name(name: &str) -> String {
    name.replace('%', "%25").replace('.', "%2e")
}

/// The name that [`pin_name`] made into a pin's.
#[must_use]
pub fn name_of_pin(pin: &str) -> String {
    pin.replace("%2e", ".").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_names_have_no_dots_and_differ() {
        assert_eq!(pin_name("eth0.100"), "eth0%2e100");
        assert_ne!(pin_name("a.b"), pin_name("a%2eb"));
        for name in ["eth0", "eth0.100", "a%b.c"] {
            assert_eq!(name_of_pin(&pin_name(name)), name);
        }
    }
}
