//! The answer to "how do frames for this address leave": a next hop, or why
//! there is none.

use std::{fmt, net::IpAddr};

use lb_common::real::Egress;

/// A next hop that frames can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Of the real server on the same link, or of the gateway towards it.
    pub destination_mac: [u8; 6],
    /// Of the interface that the route names.
    pub source_mac: [u8; 6],
    /// The interface that the route names or, if that is a VLAN interface, the
    /// port below it and the tags.
    pub egress: Egress,
    /// The route's MTU if it has one, else the interface's; bytes.
    pub mtu: u16,
    /// The source address by route.
    pub local_address: IpAddr,
}

/// Whether there is a next hop towards an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Frames can be sent.
    Resolved(Hop),
    /// They cannot.
    Unresolved(Reason),
}

/// Why frames for an address cannot be sent. `Display` gives the operator's
/// text, to stand behind the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The routing tables have none, or one that forbids.
    NoRoute,
    /// A broadcast or multicast address.
    NotUnicast,
    /// The address belongs to this host.
    Local,
    /// The egress interface is down or has no carrier.
    InterfaceDown {
        /// Its name.
        name: String,
    },
    /// The egress interface has no Ethernet addresses.
    NoLinkLayer {
        /// Its name.
        name: String,
    },
    /// The egress interface is a VLAN interface on others, too deep for a frame
    /// with two tags.
    TooManyTags {
        /// Its name.
        name: String,
    },
    /// The neighbour has been asked and has not answered yet.
    NeighbourPending,
    /// The neighbour does not answer.
    NeighbourFailed,
}

/// A new answer for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The real server.
    pub address: IpAddr,
    /// What holds from now on.
    pub resolution: Resolution,
}

impl Resolution {
    /// The next hop, if there is one.
    pub fn hop(&self) -> Option<&Hop> {
        match self {
            Self::Resolved(hop) => Some(hop),
            Self::Unresolved(_) => None,
        }
    }

    /// Whether waiting a moment may bring another answer.
    pub(super) fn is_pending(&self) -> bool {
        *self == Self::Unresolved(Reason::NeighbourPending)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no route"),
            Self::NotUnicast => f.write_str("is not a unicast address"),
            Self::Local => f.write_str("is this host's own address"),
            Self::InterfaceDown { name } => write!(f, "interface {name} is down"),
            Self::NoLinkLayer { name } => {
                write!(f, "interface {name} has no link-layer addresses")
            }
            Self::TooManyTags { name } => {
                write!(f, "interface {name} means more than two VLAN tags")
            }
            Self::NeighbourPending => f.write_str("neighbour has not answered yet"),
            Self::NeighbourFailed => f.write_str("neighbour does not answer"),
        }
    }
}
