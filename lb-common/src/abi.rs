//! The contract between the pinned data plane and any daemon that adopts it:
//! version, names of maps and programs, program-array indices, and the small
//! records that fit nowhere else.
//!
//! Changing a layout, a name or an index means a new [`ABI_VERSION`]; the
//! version is part of the pin path, so two versions never meet in one map.
//! `docs/maps.md` lists every map with its key and value.

use crate::addr::Addr;

/// Part of the pin path: `<pin_dir>/v<ABI_VERSION>`.
pub const ABI_VERSION: u32 = 1;

/// Map names as they stand in the object file and under the pin path. The
/// kernel keeps 15 characters.
pub mod map {
    pub const CONNECTIONS_V4: &str = "CONNECTIONS_V4";
    pub const SERVICES: &str = "SERVICES";
    pub const CURRENT_PLANS: &str = "CURRENT_PLANS";
    pub const SERVICE_STATS: &str = "SERVICE_STATS";
    pub const PLANS: &str = "PLANS";
    pub const PLAN_WORDS: &str = "PLAN_WORDS";
    pub const REALS: &str = "REALS";
    pub const REAL_COUNTS: &str = "REAL_COUNTS";
    pub const REAL_STATS: &str = "REAL_STATS";
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    pub const SETTINGS: &str = "SETTINGS";
    pub const DROPS: &str = "DROPS";
    pub const EVENTS: &str = "EVENTS";
    pub const SCRATCH: &str = "SCRATCH";
    pub const STAGES: &str = "STAGES";
}

/// Program names in the object file.
pub mod program {
    /// The entry: one per interface.
    pub const DIRECTOR: &str = "director";
    /// Makes the connection after a scheduler's pick.
    pub const CONNECT: &str = "connect";
    /// Answers a packet with an ICMP message.
    pub const ICMP_REPLY: &str = "icmp_reply";
    /// Ends connections that the daemon's walk found idle; run by
    /// `BPF_PROG_TEST_RUN`, never attached.
    pub const SWEEP: &str = "sweep";
}

/// Indices into the program array [`map::STAGES`]. Schedulers come first, at
/// [`crate::scheduler::Scheduler`]'s own number.
pub mod stage {
    pub const CONNECT: u32 = 32;
    pub const ICMP_REPLY: u32 = 33;
    /// Size of the program array.
    pub const COUNT: u32 = 40;
}

/// What one stage leaves for the next on the same CPU, across a tail call.
/// Value of [`map::SCRATCH`], a per-CPU array of one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Scratch {
    /// Service slot of the packet's virtual service.
    pub service: u32,
    /// Plan slot that was current when the packet came.
    pub plan: u32,
    /// Real slot that the scheduler picked.
    pub real: u32,
    /// Next-hop MTU for "fragmentation needed", host order, bytes.
    pub icmp_mtu: u16,
    /// ICMP type and code to answer with.
    pub icmp_type: u8,
    pub icmp_code: u8,
    /// ICMP messages made in the second `icmp_second` on this CPU.
    pub icmp_made: u32,
    /// Second of the monotonic clock that `icmp_made` belongs to.
    pub icmp_second: u32,
    /// When this CPU last asked the daemon for a probe, ns, monotonic.
    pub last_event_ns: u64,
}

/// Run-time settings. Value of [`map::SETTINGS`], an array of one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seconds that an idle connection in each state is kept, indexed by
    /// [`crate::tcp_state::ConnectionState`].
    pub timeouts_s: [u32; 16],
    /// Bits of [`settings_flag`].
    pub flags: u32,
    /// ICMP messages that one CPU may make a second.
    pub icmp_rate: u32,
}

/// Bits of [`Settings::flags`].
pub mod settings_flag {
    /// Any TCP segment but RST may create a connection (IPVS's `sloppy_tcp`).
    pub const SLOPPY_TCP: u32 = 1;
    /// dr and tun: a SYN in FIN_WAIT is a new connection.
    pub const REUSE_FIN_WAIT: u32 = 1 << 1;
}

/// A message from the program to the daemon, through the ring buffer
/// [`map::EVENTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// [`event_kind`].
    pub kind: u32,
    /// Next-hop slot, or interface index, by kind.
    pub index: u32,
    /// The neighbour to probe, where the kind has one.
    pub address: Addr,
}

/// Values of [`Event::kind`].
pub mod event_kind {
    /// A packet met the unresolved next hop `index`.
    pub const NEXT_HOP_UNRESOLVED: u32 = 1;
    /// The neighbour `address` on interface `index` is needed on the way
    /// back to a client and has no link-layer address.
    pub const NEIGHBOUR_MISSING: u32 = 2;
}

const _: () = assert!(size_of::<Scratch>() == 32);
const _: () = assert!(size_of::<Settings>() == 72);
const _: () = assert!(size_of::<Event>() == 24);

/// The types that live in maps are plain data.
#[cfg(feature = "user")]
mod pod {
    use super::{Event, Scratch, Settings};
    use crate::{
        connection::Connection,
        flow::FlowKeyV4,
        real::{NextHop, RealCounts, RealServer},
        service::{Plan, ServiceKey},
        stats::RealStats,
    };

    macro_rules! pod {
        ($($t:ty),*) => { $(
            // SAFETY: repr(C), padding is explicit, every bit pattern is valid.
            unsafe impl aya::Pod for $t {}
        )* };
    }
    pod!(
        Scratch, Settings, Event, Connection, FlowKeyV4, NextHop, RealCounts, RealServer, Plan,
        ServiceKey, RealStats
    );
}
