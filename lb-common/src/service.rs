//! Virtual services and their plans.
//!
//! `SERVICES` maps [`ServiceKey`] to a service slot (`u32`); `CURRENT_PLANS`,
//! an array of `u64` by service slot, holds the slot of the plan in force.
//! Changing that one word is what makes a new plan current: a packet sees the
//! old plan or the new one, never a mixture.

use crate::addr::{Addr, Be16};

/// Key of `SERVICES`, 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    pub address: Addr,
    pub port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    pub pad: u8,
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
/// pick. Its list lies in `PLAN_WORDS`, an array of `u32`, at `first`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// [`crate::scheduler::Scheduler`].
    pub scheduler: u32,
    /// First word of the plan in `PLAN_WORDS`, and how many there are.
    pub first: u32,
    pub length: u32,
    /// Picks after which the sequence repeats; 0: there is nothing to pick.
    pub cycle: u32,
    /// The turn that the plan began at.
    pub start: u64,
    /// The next turn: the one field that the program writes, by atomic add.
    pub turn: u64,
}

const _: () = assert!(size_of::<ServiceKey>() == 20);
const _: () = assert!(size_of::<AddressKey>() == 20);
const _: () = assert!(size_of::<Plan>() == 32);
