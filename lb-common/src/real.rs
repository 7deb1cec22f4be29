//! Real servers and the next hops towards them, as the program sees them.

use crate::{
    addr::{Addr, Be16},
    limits::POOL_ADDRESSES,
};

/// Value of `REALS`, an array indexed by real slot. A slot belongs to one
/// real of one service and is reused only when no connection refers to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealServer {
    pub address: Addr,
    /// Service slot.
    pub service: u32,
    /// Next-hop slot.
    pub next_hop: u32,
    /// For a daemon that adopts the plan made with it: the weight in force, and
    /// the last one above 0.
    pub weight: u16,
    pub last_weight: u16,
    /// Likewise: since when it has been in its slow start, ms of the monotonic
    /// clock modulo 2^32; 0: it is not.
    pub up_since_ms: u32,
    /// Live connections from which on it is overloaded, 0: never.
    pub upper: u32,
    /// Live connections below which it no longer is.
    pub lower: u32,
    /// nat: the port that the VIP's is translated to; 0: the packet's own.
    pub port: Be16,
    /// tun over GUE: the UDP port that the real decapsulates on.
    pub tunnel_port: Be16,
    /// [`crate::connection::ForwardingMethod`].
    pub method: u8,
    /// [`slot`].
    pub slot: u8,
    /// tun: [`TunnelKind`].
    pub tunnel: u8,
    /// Bits of [`flag`].
    pub flags: u8,
}

/// How tun encapsulates.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelKind {
    /// The IP packet alone (RFC 2003, RFC 2473, RFC 4213).
    Ipip = 0,
    /// Generic UDP encapsulation (draft-ietf-intarea-gue, version 0).
    Gue = 1,
    /// Generic routing encapsulation (RFC 2784).
    Gre = 2,
}

impl TunnelKind {
    pub const ALL: [Self; 3] = [Self::Ipip, Self::Gue, Self::Gre];

    /// An unknown number reads as [`TunnelKind::Ipip`].
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Gue,
            2 => Self::Gre,
            _ => Self::Ipip,
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Gre => "gre",
        }
    }

    /// Bytes between the outer IP header and the inner one.
    #[inline(always)]
    #[must_use]
    pub const fn header_bytes(self, checksum: bool) -> u16 {
        match self {
            Self::Ipip => 0,
            Self::Gue => 12,
            Self::Gre if checksum => 8,
            Self::Gre => 4,
        }
    }
}

/// Bits of [`RealServer::flags`].
pub mod flag {
    /// tun over GUE or GRE: with a checksum.
    pub const TUNNEL_CHECKSUM: u8 = 1;
    /// nat: the source is translated too, to an address of `MASQUERADE`.
    pub const MASQUERADE: u8 = 1 << 1;
    /// Persistent clients are to go elsewhere.
    pub const NO_PERSISTENCE: u8 = 1 << 2;
}

/// Values of [`RealServer::slot`] and [`NextHop::slot`].
pub mod slot {
    pub const FREE: u8 = 0;
    pub const IN_USE: u8 = 1;
    /// Deleted; established connections still go there.
    pub const RETIRED: u8 = 2;
}

/// Live connections of a real. `REAL_COUNTS` holds them by real slot, as many to a
/// value as [`crate::scheduler::SHELF`] says. Changed
/// by the programs alone, by atomic adds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealCounts {
    pub active: u32,
    pub inactive: u32,
    /// Persistence templates that lead here.
    pub persistent: u32,
    /// 1: schedulers leave it out until it has fewer connections.
    pub overloaded: u32,
}

impl RealServer {
    /// Whether so many live connections are too many by the thresholds: from the
    /// upper one on, until there are fewer than the lower one.
    #[inline(always)]
    #[must_use]
    pub const fn is_overloaded(&self, live: u32, was_overloaded: bool) -> bool {
        if self.upper == 0 {
            false
        } else if live >= self.upper {
            true
        } else {
            was_overloaded && live >= self.lower
        }
    }
}

