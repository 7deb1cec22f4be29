//! One program on one interface. From Linux 6.6 on by a link, which goes with the
//! process that has it; before, by a filter of a clsact qdisc, which stays when the
//! process is killed, and is known by the program's name.

use std::io;

use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier, TcAttachType,
        links::LinkOrder,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
    },
    util::KernelVersion,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::super::{
    DataPlaneError,
    device::index_of,
    error::reason,
    netlink::{Refused, ask, attribute, list},
};

// include/uapi/linux/rtnetlink.h and pkt_sched.h
const RTM_DELQDISC: u16 = 37;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT: &str = "clsact";

/// Which way the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Out,
    In,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::Out, Self::In];

    /// The program's name, and a filter's. The kernel keeps 15 characters.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Out => "lbd_probe_out",
            Self::In => "lbd_probe_in",
        }
    }

    const fn attach_type(self) -> TcAttachType {
        match self {
            Self::Out => TcAttachType::Egress,
            Self::In => TcAttachType::Ingress,
        }
    }

    /// Of filters (`TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`).
    const fn parent(self) -> u32 {
        match self {
            Self::Out => 0xffff_fff3,
            Self::In => 0xffff_fff2,
        }
    }
}

/// The program on the interface. Dropping it detaches.
#[derive(Debug)]
pub(super) struct Hook {
    /// Before the qdisc, which goes when it has no filter any more.
    _link: SchedClassifierLink,
    _qdisc: Option<Qdisc>,
}

impl Hook {
    /// Attaches, behind other programs.
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        interface: &str,
        direction: Direction,
    ) -> Result<Self, DataPlaneError> {
        let failed = |reason| DataPlaneError::ProbePath {
            name: interface.to_owned(),
            reason,
        };
        let mut qdisc = None;
        let options = if has_links() {
            TcAttachOptions::TcxOrder(LinkOrder::default())
        } else {
            qdisc = Qdisc::ensure(interface).map_err(|error| failed(error.to_string()))?;
            if remove_filter(interface, direction).map_err(|error| failed(error.to_string()))? {
                // So is the qdisc.
                qdisc = Qdisc::of(interface).map_err(|error| failed(error.to_string()))?;
            }
            TcAttachOptions::Netlink(NlOptions::default())
        };
        let program = super::program(ebpf, direction)?;
        let link = try_attach(program, interface, direction, options)
            .map_err(|error| failed(reason(&error)))?;
        Ok(Self {
            _link: link,
            _qdisc: qdisc,
        })
    }
}

fn try_attach(
    program: &mut SchedClassifier,
    interface: &str,
    direction: Direction,
    options: TcAttachOptions,
) -> Result<SchedClassifierLink, ProgramError> {
    let id = program.attach_with_options(interface, direction.attach_type(), options)?;
    program.take_link(id)
}

/// Takes away what a daemon that was killed has left on any interface of this network
/// namespace. Before Linux 6.6 alone there can be anything.
///
/// # Errors
/// Of the first interface where it stays; all others have been seen to.
pub fn remove_leftovers() -> io::Result<()> {
    if has_links() {
        return Ok(());
    }
    let mut outcome = Ok(());
    for interface in &nix::net::if_::if_nameindex()? {
        let Ok(name) = interface.name().to_str() else {
            continue;
        };
        for direction in Direction::BOTH {
            match remove_filter(name, direction) {
                Ok(false) => {}
                Ok(true) => remove_if_empty(interface.index()),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
    }
    outcome
}

/// Whether links can be had: they end with their process.
fn has_links() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// Removes the filter of a program of ours; whether there was one.
fn remove_filter(interface: &str, direction: Direction) -> io::Result<bool> {
    match tc::qdisc_detach_program(interface, direction.attach_type(), direction.program()) {
        Ok(()) => Ok(true),
        Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // No qdisc, or no such interface any more.
        Err(TcError::NetlinkError(error))
            if matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::ENOENT | libc::ENODEV)
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

/// A clsact qdisc of our own making. Dropping it removes it, unless somebody else
/// has filters there by now.
#[derive(Debug)]
struct Qdisc {
    index: u32,
}

impl Qdisc {
    /// The one that is there.
    fn of(interface: &str) -> io::Result<Option<Self>> {
        Ok(index_of(interface)?.map(|index| Self { index }))
    }

    /// None: there is one already.
    fn ensure(interface: &str) -> io::Result<Option<Self>> {
        match tc::qdisc_add_clsact(interface) {
            Ok(()) => Self::of(interface),
            Err(TcError::AlreadyAttached) => Ok(None),
            Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {
                Ok(None)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Drop for Qdisc {
    fn drop(&mut self) {
        remove_if_empty(self.index);
    }
}

/// Removes the clsact qdisc of an interface if no filter is there. What cannot be
/// removed does nothing.
fn remove_if_empty(index: u32) {
    let has_none = |direction: Direction| {
        let filters = list(
            NETLINK_ROUTE,
            RTM_GETTFILTER,
            &message(index, 0, direction.parent()),
        );
        matches!(filters.as_deref(), Ok([]))
    };
    if !Direction::BOTH.into_iter().all(has_none) {
        return;
    }
    let mut body = message(index, CLSACT_HANDLE, TC_H_CLSACT);
    body.extend(attribute(TCA_KIND, format!("{CLSACT}\0").as_bytes()));
    if let Err(Refused { error, .. }) = ask(NETLINK_ROUTE, RTM_DELQDISC, &body) {
        tracing::debug!(index, %error, "the clsact qdisc stays");
    }
}

/// `struct tcmsg`.
fn message(index: u32, handle: u32, parent: u32) -> Vec<u8> {
    [0, index, handle, parent, 0]
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect()
}
