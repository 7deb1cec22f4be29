//! Why a packet was not forwarded. `DROPS` is a per-CPU array of `u64`
//! counters indexed by these numbers. A number is retired, never reused.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// A numbered reason for dropping a packet.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DropReason { $($(#[$doc])* $variant = $number,)* }

        impl DropReason {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As in `lbctl status` and the metrics' `reason` label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

drop_reasons! {
    /// A stage's program is missing from the program array.
    TailCallFailed = 1, "tail_call_failed";
    /// The service has no eligible real; answered with port unreachable.
    NoReal = 2, "no_real";
    /// The next hop towards the real has no link-layer address yet.
    NextHopUnresolved = 3, "next_hop_unresolved";
    /// The connection table is full.
    TableFull = 4, "connection_table_full";
    /// nat: another connection has the same real, client and ports.
    NatCollision = 5, "nat_collision";
    /// Does not fit the way to the real; answered with fragmentation needed or
    /// packet too big.
    FragmentationNeeded = 6, "fragmentation_needed";
    /// TTL would become 0; answered with time exceeded.
    TtlExceeded = 7, "ttl_exceeded";
    /// nat: no route, or no forwarding, back to the client.
    ClientUnreachable = 8, "client_unreachable";
    /// nat: the neighbour on the way back to the client is not resolved yet.
    ClientNeighbourMissing = 9, "client_neighbour_missing";
    /// No room before the packet for an outer header.
    NoHeadroom = 10, "no_headroom";
    /// A packet that changed between two looks, or a table without its entry.
    Inconsistent = 11, "inconsistent";
    /// nat with masquerade: no free port was found on the pool's addresses.
    MasqueradePortsExhausted = 12, "masquerade_ports_exhausted";
    /// A later fragment of a service's or a nat real's, and none came first.
    FragmentWithoutFirst = 13, "fragment_without_first";
    /// A later fragment, and its datagram's connection is gone.
    FragmentConnectionGone = 14, "fragment_connection_gone";
    /// A new connection from an address in `deny`, or not in `allow`.
    Denied = 15, "denied";
    /// A new connection beyond a `rate_limit`.
    RateLimited = 16, "rate_limited";
    /// A new connection that the defence `drop_packet` hit.
    DropPacket = 17, "drop_packet";
    /// A packet of a connection that was cut; TCP's is answered with RST.
    ConnectionCut = 18, "connection_cut";
    /// A packet of a connection that `expire_nodest` ends.
    RealDeleted = 19, "real_deleted";
}

/// Entries of `DROPS`.
pub const DROP_SLOTS: u32 = 64;

/// Entry of `DROPS` that counts packets that went to a real without an entry:
/// the defence `stateless`, or a full table.
pub const STATELESS_SLOT: u32 = 62;

/// Entry of `DROPS` that counts ICMP messages left unsent by `icmp_rate`.
pub const ICMP_SUPPRESSED_SLOT: u32 = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_fit() {
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert!((*reason as u32) < STATELESS_SLOT);
            for other in &DropReason::ALL[i + 1..] {
                assert_ne!(*reason as u32, *other as u32);
                assert_ne!(reason.name(), other.name());
            }
        }
    }
}
