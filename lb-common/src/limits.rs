//! Bounds that configuration, maps and the programs' loops agree on.

/// Reals of one virtual service.
pub const MAX_REALS_PER_SERVICE: u32 = 1024;

/// Places of mh's longest table, a prime: `CONFIG_IP_VS_MH_TAB_INDEX` of Linux
/// allows up to 131,071.
pub const MAX_TABLE_SIZE: u32 = 65_537;

/// Largest weight, as ipvsadm's.
pub const MAX_WEIGHT: u32 = 65_535;

/// Port ranges of one destination's firewall marks.
pub const MARK_RANGES: usize = 32;

/// How long a walk goes on before it lets its reader go, and how many bytes of
/// nothing it writes for that: as much as is read at a time, and a multiple of
/// both families' [`crate::sweep::Found`].
pub const WALK_STRETCH_NS: u64 = 1_000_000;
pub const WALK_PAUSE_BYTES: usize = 4128;

/// What is over sooner is announced to the daemon, in the ring buffer `EXPIRIES`
/// of so many bytes: a walk may come too late for it.
pub const SHORT_TIMEOUT_S: u32 = 30;
pub const EXPIRIES_BYTES: u32 = 1 << 20;

/// How long after the stateless mode packets in the middle of a connection are
/// still adopted where there is no entry: an honest client's next one.
pub const STATELESS_ECHO_S: u32 = 120;

/// How old a half-open entry is at least that the defence `drop_entry` ends.
pub const HALF_OPEN_REST_S: u32 = 1;

/// Keys that one run of the sweep program takes.
pub const SWEEP_BATCH: usize = 64;

/// Largest ICMP message that we make: RFC 1812 section 4.3.2.3.
pub const MAX_ICMP_DATAGRAM_BYTES: u16 = 576;

/// Largest ICMPv6 message that we make: the least MTU (RFC 4443 section 2.4).
pub const MAX_ICMPV6_DATAGRAM_BYTES: u16 = 1280;

/// IPv6 extension headers that are walked over.
pub const MAX_EXTENSION_HEADERS: u32 = 8;

/// Addresses of one service's `masquerade`, and how often a free port is
/// looked for.
pub const POOL_ADDRESSES: usize = 8;
pub const PORT_TRIES: u32 = 16;

/// Datagrams whose fragments are followed at once. The oldest make room.
pub const FRAGMENTED_DATAGRAMS: u32 = 16_384;
/// How long a datagram's later fragments are followed: what Linux gives
/// reassembly (`net.ipv4.ipfrag_time`).
pub const FRAGMENT_LIFE_NS: u64 = 30_000_000_000;

/// A router on a tunnel's way cannot lower the MTU further: Linux's
/// `net.ipv4.route.min_pmtu` is 552; RFC 8200 section 5.
pub const MIN_PATH_MTU_V4: u16 = 552;
pub const MIN_PATH_MTU_V6: u16 = 1280;

/// VLAN-free Ethernet header, bytes.
pub const ETHERNET_HEADER_BYTES: usize = 14;

/// IEEE 802.1Q.
pub const VLAN_TAG_BYTES: usize = 4;

/// Prefixes that new connections are counted under at once, by `rate_limit`.
pub const LIMITED_SOURCES: u32 = 65_536;
/// Prefixes of `deny` and of `allow`, each.
pub const ACCESS_PREFIXES: u32 = 65_536;

/// One new connection in so many is dropped by `drop_packet`: the rate that
/// `net.ipv4.vs.am_droprate` begins with.
pub const DROP_PACKET_RATE: u32 = 10;
