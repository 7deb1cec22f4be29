//! The contract between the pinned data plane and any daemon that adopts it:
//! version, names of maps and programs, program-array indices, and the small
//! records that fit nowhere else.
//!
//! Changing a layout, a name or an index means a new [`ABI_VERSION`]; the
//! version is part of the pin path, so two versions never meet in one map.
//! `docs/maps.md` lists every map with its key and value.

use crate::{
    addr::{Addr, Be16, Be32},
    connection::Connection,
    defence::Marks,
    flow::FlowKeyV6,
    persistence::TemplateKey,
    rate_limit::Limit,
    real::{ClientHop, Egress},
    scheduler::Key,
    table::Search,
};

/// Part of the pin path: `<pin_dir>/v<ABI_VERSION>`.
pub const ABI_VERSION: u32 = 7;

/// Map names as they stand in the object file and under the pin path. The
/// kernel keeps 15 characters.
pub mod map {
    pub const CONNECTIONS_V4: &str = "CONNECTIONS_V4";
    pub const CONNECTIONS_V6: &str = "CONNECTIONS_V6";
    pub const INDEX_V4: &str = "INDEX_V4";
    pub const INDEX_V6: &str = "INDEX_V6";
    pub const FREE_V4: &str = "FREE_V4";
    pub const FREE_V6: &str = "FREE_V6";
    pub const TABLE: &str = "TABLE";
    pub const FILTER: &str = "FILTER";
    pub const FRAGMENTS: &str = "FRAGMENTS";
    pub const ADDRESSES: &str = "ADDRESSES";
    pub const ALLOW: &str = "ALLOW";
    pub const DENY: &str = "DENY";
    pub const HALF_OPEN_V4: &str = "HALF_OPEN_V4";
    pub const HALF_OPEN_V6: &str = "HALF_OPEN_V6";
    pub const MARKS: &str = "MARKS";
    pub const ONE_PACKET_REALS: &str = "ONE_PACKET_REALS";
    pub const POLICIES: &str = "POLICIES";
    pub const SERVICE_RATES: &str = "SERVICE_RATES";
    pub const SOURCE_RATES: &str = "SOURCE_RATES";
    pub const TABLE_STATES: &str = "TABLE_STATES";
    pub const TEMPLATES: &str = "TEMPLATES";
    pub const LIVE: &str = "LIVE";
    pub const PACE: &str = "PACE";
    pub const PAUSE: &str = "PAUSE";
    pub const MASQUERADE: &str = "MASQUERADE";
    pub const PORTS: &str = "PORTS";
    pub const SERVICES: &str = "SERVICES";
    pub const CURRENT_PLANS: &str = "CURRENT_PLANS";
    pub const SERVICE_STATS: &str = "SERVICE_STATS";
    pub const PLANS: &str = "PLANS";
    pub const PLAN_WORDS: &str = "PLAN_WORDS";
    pub const LOCALITIES: &str = "LOCALITIES";
    pub const LOCALITY_COUNTS: &str = "LOCALITY_COUNTS";
    pub const REALS: &str = "REALS";
    pub const REAL_COUNTS: &str = "REAL_COUNTS";
    pub const REAL_STATS: &str = "REAL_STATS";
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    pub const CLIENT_HOPS: &str = "CLIENT_HOPS";
    pub const SETTINGS: &str = "SETTINGS";
    pub const DROPS: &str = "DROPS";
    pub const EVENTS: &str = "EVENTS";
    pub const EXPIRIES: &str = "EXPIRIES";
    pub const SCRATCH: &str = "SCRATCH";
    pub const STAGES: &str = "STAGES";
}

