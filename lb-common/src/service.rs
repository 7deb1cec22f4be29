//! Virtual services and their plans.
//!
//! `SERVICES` maps [`ServiceKey`] to a service slot (`u32`); `CURRENT_PLANS`,
//! an array of `u64` by service slot, holds the slot of the plan in force.
//! Changing that one word is what makes a new plan current: a packet sees the
//! old plan or the new one, never a mixture.

use crate::{
    addr::{Addr, Be16},
    rate_limit::Limit,
    scheduler::NO_REAL,
};

/// Key of `SERVICES`, 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    pub address: Addr,
    pub port: Be16,
    /// IP protocol number; 0: a firewall mark, which is the last word of
    /// `address`.
    pub protocol: u8,
    /// Of a firewall mark 4 or 6; else 0.
    pub family: u8,
}

/// Value of `POLICIES`, an array indexed by service slot: what holds for the
/// service's new connections before a scheduler sees them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// New connections; none where both are 0.
    pub rate: Limit,
    /// Bits of [`policy`].
    pub flags: u32,
    /// Seconds that a persistence template outlives its last use.
    pub persistence_s: u32,
    /// Prefix length under which clients are one to persistence.
    pub prefix: u8,
    pub pad: [u8; 7],
}

/// Bits of [`Policy::flags`].
pub mod policy {
    /// Clients stay with their real.
    pub const PERSISTENT: u32 = 1;
    /// UDP: each datagram is scheduled, none leaves an entry.
    pub const ONE_PACKET: u32 = 1 << 1;
    /// Of the packet, in the scratch alone: the first fragment of a datagram,
    /// whose others need an entry to follow.
    pub const FRAGMENT: u32 = 1 << 31;
}

/// Key and value of `ONE_PACKET_REALS`, a hash: UDP replies that no connection
/// leads back come from the key, and are to come from the value.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReplyEnd {
    pub address: Addr,
    pub port: Be16,
    pub pad: [u8; 2],
}

/// Key of `ADDRESSES`, a hash (value: `u32`, 1): what the director has to do
/// with packets of which no port is known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressKey {
    pub address: Addr,
    /// IP protocol number.
    pub protocol: u8,
    /// [`role`].
    pub role: u8,
    pub pad: [u8; 2],
}

/// Values of [`AddressKey::role`].
pub mod role {
    /// Destination of a virtual service.
    pub const SERVICE: u8 = 0;
    /// A real under nat, whose packets are translated on their way back.
    pub const NAT_REAL: u8 = 1;
}

/// Value of `PLANS`, an array indexed by plan slot: how a scheduler is to
/// pick. Its list lies in `PLAN_WORDS`, an array of `[u32; SHELF]`, at `first`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// [`crate::scheduler::Scheduler`].
    pub scheduler: u32,
    /// Bits of [`crate::scheduler::flag`].
    pub flags: u32,
    /// First word of the plan in `PLAN_WORDS`, a multiple of
    /// [`crate::scheduler::SHELF`], and how many the scheduler has.
    pub first: u32,
    pub length: u32,
    /// Picks after which the sequence repeats, or what the scheduler says; 0:
    /// there is nothing to pick.
    pub cycle: u32,
    /// The list that stateless picks index, of the reals that need no entry
    /// ([`crate::scheduler::maglev`]).
    pub table_first: u32,
    pub table_length: u32,
    /// Real slots behind it, all that the plan was made for in the order of
    /// configuration: for a daemon that adopts it.
    pub listed: u32,
    /// Slot of the real that takes what the scheduler gives nobody: the sorry
    /// server; [`NO_REAL`]: nobody does.
    pub backup: u32,
    pub pad: u32,
    /// The turn that the plan began at.
    pub start: u64,
    /// The next turn: the one field that the program writes, by atomic add.
    pub turn: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            scheduler: 0,
            flags: 0,
            first: 0,
            length: 0,
            cycle: 0,
            table_first: 0,
            table_length: 0,
            listed: 0,
            backup: NO_REAL,
            pad: 0,
            start: 0,
            turn: 0,
        }
    }
}

const _: () = assert!(size_of::<ServiceKey>() == 20);
const _: () = assert!(size_of::<AddressKey>() == 20);
const _: () = assert!(size_of::<Plan>() == 56);
const _: () = assert!(size_of::<Policy>() == 32);
const _: () = assert!(size_of::<ReplyEnd>() == 20);
