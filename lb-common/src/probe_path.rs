//! What the programs on a probe's way (`lb-ebpf/src/bin/probe_path.rs`) and the
//! daemon share: health probes that go to the VIP through their real.

use crate::addr::{Addr, Be16};

/// Upper half of the marks (`SO_MARK`) of probes; the lower half tells the redirect.
pub const MARK_BASE: u32 = 0x6c62_0000;
pub const MARK_MASK: u32 = 0xffff_0000;

/// Most redirects: one for each mark.
pub const REDIRECTS: u32 = !MARK_MASK + 1;

/// Probes under way whose answers are known: entries of `ANSWERS`.
pub const ANSWERS: u32 = 16_384;

/// The mark of the redirect with this number.
#[inline(always)]
#[must_use]
pub const fn mark(number: u16) -> u32 {
    MARK_BASE | number as u32
}

/// Whether it is a mark of a probe.
#[inline(always)]
#[must_use]
pub const fn is_mark(mark: u32) -> bool {
    mark & MARK_MASK == MARK_BASE
}

/// Value of `REDIRECTS`, by mark: where a packet to `real` goes instead.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// How long after the last packet of a probe its answers are still taken, ns.
    pub lifetime_ns: u64,
    /// Of the same family as `real`.
    pub vip: Addr,
    pub real: Addr,
    /// GUE: the UDP port that the real decapsulates on.
    pub tunnel_port: Be16,
    /// 1: encapsulated (tun); 0: as it is (dr).
    pub is_tunnel: u8,
    /// [`crate::real::TunnelKind`].
    pub tunnel: u8,
    /// Of [`crate::real::flag`], `TUNNEL_CHECKSUM`.
    pub flags: u8,
    pub pad: [u8; 3],
}

/// Key of `ANSWERS`: the ends of a probe as its answers have them. Of an echo the
/// identifier is the local port, and the remote one is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The VIP.
    pub remote: Addr,
    /// The probe's own address.
    pub local: Addr,
    pub remote_port: Be16,
    pub local_port: Be16,
    /// IP protocol.
    pub protocol: u32,
}

/// Value of `ANSWERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The last packet's time, ns of the monotonic clock.
    pub at_ns: u64,
    /// Of the redirect.
    pub mark: u32,
    pub pad: u32,
}

/// What became of a packet on its way: slots of `COUNTS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A probe's went to the VIP, through the real.
    Redirected = 0,
    /// A probe's was dropped: its mark is nobody's, or it cannot go there.
    Dropped = 1,
    /// An answer, or an error about a probe, came to who had asked.
    Answered = 2,
}

/// Entries of `COUNTS`.
pub const OUTCOMES: u32 = 3;

const _: () = assert!(size_of::<Redirect>() == 48);
const _: () = assert!(size_of::<Ends>() == 40);
const _: () = assert!(size_of::<Asked>() == 16);

#[cfg(feature = "user")]
// SAFETY: repr(C), no padding, every bit pattern is valid.
unsafe impl aya::Pod for Redirect {}
#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Ends {}
#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for Asked {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_those_with_the_base_in_their_upper_half() {
        for number in [0, 1, u16::MAX] {
            assert!(is_mark(mark(number)));
        }
        for other in [0, 1, MARK_BASE - 1, 0x6c63_0000, u32::MAX] {
            assert!(!is_mark(other), "{other:#x}");
        }
        assert_eq!(REDIRECTS, 65_536);
    }
}