/// Program names in the object file.
pub mod program {
    /// The entry: one per interface.
    pub const DIRECTOR: &str = "director";
    /// IPv6's way.
    pub const IPV6: &str = "ipv6";
    /// What a packet without a connection is to the services: the beginning
    /// of a connection, or nothing of ours.
    pub const ARRIVE_V4: &str = "arrive_v4";
    pub const ARRIVE_V6: &str = "arrive_v6";
    /// Forwards a packet that leaves no entry.
    pub const STATELESS_V4: &str = "stateless_v4";
    pub const STATELESS_V6: &str = "stateless_v6";
    /// Answers a segment of a connection that was cut with RST.
    pub const RESET_V4: &str = "reset_v4";
    pub const RESET_V6: &str = "reset_v6";
    /// Ends the old connection that a packet renews, or that goes with it.
    pub const OVER_V4: &str = "over_v4";
    pub const OVER_V6: &str = "over_v6";
    /// Ends a half-open connection by nat in favour of a new one.
    pub const MAKE_ROOM_V4: &str = "make_room_v4";
    pub const MAKE_ROOM_V6: &str = "make_room_v6";
    /// Makes or renews the template of a packet that leaves no entry.
    pub const TEMPLATE: &str = "template";
    /// Makes the connection after a scheduler's pick.
    pub const CONNECT_V4: &str = "connect_v4";
    pub const CONNECT_V6: &str = "connect_v6";
    /// First and later fragments.
    pub const FRAGMENT_V4: &str = "fragment_v4";
    pub const FRAGMENT_V6: &str = "fragment_v6";
    /// ICMP errors about packets of connections.
    pub const ICMP_ERROR_V4: &str = "icmp_error_v4";
    pub const ICMP_ERROR_V6: &str = "icmp_error_v6";
    /// tun by anything but the packet's own family and nothing more.
    pub const ENCAPSULATE_V4: &str = "encapsulate_v4";
    pub const ENCAPSULATE_V6: &str = "encapsulate_v6";
    /// Forwards fragments and ICMP errors along a connection.
    pub const FOLLOW_V4: &str = "follow_v4";
    pub const FOLLOW_V6: &str = "follow_v6";
    /// ICMP errors about the director's own tunnels.
    pub const TUNNEL_ERROR_V4: &str = "tunnel_error_v4";
    pub const TUNNEL_ERROR_V6: &str = "tunnel_error_v6";
    /// Answers a packet with an ICMP message.
    pub const ICMP_REPLY_V4: &str = "icmp_reply_v4";
    pub const ICMP_REPLY_V6: &str = "icmp_reply_v6";
    /// Puts VLAN tags on and takes them off on the way out.
    pub const VLAN: &str = "vlan";
    /// End connections that the daemon's walk found idle; run by
    /// `BPF_PROG_TEST_RUN`, never attached.
    pub const SWEEP_V4: &str = "sweep_v4";
    pub const SWEEP_V6: &str = "sweep_v6";
    /// Ends persistence templates, likewise.
    pub const SWEEP_TEMPLATES: &str = "sweep_templates";
    /// An iterator over the templates: finds what is to end.
    pub const WALK_TEMPLATES: &str = "walk_templates";
    /// Corrects counts, likewise.
    pub const REPAIR: &str = "repair";
}

/// Indices into the program array [`map::STAGES`]. Schedulers come first, at
/// [`crate::scheduler::Scheduler`]'s own number.
pub mod stage {
    use super::program;

    pub const DIRECTOR: u32 = 32;
    pub const IPV6: u32 = 33;
    pub const CONNECT_V4: u32 = 34;
    pub const CONNECT_V6: u32 = 35;
    pub const FRAGMENT_V4: u32 = 36;
    pub const FRAGMENT_V6: u32 = 37;
    pub const ICMP_ERROR_V4: u32 = 38;
    pub const ICMP_ERROR_V6: u32 = 39;
    pub const ICMP_REPLY_V4: u32 = 40;
    pub const ICMP_REPLY_V6: u32 = 41;
    pub const VLAN: u32 = 42;
    pub const TUNNEL_ERROR_V4: u32 = 43;
    pub const TUNNEL_ERROR_V6: u32 = 44;
    pub const FOLLOW_V4: u32 = 45;
    pub const FOLLOW_V6: u32 = 46;
    pub const ENCAPSULATE_V4: u32 = 47;
    pub const ENCAPSULATE_V6: u32 = 48;
    pub const ARRIVE_V4: u32 = 49;
    pub const ARRIVE_V6: u32 = 50;
    pub const STATELESS_V4: u32 = 51;
    pub const STATELESS_V6: u32 = 52;
    pub const RESET_V4: u32 = 53;
    pub const RESET_V6: u32 = 54;
    pub const OVER_V4: u32 = 55;
    pub const OVER_V6: u32 = 56;
    pub const MAKE_ROOM_V4: u32 = 57;
    pub const MAKE_ROOM_V6: u32 = 58;
    pub const TEMPLATE: u32 = 59;
    /// Size of the program array.
    pub const COUNT: u32 = 64;

