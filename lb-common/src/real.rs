//! Real servers and the next hops towards them, as the program sees them.

use crate::addr::{Addr, Be16};

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
    /// Effective weight, for a daemon that adopts the plan made with it.
    pub weight: u32,
    /// nat: the port that the VIP's is translated to.
    pub port: Be16,
    /// [`crate::connection::ForwardingMethod`].
    pub method: u8,
    /// [`slot`].
    pub slot: u8,
}

/// Values of [`RealServer::slot`] and [`NextHop::slot`].
pub mod slot {
    pub const FREE: u8 = 0;
    pub const IN_USE: u8 = 1;
    /// Deleted; established connections still go there.
    pub const RETIRED: u8 = 2;
}

/// Live connections of a real. Value of `REAL_COUNTS`, by real slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealCounts {
    pub active: u32,
    pub inactive: u32,
}

/// Value of `NEXT_HOPS`, an array indexed by next-hop slot: where frames for
/// one address leave. Written by the daemon alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    /// Egress interface.
    pub ifindex: u32,
    /// MTU of the egress interface, bytes.
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

const _: () = assert!(size_of::<RealServer>() == 32);
const _: () = assert!(size_of::<RealCounts>() == 8);
const _: () = assert!(size_of::<NextHop>() == 52);
