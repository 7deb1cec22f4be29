//! Counters of a real: value of `REAL_STATS`, a per-CPU array by real slot.
//! A service's counters are the sums over its slots.

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealStats {
    pub connections: u64,
    pub in_packets: u64,
    /// IP bytes, as IPVS counts them.
    pub in_bytes: u64,
    /// Only nat sees what reals send.
    pub out_packets: u64,
    pub out_bytes: u64,
}

impl core::ops::AddAssign for RealStats {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.in_packets += other.in_packets;
        self.in_bytes += other.in_bytes;
        self.out_packets += other.out_packets;
        self.out_bytes += other.out_bytes;
    }
}

const _: () = assert!(size_of::<RealStats>() == 40);