    /// Every stage but the schedulers, with its program.
    pub const ALL: [(u32, &str); 28] = [
        (DIRECTOR, program::DIRECTOR),
        (IPV6, program::IPV6),
        (CONNECT_V4, program::CONNECT_V4),
        (CONNECT_V6, program::CONNECT_V6),
        (FRAGMENT_V4, program::FRAGMENT_V4),
        (FRAGMENT_V6, program::FRAGMENT_V6),
        (ICMP_ERROR_V4, program::ICMP_ERROR_V4),
        (ICMP_ERROR_V6, program::ICMP_ERROR_V6),
        (ICMP_REPLY_V4, program::ICMP_REPLY_V4),
        (ICMP_REPLY_V6, program::ICMP_REPLY_V6),
        (VLAN, program::VLAN),
        (TUNNEL_ERROR_V4, program::TUNNEL_ERROR_V4),
        (TUNNEL_ERROR_V6, program::TUNNEL_ERROR_V6),
        (FOLLOW_V4, program::FOLLOW_V4),
        (FOLLOW_V6, program::FOLLOW_V6),
        (ENCAPSULATE_V4, program::ENCAPSULATE_V4),
        (ENCAPSULATE_V6, program::ENCAPSULATE_V6),
        (ARRIVE_V4, program::ARRIVE_V4),
        (ARRIVE_V6, program::ARRIVE_V6),
        (STATELESS_V4, program::STATELESS_V4),
        (STATELESS_V6, program::STATELESS_V6),
        (RESET_V4, program::RESET_V4),
        (RESET_V6, program::RESET_V6),
        (OVER_V4, program::OVER_V4),
        (OVER_V6, program::OVER_V6),
        (MAKE_ROOM_V4, program::MAKE_ROOM_V4),
        (MAKE_ROOM_V6, program::MAKE_ROOM_V6),
        (TEMPLATE, program::TEMPLATE),
    ];
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
    /// MTU for [`message::TOO_BIG`], host order, bytes.
    pub icmp_mtu: u16,
    /// The ICMP message to answer with: [`message`].
    pub icmp_message: u8,
    /// 0: the packet is IPv4, 1: IPv6. A family's stages lie this far behind
    /// IPv4's.
    pub family: u8,
    /// ICMP messages made in the second `icmp_second` on this CPU.
    pub icmp_made: u32,
    /// Second of the monotonic clock that `icmp_made` belongs to.
    pub icmp_second: u32,
    /// When this CPU last asked the daemon for a probe, ns, monotonic.
    pub last_event_ns: u64,
    /// How the frame is to leave, for the VLAN stage.
    pub egress: Egress,
    /// VLAN tags of the packet.
    pub tags: u32,
    /// What is on its way along `follow`: [`follower`].
    pub follower: u32,
    /// The connection that a packet belongs to whose own headers do not say
    /// so; IPv4 addresses mapped.
    pub follow: FlowKeyV6,
    /// How the packet is to be encapsulated.
    pub tunnel: Tunnel,
    /// Why the packet leaves no entry: [`entryless`].
    pub entryless: u32,
    /// Bits of [`crate::service::policy`], the service's.
    pub policy: u32,
    /// Room has been made for the connection that is being made: one more than
    /// the place in `HALF_OPEN_V4` or `HALF_OPEN_V6` where it was found.
    pub has_room: u32,
    /// The packet that may begin a connection.
    pub arriving: Arriving,
    /// What the hashing and the locality schedulers go by.
    pub key: Key,
    /// The persistence template of the connection that is being made.
    pub joining: Joining,
    /// The way to a client that was just asked for, and the question: the kernel's
    /// `struct bpf_fib_lookup`.
    pub client_hop: ClientHop,
    pub pad: u32,
    pub route: [u64; 8],
    /// The key that is looked for in a connection table, or put there or taken from
    /// there; of either family.
    pub table_key: FlowKeyV6,
    /// Where that look has come to.
    pub search: Search,
    /// The entries of a connection that is being made: a stack is too small
    /// for them.
    pub forward: Connection,
    pub reverse: Connection,
}

