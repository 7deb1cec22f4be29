//! Persistence templates: the real that a client's next connections go to.

use crate::{addr::Addr, flow::mix};

/// Key of `TEMPLATES`, 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateKey {
    /// The client's address under the prefix.
    pub client: Addr,
    /// Service slot.
    pub service: u32,
    /// Prefix length, of the client's family: templates of a service whose
    /// netmask has changed are others.
    pub prefix: u8,
    pub pad: [u8; 3],
}

impl TemplateKey {
    /// A number by which clients are spread.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self) -> u64 {
        let [a, b, c, d] = self.client.0;
        let high = (a.raw() as u64) << 32 | b.raw() as u64;
        let low = (c.raw() as u64) << 32 | d.raw() as u64;
        mix(mix(mix(self.prefix as u64) ^ high) ^ low)
    }
}

/// Value of `TEMPLATES`, a preallocated hash, 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Last new connection under it: coarse monotonic clock, ns.
    pub last_seen_ns: u64,
    /// Real slot. Together with `connections` one [`Hold`].
    pub real: u32,
    /// Live connections under it; it stays while there are any.
    pub connections: u32,
    /// Seconds that it is kept without use.
    pub timeout_s: u32,
    pub pad: u32,
}

/// [`Template::real`] and [`Template::connections`] as the one word that is
/// compared and swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold(pub u64);

impl Hold {
    /// [`Template::connections`] of one that is being deleted.
    pub const CLAIMED: u32 = u32::MAX;

    #[inline(always)]
    #[must_use]
    pub const fn new(real: u32, connections: u32) -> Self {
        Self(real as u64 | (connections as u64) << 32)
    }

    #[inline(always)]
    #[must_use]
    pub const fn real(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    #[must_use]
    pub const fn connections(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    #[must_use]
    pub const fn is_claimed(self) -> bool {
        self.connections() == Self::CLAIMED
    }
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<TemplateKey>() == 24);
    assert!(size_of::<Template>() == 24);
    assert!(offset_of!(Template, real) % 8 == 0);
    assert!(offset_of!(Template, connections) == offset_of!(Template, real) + 4);
};
