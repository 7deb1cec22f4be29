//! What the benchmark tells its traffic generator (`lb-ebpf/src/bin/traffic.rs`).

/// Length of a generated frame: the shortest that a wire carries, less its FCS,
/// and four octets more, to be a whole number of words.
pub const FRAME_BYTES: usize = 64;

/// Offset of the source port in a generated frame (UDP over IPv4, no options).
pub const SOURCE_PORT_OFFSET: usize = 34;
/// Offset of the payload's first word, which takes from the checksum's sum what the
/// source port adds to it.
pub const BALANCE_OFFSET: usize = 42;

/// Value of the generator's one-entry array.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The frame, but for its source port and the word that balances it.
    pub frame: [u64; FRAME_BYTES / 8],
    /// The interface to send by.
    pub egress: u32,
    /// Host order; the source port of the first flow.
    pub first_port: u32,
    /// 2^k - 1: a frame's port is the first plus the turn under this.
    pub flow_mask: u32,
    pub turn: u32,
}

const _: () = assert!(size_of::<Stream>() == 80);

#[cfg(feature = "user")]
// SAFETY: repr(C), no padding, every bit pattern is valid.
unsafe impl aya::Pod for Stream {}