/// What is known of a packet that may begin a connection, for the stages that
/// need not see it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arriving {
    /// Of either family.
    pub key: FlowKeyV6,
    /// As in [`crate::parse::Headers`].
    pub length: u16,
    pub segment: u8,
    /// 1: it is a datagram's first fragment; else a whole datagram.
    pub is_fragment: u8,
    /// The service of exactly its destination, as a slot plus one; 0: none.
    pub service: u32,
}

/// Values of [`Scratch::follower`].
pub mod follower {
    /// A first fragment.
    pub const FIRST_FRAGMENT: u32 = 0;
    pub const LATER_FRAGMENT: u32 = 1;
    /// An ICMP error. It is not counted on the connection.
    pub const MESSAGE: u32 = 2;
}

/// A new connection that is to come under a persistence template.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joining {
    pub key: TemplateKey,
    /// Seconds that the template outlives its last use.
    pub timeout_s: u32,
    /// 1: the connection is under it.
    pub is_under: u32,
    pub pad: u32,
}

/// Values of [`Scratch::entryless`].
pub mod entryless {
    /// The beginning of a connection: its real is the hash's.
    pub const BEGINNING: u32 = 0;
    /// A later packet of a connection without an entry: it makes one while
    /// there is room.
    pub const MIDDLE: u32 = 1;
    /// A datagram of a service with `one_packet`: its real is the scheduler's.
    pub const ONE_PACKET: u32 = 2;
    /// A reply of such a service's real under nat.
    pub const REPLY: u32 = 3;
}

/// What a tunnel's headers take from the connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// `::`: the next hop's local address.
    pub source: Addr,
    pub destination: Addr,
    pub source_port: Be16,
    pub destination_port: Be16,
    /// Next-hop slot.
    pub next_hop: u32,
    /// [`crate::real::TunnelKind`].
    pub kind: u8,
    /// Bits of [`crate::real::flag`].
    pub flags: u8,
    /// 1: nobody is told of what becomes of the packet.
    pub is_silent: u8,
    pub pad: u8,
}

/// Values of [`Scratch::icmp_message`], the same for both families.
pub mod message {
    /// Type 11 code 0, or 3 code 0.
    pub const TIME_EXCEEDED: u8 = 0;
    /// Type 3 code 3, or 1 code 4.
    pub const PORT_UNREACHABLE: u8 = 1;
    /// Type 3 code 4, or 2 code 0.
    pub const TOO_BIG: u8 = 2;
}

/// Run-time settings. Value of [`map::SETTINGS`], an array of one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seconds that an idle connection in each state is kept, indexed by
    /// [`crate::connection_state::ConnectionState`].
    pub timeouts_s: [u32; 32],
    /// Bits of [`settings_flag`].
    pub flags: u32,
    /// ICMP messages that one CPU may make a second.
    pub icmp_rate: u32,
    /// tun: outer sources are this prefix with bits of the flow's tag behind
    /// it, where [`settings_flag::TUNNEL_SOURCES_V4`] is set.
    pub tunnel_source_v4: Be32,
    /// Prefix length, 0 to 32 and 0 to 128.
    pub tunnel_prefix_v4: u8,
    pub tunnel_prefix_v6: u8,
    /// Prefix lengths under which clients are one to `source_rate`.
    pub source_prefix_v4: u8,
    pub source_prefix_v6: u8,
    pub tunnel_source_v6: Addr,
    /// New connections of one prefix.
    pub source_rate: Limit,
    /// Entries of a connection table at which defences come and go.
    pub marks: Marks,
    /// Entries from which on a packet of a connection without an entry makes
    /// none.
    pub most_entries: u32,
    /// Index mask of `HALF_OPEN_V4` and `HALF_OPEN_V6`.
    pub half_open_mask: u32,
    /// Seconds after which a set of lblcr that has not changed loses a member.
    pub locality_s: u32,
    pub pad: u32,
}

