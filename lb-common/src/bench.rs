//! What the benchmark tells its wrapper programs (`lb-ebpf/src/bin/bench.rs`).

/// The longest of the measured packets. There is a wrapper for each length, a
/// whole number of words: 64 for most packets over IPv4 (the shortest frame
/// without its FCS, and four octets more), 80 for most over IPv6, 112 for ICMPv6
/// errors.
pub const MOST_PACKET_BYTES: usize = 112;

/// Value of the wrappers' one-entry array.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// The packet of the first client, as many words as the wrapper is for.
    pub packet: [u64; MOST_PACKET_BYTES / 8],
    /// Those that another client's address changes.
    pub checksums: [Checksum; 2],
    /// The last word of the client's address; host order.
    pub first_client: u32,
    /// Where in the packet it stands.
    pub client_at: u32,
    /// The next packet's number.
    pub turn: u32,
    /// Odd: a flow's number is its turn times this, under `flow_mask`, and the
    /// client's address the first plus that.
    pub stride: u32,
    /// 2^k - 1.
    pub flow_mask: u32,
    pub pad: u32,
}

/// A checksum over the client's address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// Where in the packet it stands; 0: there is none.
    pub at: u32,
    /// The first client's, as in the packet.
    pub value: u16,
    /// 1: of UDP, in which 0 is sent as all ones (RFC 768).
    pub is_udp: u16,
}

const _: () = assert!(size_of::<Template>() == MOST_PACKET_BYTES + 2 * 8 + 6 * 4);

#[cfg(feature = "user")]
// SAFETY: repr(C), no padding, every bit pattern is valid.
unsafe impl aya::Pod for Template {}
