//! The interfaces that the program is on, by links that are pinned, so that
//! packets go on when the daemon does not; and what becomes of one that is
//! deleted and made again.

use std::path::{Path, PathBuf};

use aya::programs::{
    ProgramError, Xdp,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};
use tracing::{debug, warn};

use super::{
    DataPlaneError,
    device::{self, index_of},
    displaced::Displaced,
    error::reason,
    pinned::PinDir,
    syscall::pinned_link_ifindex,
};
use crate::config::model::XdpMode;

pub use super::attempt::{attach, check_interface};

/// An interface with the program on it, or that had it.
#[derive(Debug)]
pub struct Attachment {
    pub interface: String,
    /// Why it is in generic mode, where `auto` found that.
    pub remark: Option<String>,
    /// `native` or `generic`.
    mode: &'static str,
    link: Link,
    /// What a new link has taken the place of. Below it, to be dropped after it.
    displaced: Option<Displaced>,
}

#[derive(Debug)]
enum Link {
    /// Attached in this start, not pinned yet: dropping it detaches.
    New(FdLink),
    /// Of an earlier daemon, with that daemon's program until [`commit`].
    Adopted(PathBuf),
    /// Ours, and pinned: the pin is what holds it.
    Pinned,
    /// Lost with its interface. If that is back, why it cannot have the program.
    Lost { refusal: Option<String> },
}

/// What has become of an attachment.
#[derive(Debug)]
pub enum News {
    /// The interface is gone: deleted, or renamed.
    Gone,
    /// It is back, with the program.
    Back,
    /// It is back, and cannot have the program, for this reason.
    Refused(String),
}

impl Attachment {
    /// `native`, `generic` or, for an interface that is gone, `detached`.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        if self.is_lost() {
            "detached"
        } else {
            self.mode
        }
    }

    /// Whether the interface is gone, or back without the program.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self.link, Link::Lost { .. })
    }

    /// Why the interface, which is back, does not have the program.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match &self.link {
            Link::Lost { refusal } => refusal.as_deref(),
            _ => None,
        }
    }

    /// Looks whether the interface is still there with the program, and puts
    /// the program on it again if it was deleted and is back.
    pub fn revisit(&mut self, pins: &PinDir, program: &mut Xdp, mode: XdpMode) -> Vec<News> {
        let interface = &self.interface;
        let path = pins.link_path(interface, self.mode);
        let seen = pinned_link_ifindex(&path).and_then(|held| Ok((held, index_of(interface)?)));
        let (held, present) = match seen {
            Ok(seen) => seen,
            // No news: the next look may see more.
            Err(error) => {
                debug!(interface, %error, "whether the program is on it cannot be seen");
                return Vec::new();
            }
        };
        let was_lost = self.is_lost();
        if held.is_some() && held == present {
            self.link = Link::Pinned;
            return was_lost.then_some(News::Back).into_iter().collect();
        }
        let gone = (!was_lost).then_some(News::Gone);
        let outcome = match present.map(|_| self.attach_again(pins, program, mode)) {
            Some(Ok(())) => Some(News::Back),
            // Gone, or gone again in this moment.
            None | Some(Err(DataPlaneError::NoInterface { .. })) => {
                self.link = Link::Lost { refusal: None };
                None
            }
            Some(Err(error)) => self.note_refusal(&error),
        };
        gone.into_iter().chain(outcome).collect()
    }

    /// The same refusal again is no news.
    fn note_refusal(&mut self, error: &DataPlaneError) -> Option<News> {
        let text = error.to_string();
        let about = format!("interface {}: ", self.interface);
        let reason = text.strip_prefix(&about).unwrap_or(&text).to_owned();
        let is_news = self.refusal() != Some(&reason);
        self.link = Link::Lost {
            refusal: Some(reason.clone()),
        };
        is_news.then_some(News::Refused(reason))
    }

    fn attach_again(
        &mut self,
        pins: &PinDir,
        program: &mut Xdp,
        mode: XdpMode,
    ) -> Result<(), DataPlaneError> {
        unpin_all(pins, &self.interface)?;
        let stays_generic = mode == XdpMode::Auto && self.mode == "generic";
        let mode = if stays_generic {
            XdpMode::Generic
        } else {
            mode
        };
        let (link, mode, remark) = attach(program, &self.interface, mode)?;
        let path = pins.link_path(&self.interface, mode);
        link.pin(&path).map_err(|error| pin_error(&path, error))?;
        (self.link, self.mode) = (Link::Pinned, mode);
        if !stays_generic {
            self.remark = remark;
        }
        Ok(())
    }
}