/// Bits of [`Settings::flags`].
pub mod settings_flag {
    /// Any TCP segment but RST may create a connection (IPVS's `sloppy_tcp`).
    pub const SLOPPY_TCP: u32 = 1;
    /// dr and tun: a SYN in FIN_WAIT is a new connection.
    pub const REUSE_FIN_WAIT: u32 = 1 << 1;
    /// The tunnels' outer sources are spread by flow.
    pub const TUNNEL_SOURCES_V4: u32 = 1 << 2;
    pub const TUNNEL_SOURCES_V6: u32 = 1 << 3;
    /// `DENY` or `ALLOW` has entries.
    pub const DENY: u32 = 1 << 4;
    pub const ALLOW: u32 = 1 << 5;
    /// `MARKS` has entries.
    pub const MARKS: u32 = 1 << 6;
    /// There are services of port 0.
    pub const PORT_ZERO: u32 = 1 << 7;
    /// `ONE_PACKET_REALS` has entries.
    pub const ONE_PACKET_REALS: u32 = 1 << 8;
    /// `drop_packet` also where stateless can act.
    pub const DROP_PACKET_ALWAYS: u32 = 1 << 9;
    /// A full table may be passed by.
    pub const STATELESS: u32 = 1 << 10;
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
    /// A router on the way to the next hop `index` told a smaller MTU, and the
    /// hop has it now.
    pub const PATH_MTU: u32 = 3;
}

const _: () = assert!(size_of::<Scratch>() == 640);
const _: () = assert!(size_of::<Settings>() == 224);
const _: () = assert!(size_of::<Event>() == 24);

/// The types that live in maps are plain data.
#[cfg(feature = "user")]
mod pod {
    use super::{Connection, Event, Scratch, Settings};
    use crate::{
        addr::Addr,
        defence::TableState,
        firewall_mark::{MarkKey, MarkPorts},
        flow::{FlowKeyV4, FlowKeyV6},
        fragment::{FragmentKey, FragmentVerdict},
        persistence::{Template, TemplateKey},
        real::{ClientHop, Egress, Live, NextHop, Pool, RealCounts, RealServer},
        scheduler::locality::{LocalityKey, LocalitySet},
        service::{AddressKey, Plan, Policy, ReplyEnd, ServiceKey},
        stats::RealStats,
        sweep::{Pace, Repair},
        table::{Bucket, FreePlaces, Shape},
    };

    macro_rules! pod {
        ($($t:ty),*) => { $(
            // SAFETY: repr(C), padding is explicit, every bit pattern is valid.
            unsafe impl aya::Pod for $t {}
        )* };
    }
    // SAFETY: as above.
    unsafe impl<K: aya::Pod> aya::Pod for crate::sweep::Found<K> {}
    // SAFETY: as above; what pads it to whole cache lines is nobody's.
    unsafe impl<K: aya::Pod> aya::Pod for crate::table::Entry<K> {}
    pod!(
        Live,
        Pace,
        Scratch,
        Settings,
        Event,
        Connection,
        FlowKeyV4,
        FlowKeyV6,
        FragmentKey,
        FragmentVerdict,
        Egress,
        NextHop,
        ClientHop,
        Pool,
        RealCounts,
        RealServer,
        AddressKey,
        Plan,
        ServiceKey,
        LocalityKey,
        LocalitySet,
        RealStats,
        Addr,
        MarkKey,
        MarkPorts,
        Repair,
        ReplyEnd,
        Policy,
        TableState,
        Bucket,
        FreePlaces,
        Shape,
        Template,
        TemplateKey
    );
}
