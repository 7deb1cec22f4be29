//! What the benchmark tells its wrapper program (`lb-ebpf/src/bin/bench.rs`).

/// Length of a measured packet: the shortest frame without its FCS, and four
/// octets more, to be a whole number of words.
pub const PACKET_BYTES: usize = 64;

/// Value of the wrapper's one-entry array.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// The packet as each run finds it.
    pub packet: [u64; PACKET_BYTES / 8],
    /// Host order.
    pub first_client: u32,
    /// 2^k - 1: the client's address is the first plus the turn under this.
    pub flow_mask: u32,
    pub turn: u32,
    /// 1: the client is the destination, as in what a real sends.
    pub vary_destination: u32,
}

const _: () = assert!(size_of::<Template>() == 80);

#[cfg(feature = "user")]
// SAFETY: repr(C), no padding, every bit pattern is valid.
unsafe impl aya::Pod for Template {}
