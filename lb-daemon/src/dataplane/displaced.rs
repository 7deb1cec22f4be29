//! What a link in one mode takes the place of: an interface has a program in
//! one mode at a time (`dev_xdp_attach`, net/core/dev.c, Linux 6.1), so that a
//! start with another `xdp_mode` has to detach before it can know whether it
//! will attach.

use std::{os::fd::AsFd as _, path::PathBuf};

use aya::programs::{ProgramFd, Xdp};
use tracing::{debug, error};

use super::{
    DataPlaneError,
    attempt::{XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE},
    device,
    syscall::{attach_pinned_link, detach_pinned_link},
};

/// A link of an earlier daemon that has made way. Dropped, it is there again,
/// in its mode and at its pin, with this daemon's program: the maps are the
/// same, and the former program is attached nowhere else.
#[derive(Debug)]
pub(super) struct Displaced {
    interface: String,
    index: u32,
    mode: &'static str,
    path: PathBuf,
    /// None: it is not to come back.
    program: Option<ProgramFd>,
}

impl Displaced {
    /// Detaches the link that is pinned at `path` from the interface that it is on.
    pub(super) fn detach(
        program: &Xdp,
        interface: &str,
        mode: &'static str,
        path: PathBuf,
    ) -> Result<Self, DataPlaneError> {
        let index = device::find(interface)?.index;
        let failed = |action| {
            let path = path.clone();
            move |source| DataPlaneError::Path {
                action,
                path,
                source,
            }
        };
        let ours = program
            .fd()
            .map_err(|source| DataPlaneError::Program {
                name: interface.to_owned(),
                source,
            })?
            .try_clone()
            .map_err(failed("duplicate the program for"))?;
        detach_pinned_link(&path).map_err(failed("detach"))?;
        Ok(Self {
            interface: interface.to_owned(),
            index,
            mode,
            path,
            program: Some(ours),
        })
    }

    /// What is in its place is to stay.
    pub(super) fn give_up(mut self) {
        self.program = None;
    }
}

impl Drop for Displaced {
    fn drop(&mut self) {
        let Some(program) = self.program.take() else {
            return;
        };
        let flags = match self.mode {
            "native" => XDP_FLAGS_DRV_MODE,
            _ => XDP_FLAGS_SKB_MODE,
        };
        let (interface, mode) = (&self.interface, self.mode);
        match attach_pinned_link(program.as_fd(), self.index, flags, &self.path) {
            Ok(()) => debug!(interface, mode, "attached again in the former mode"),
            Err(error) => error!(interface, mode, %error, "cannot attach again in the former mode"),
        }
    }
}