/// Finds the links of an earlier daemon and attaches what is new. Nothing
/// that forwards has changed afterwards, but for links in the other mode;
/// dropping the result undoes it. An interface of `running` may be gone at the
/// moment.
pub fn prepare(
    pins: &PinDir,
    program: &mut Xdp,
    interfaces: &[String],
    mode: XdpMode,
    running: &[Attachment],
) -> Result<Vec<Attachment>, DataPlaneError> {
    let former = |name: &str| running.iter().find(|former| former.interface == name);
    for name in interfaces {
        match check_interface(name) {
            Err(DataPlaneError::NoInterface { .. }) if former(name).is_some() => {}
            outcome => outcome?,
        }
    }
    let mut attachments = Vec::new();
    for name in interfaces {
        let index = index_of(name).map_err(look_error(name))?;
        let found = link_on(pins, name, index)?;
        let former = former(name);
        // In this order, as those of an attachment: the new link goes first.
        let (displaced, link, mode, remark) = match (found, former) {
            (Some((link_mode, path)), former) if suits(link_mode, mode) => {
                let remark = match former {
                    Some(former) => former.remark.clone(),
                    None => found_before(name, mode, link_mode),
                };
                (None, Link::Adopted(path), link_mode, remark)
            }
            (None, Some(former)) if index.is_none() => {
                let lost = Link::Lost { refusal: None };
                (None, lost, former.mode, None)
            }
            (found, _) => {
                let displace =
                    |(link_mode, path)| Displaced::detach(program, name, link_mode, path);
                let displaced = found.map(displace).transpose()?;
                let (link, mode, remark) = attach(program, name, mode)?;
                (displaced, Link::New(link), mode, remark)
            }
        };
        attachments.push(Attachment {
            interface: name.clone(),
            remark,
            mode,
            link,
            displaced,
        });
    }
    if mode == XdpMode::Auto {
        follow_generic(program, &mut attachments)?;
    }
    Ok(attachments)
}

/// An interface without native XDP does not send what another one has received
/// natively either (`__xdp_enqueue`, kernel/bpf/devmap.c, Linux 6.1): where
/// packets may leave by such a one, what is new gets the program in generic mode
/// too. What is in native mode already stays there, since a change interrupts.
fn follow_generic(program: &mut Xdp, attachments: &mut [Attachment]) -> Result<(), DataPlaneError> {
    let is_new_native = |a: &Attachment| a.mode == "native" && matches!(a.link, Link::New(_));
    if !attachments.iter().any(is_new_native) || attachments.iter().all(|a| a.mode == "native") {
        return Ok(());
    }
    // Not known: none is, and each keeps its mode.
    let ways_out = device::ways_out().unwrap_or_default();
    let is_way_out = |a: &Attachment| {
        let index = index_of(&a.interface).ok().flatten();
        index.is_some_and(|index| ways_out.contains(&index))
    };
    let Some(first) = attachments
        .iter()
        .find(|a| a.mode == "generic" && is_way_out(a))
        .map(|a| a.interface.clone())
    else {
        return Ok(());
    };
    for attachment in attachments.iter_mut().filter(|a| is_new_native(a)) {
        let name = &attachment.interface;
        let remark = format!(
            "interface {name}: generic mode, since {first} could not send what it receives natively"
        );
        // Detached before it can be attached in the other mode.
        attachment.link = Link::Lost { refusal: None };
        let (link, mode, _) = attach(program, name, XdpMode::Generic)?;
        (attachment.link, attachment.mode) = (Link::New(link), mode);
        attachment.remark = Some(remark);
    }
    Ok(())
}

