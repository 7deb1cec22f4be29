//! Attaching the program to interfaces, by links that are pinned, so that
//! packets go on when the daemon does not.

use std::path::{Path, PathBuf};

use aya::programs::{
    ProgramError, Xdp, XdpMode as AyaMode,
    links::{FdLink, LinkError, PinnedLink},
    xdp::XdpLink,
};
use nix::net::if_::if_nametoindex;

use super::{DataPlaneError, error::reason, pinned::PinDir};
use crate::config::model::XdpMode;

/// An interface with the program on it.
#[derive(Debug)]
pub struct Attachment {
    pub interface: String,
    /// `native` or `generic`.
    pub mode: &'static str,
    link: Link,
}

#[derive(Debug)]
enum Link {
    /// Attached in this start, not pinned yet: dropping it detaches.
    New(FdLink),
    /// Of an earlier daemon, with that daemon's program until [`commit`].
    Adopted(PathBuf),
    /// Ours, and pinned: the pin is what holds it.
    Pinned,
}

/// Checks that an interface exists.
pub fn check_interface(name: &str) -> Result<(), DataPlaneError> {
    if_nametoindex(name)
        .map(drop)
        .map_err(|_| DataPlaneError::NoInterface {
            name: name.to_owned(),
        })
}

/// Attaches `program` to one interface. In [`XdpMode::Auto`] a driver that
/// cannot run it natively gets it in generic mode, with a warning.
pub fn attach(
    program: &mut Xdp,
    name: &str,
    mode: XdpMode,
) -> Result<(FdLink, &'static str, Option<String>), DataPlaneError> {
    check_interface(name)?;
    match mode {
        XdpMode::Native => Ok((
            try_attach(program, name, AyaMode::Driver, "native")?,
            "native",
            None,
        )),
        XdpMode::Generic => Ok((
            try_attach(program, name, AyaMode::Skb, "generic")?,
            "generic",
            None,
        )),
        XdpMode::Auto => match try_attach(program, name, AyaMode::Driver, "native") {
            Ok(link) => Ok((link, "native", None)),
            Err(DataPlaneError::Attach { reason, .. }) => {
                let link = try_attach(program, name, AyaMode::Skb, "generic")?;
                let warning = format!(
                    "interface {name}: its driver does not run XDP natively ({reason}); generic mode is slower"
                );
                Ok((link, "generic", Some(warning)))
            }
            Err(error) => Err(error),
        },
    }
}

fn try_attach(
    program: &mut Xdp,
    name: &str,
    mode: AyaMode,
    mode_name: &'static str,
) -> Result<FdLink, DataPlaneError> {
    let failed = |error: ProgramError| match os_error(&error) {
        Some(libc::EBUSY | libc::EEXIST) => DataPlaneError::Busy {
            name: name.to_owned(),
        },
        Some(libc::EPERM) => DataPlaneError::Privilege(reason(&error)),
        _ => DataPlaneError::Attach {
            name: name.to_owned(),
            mode: mode_name,
            reason: reason(&error),
        },
    };
    let id = program.attach(name, mode).map_err(failed)?;
    let link = program.take_link(id).map_err(failed)?;
    FdLink::try_from(link).map_err(|error: LinkError| DataPlaneError::Attach {
        name: name.to_owned(),
        mode: mode_name,
        reason: format!("the kernel made no link: {error}"),
    })
}

fn os_error(error: &ProgramError) -> Option<i32> {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        source = inner.source();
    }
    None
}

/// Finds the links of an earlier daemon and attaches what is new. Nothing
/// that forwards has changed afterwards; dropping the result undoes it.
pub fn prepare(
    pins: &PinDir,
    program: &mut Xdp,
    interfaces: &[String],
    mode: XdpMode,
) -> Result<(Vec<Attachment>, Vec<String>), DataPlaneError> {
    for name in interfaces {
        check_interface(name)?;
    }
    let pinned = pins.links();
    let (mut attachments, mut warnings) = (Vec::new(), Vec::new());
    for name in interfaces {
        let adopted = pinned.iter().find(|(link_name, link_mode, path)| {
            link_name == name && suits(link_mode, mode) && is_attached(path)
        });
        let attachment = if let Some((_, mode, path)) = adopted {
            Attachment {
                interface: name.clone(),
                mode,
                link: Link::Adopted(path.clone()),
            }
        } else {
            // A link in the other mode, or of an interface that was deleted
            // and made again, is in the way.
            for (_, _, path) in pinned.iter().filter(|(link_name, ..)| link_name == name) {
                unpin(path)?;
            }
            let (link, mode, warning) = attach(program, name, mode)?;
            warnings.extend(warning);
            Attachment {
                interface: name.clone(),
                mode,
                link: Link::New(link),
            }
        };
        attachments.push(attachment);
    }
    Ok((attachments, warnings))
}

fn suits(link_mode: &str, mode: XdpMode) -> bool {
    match mode {
        XdpMode::Auto => true,
        XdpMode::Native => link_mode == "native",
        XdpMode::Generic => link_mode == "generic",
    }
}

/// Whether a pinned link still has its interface.
fn is_attached(path: &Path) -> bool {
    super::syscall::pinned_link_ifindex(path).is_ok_and(|index| index != 0)
}

/// Puts this daemon's program into adopted links, pins the new ones, and
/// detaches interfaces that are no longer configured.
pub fn commit(
    pins: &PinDir,
    program: &mut Xdp,
    attachments: &mut [Attachment],
) -> Result<(), DataPlaneError> {
    for attachment in attachments.iter_mut() {
        let path = pins.link_path(&attachment.interface, attachment.mode);
        let placeholder = Link::Adopted(path.clone());
        attachment.link = match std::mem::replace(&mut attachment.link, placeholder) {
            Link::New(link) => {
                link.pin(&path).map_err(|error| pin_error(&path, error))?;
                Link::Pinned
            }
            Link::Adopted(path) => {
                replace(program, attachment, &path)?;
                Link::Pinned
            }
            Link::Pinned => Link::Pinned,
        };
    }
    for (name, _, path) in pins.links() {
        if !attachments.iter().any(|a| a.interface == name) {
            unpin(&path)?;
        }
    }
    Ok(())
}

/// Replaces the program behind a pinned link; packets see the old one or the
/// new one.
fn replace(program: &mut Xdp, attachment: &Attachment, path: &Path) -> Result<(), DataPlaneError> {
    let failed = |error: ProgramError| DataPlaneError::Attach {
        name: attachment.interface.clone(),
        mode: attachment.mode,
        reason: reason(&error),
    };
    let pinned = PinnedLink::from_pin(path).map_err(|error| pin_error(path, error))?;
    let link = XdpLink::try_from(FdLink::from(pinned)).map_err(|error| pin_error(path, error))?;
    let id = program.attach_to_link(link).map_err(failed)?;
    // The program's own handle of the link; the pin keeps it attached.
    program.take_link(id).map(drop).map_err(failed)
}

/// Detaches what is pinned at `path`.
fn unpin(path: &Path) -> Result<(), DataPlaneError> {
    std::fs::remove_file(path).map_err(|source| DataPlaneError::Path {
        action: "remove",
        path: path.to_owned(),
        source,
    })
}

fn pin_error(path: &Path, error: impl std::fmt::Display) -> DataPlaneError {
    DataPlaneError::Pin {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
