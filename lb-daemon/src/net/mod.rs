//! The kernel's view of the network, over rtnetlink: interfaces, forwarding,
//! the host's own addresses, and the next hops towards the real servers.
//!
//! ```text
//! netlink events ── event ─┐
//! netlink answers ─ kernel ┴─ table (pure) ── hops (the task that owns it) ── changes
//! ```
//!
//! Everything here speaks for the network namespace in which it was started.

use std::io;

pub mod addresses;
pub mod announce;
pub mod forwarding;
pub mod hops;
pub mod link;
pub mod links;
pub mod ownership;

mod agenda;
mod event;
mod hop;
pub(crate) mod jitter;
mod kernel;
mod neighbour;
mod neighbourhood;
mod route;
mod table;

/// What can go wrong between the daemon and the kernel's network tables.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The interface is not in this network namespace.
    #[error("interface {name} does not exist")]
    NoInterface {
        /// As the operator wrote it.
        name: String,
    },
    /// No netlink socket, or no subscription on it.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The kernel refused a request, or its answer could not be read.
    #[error("netlink: cannot {doing}: {source}")]
    Request {
        /// The request, as in "read the neighbour table".
        doing: &'static str,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// The kernel did not answer in time.
    #[error("netlink: cannot {doing}: no answer")]
    NoAnswer {
        /// The request, as in "read the neighbour table".
        doing: &'static str,
    },
    /// A setting of the kernel cannot be read.
    #[error("cannot read {path}: {source}")]
    Sysctl {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

impl NetError {
    /// Whether the kernel did not allow the request.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Request { source, .. } => kernel::errno(source) == libc::EPERM,
            _ => false,
        }
    }
}