/// An earlier daemon's reasons are not known to this one.
fn found_before(name: &str, mode: XdpMode, link_mode: &str) -> Option<String> {
    (mode == XdpMode::Auto && link_mode == "generic").then(|| {
        format!(
            "interface {name}: generic mode, which an earlier start found; \
             `lbd unload` and a start look anew"
        )
    })
}

/// The first of `interfaces` whose link is in another mode than `mode` asks for.
#[must_use]
pub fn displaced<'a>(pins: &PinDir, interfaces: &'a [String], mode: XdpMode) -> Option<&'a str> {
    let links = pins.links();
    let is_displaced = |name: &&String| {
        let mut links = links.iter();
        links.any(|(link, link_mode, _)| link == *name && !suits(link_mode, mode))
    };
    interfaces.iter().find(is_displaced).map(String::as_str)
}

fn suits(link_mode: &str, mode: XdpMode) -> bool {
    match mode {
        XdpMode::Auto => true,
        XdpMode::Native => link_mode == "native",
        XdpMode::Generic => link_mode == "generic",
    }
}

/// The mode and the pin of the link that is pinned under an interface's name, if
/// that is where it is: the interface may be another one than it was.
fn link_on(
    pins: &PinDir,
    name: &str,
    index: Option<u32>,
) -> Result<Option<(&'static str, PathBuf)>, DataPlaneError> {
    for (link_name, mode, path) in pins.links() {
        if link_name == name {
            let held = pinned_link_ifindex(&path).map_err(look_error(&path))?;
            if held.is_some() && held == index {
                return Ok(Some((mode, path)));
            }
        }
    }
    Ok(None)
}

/// Puts this daemon's program into adopted links, pins the new ones, and
/// detaches interfaces that are no longer configured. One that has gone since
/// [`prepare`] is lost, as it would be a moment later.
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
                // Of an interface that was deleted and made again.
                unpin_all(pins, &attachment.interface)?;
                link.pin(&path).map_err(|error| pin_error(&path, error))?;
                if let Some(displaced) = attachment.displaced.take() {
                    displaced.give_up();
                }
                Link::Pinned
            }
            Link::Adopted(path) => match replace(program, attachment, &path) {
                Ok(()) => Link::Pinned,
                Err(_) if matches!(pinned_link_ifindex(&path), Ok(None)) => {
                    warn!(interface = attachment.interface, "interface gone");
                    Link::Lost { refusal: None }
                }
                Err(error) => return Err(error),
            },
            kept @ (Link::Pinned | Link::Lost { .. }) => kept,
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

/// Detaches whatever is pinned under an interface's name.
fn unpin_all(pins: &PinDir, name: &str) -> Result<(), DataPlaneError> {
    let pinned = pins.links().into_iter();
    pinned
        .filter(|(link_name, ..)| link_name == name)
        .try_for_each(|(_, _, path)| unpin(&path))
}

/// Detaches what is pinned at `path`.
fn unpin(path: &Path) -> Result<(), DataPlaneError> {
    std::fs::remove_file(path).map_err(|source| DataPlaneError::Path {
        action: "remove",
        path: path.to_owned(),
        source,
    })
}

fn look_error(what: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> DataPlaneError {
    move |source| DataPlaneError::Path {
        action: "look up",
        path: what.as_ref().to_owned(),
        source,
    }
}

fn pin_error(path: &Path, error: impl std::fmt::Display) -> DataPlaneError {
    DataPlaneError::Pin {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