/// Entries of a real that a walk has met. Value of `LIVE`, by real slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// As in [`RealCounts`].
    pub active: u32,
    pub inactive: u32,
    pub persistent: u32,
    /// Entries and templates that refer to the slot, for whatever reason.
    pub references: u32,
}

/// Value of `NEXT_HOPS`, an array indexed by next-hop slot: where frames for
/// one address leave. Written by the daemon; the program lowers `mtu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub egress: Egress,
    /// MTU of the egress interface or of the route, bytes; the program lowers
    /// it when a router on a tunnel's way says so.
    pub mtu: u16,
    /// 1 when the fields above are good to use.
    pub resolved: u8,
    /// [`slot`].
    pub slot: u8,
    /// The egress address by route: the outer source of a tunnel.
    pub local_address: Addr,
    /// The address that this hop leads to.
    pub address: Addr,
}

/// Value of `CLIENT_HOPS`, an array by the low bits of `id`: how frames reach
/// clients under nat, as the kernel's routes and neighbours said a moment ago.
/// Programs alone write it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientHop {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub egress: Egress,
    /// Of the route, bytes.
    pub mtu: u16,
    pub pad: u16,
    /// A hash of the rest, with the highest bit set; [`WRITING`] while somebody
    /// writes.
    pub id: u32,
}

/// [`ClientHop::id`] of one that is being written.
pub const WRITING: u32 = 1;

/// What no [`ClientHop::id`] is, and no next-hop slot.
pub const NO_WAY: u32 = u32::MAX;

/// Entries of `CLIENT_HOPS`, a power of two.
pub const CLIENT_HOPS: u32 = 1024;

/// How long a way to a client is good, in units of [`hop_time`]: about a second.
pub const CLIENT_HOP_LIFE: u32 = 15;

/// A time of the coarse monotonic clock, in units of 2^26 ns.
#[inline(always)]
#[must_use]
pub const fn hop_time(now_ns: u64) -> u32 {
    (now_ns >> 26) as u32
}

/// How frames leave: the interface and what becomes of VLAN tags. Value of
/// `PORTS`, a hash by interface index that holds the VLAN interfaces: frames
/// for one of those leave by its lower port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    pub ifindex: u32,
    /// The outer tag first.
    pub tags: [VlanTag; 2],
    /// [`vlan`].
    pub vlan: u8,
    pub pad: [u8; 3],
}

/// A VLAN tag as it stands in a frame (IEEE 802.1Q).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanTag {
    /// EtherType of the tag: 0x8100 or 0x88a8.
    pub protocol: Be16,
    /// Priority (3 bits), drop eligible (1), VLAN identifier (12).
    pub tci: Be16,
}

/// Values of [`Egress::vlan`].
pub mod vlan {
    /// Tags stay while the frame leaves by the interface that it came by, else
    /// they are taken off.
    pub const KEEP: u8 = 0;
    pub const UNTAGGED: u8 = 1;
    /// The first of `tags`.
    pub const ONE_TAG: u8 = 2;
    pub const TWO_TAGS: u8 = 3;
}

/// Value of `MASQUERADE`, a hash by service slot: the addresses that nat puts
/// in the client's place, of the service's family.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    pub addresses: [Addr; POOL_ADDRESSES],
    /// How many of them there are, 1 to [`POOL_ADDRESSES`].
    pub count: u32,
}

const _: () = assert!(size_of::<RealServer>() == 48);
const _: () = assert!(size_of::<Egress>() == 16);
const _: () = assert!(size_of::<Pool>() == 132);
const _: () = assert!(size_of::<RealCounts>() == 16);
const _: () = assert!(size_of::<Live>() == 16);
const _: () = assert!(size_of::<NextHop>() == 64);
const _: () = assert!(size_of::<ClientHop>() == 36);
