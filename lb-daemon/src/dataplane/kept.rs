//! Programs that stay in the kernel between two daemons.
//!
//! The verifier takes seconds for all of them. So a daemon that has started pins them beside
//! the maps, in `<pin_dir>/v<ABI>/programs_<stamp>/<name>`, and the next one whose object is
//! the same takes them as they are. The stamp is a hash of the object
//! ([`object::DIRECTOR_STAMP`]).

use std::{collections::HashMap, fs, path::PathBuf};

use aya::{
    Ebpf,
    programs::{Program, Xdp},
};
use aya_obj::programs::XdpAttachType;
use tracing::warn;

use super::{
    object,
    pinned::{PinDir, clear_folder, entries, is_program_folder, program_folder},
};

/// XDP programs by their names in the object.
pub(super) type Kept = HashMap<String, Xdp>;

/// The object's programs, if all are pinned: they call each other, and share maps that are
/// not pinned. They work on the maps that are pinned beside them, if these are all there
/// ([`PinDir::check`]): programs and maps are pinned and removed together.
pub(super) fn find(pins: &PinDir, ebpf: &Ebpf) -> Kept {
    let folder = folder(pins);
    let wanted = ebpf.programs().filter(|(_, program)| is_xdp(program));
    let kept: Option<Kept> = wanted
        .map(|(name, _)| {
            let program = Xdp::from_pin(folder.join(name), XdpAttachType::Interface).ok()?;
            Some((name.to_owned(), program))
        })
        .collect();
    kept.unwrap_or_default()
}

fn is_xdp(program: &Program) -> bool {
    matches!(program, Program::Xdp(_))
}

/// Pins the programs that this daemon has had verified in the place of any others. A failure
/// is only told: the next start takes longer.
pub(super) fn keep(pins: &PinDir, ebpf: &mut Ebpf) {
    if let Err(error) = pin(pins, ebpf) {
        warn!(%error, "the programs are not pinned; the next start verifies them again");
    }
}

fn pin(pins: &PinDir, ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let folders = entries(pins.path()).into_iter();
    for name in folders.filter(|name| is_program_folder(name)) {
        clear_folder(&pins.path().join(name))?;
    }
    let folder = folder(pins);
    fs::create_dir(&folder)?;
    for (name, program) in ebpf.programs_mut() {
        if is_xdp(program) {
            program.pin(folder.join(name))?;
        }
    }
    Ok(())
}

fn folder(pins: &PinDir) -> PathBuf {
    pins.path().join(program_folder(object::DIRECTOR_STAMP))
}
