//! The connection entry: all that forwarding an established packet needs.

use crate::{
    addr::{Addr, Be16},
    connection_state::ConnectionState,
    flow::{Endpoint, FlowKey},
    transition::Half,
};

/// How packets reach a real (IPVS's forwarding methods).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardingMethod {
    /// Direct routing: the frame goes to the real's MAC address as it is.
    Dr = 1,
    /// Network address translation, both halves through the director.
    Nat = 2,
    /// IP encapsulation towards the real's address.
    Tun = 3,
    /// The director is its own real: the packet goes up to its stack.
    Local = 4,
}

impl ForwardingMethod {
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Dr),
            2 => Some(Self::Nat),
            3 => Some(Self::Tun),
            4 => Some(Self::Local),
            _ => None,
        }
    }

    pub const ALL: [Self; 4] = [Self::Dr, Self::Nat, Self::Tun, Self::Local];

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dr => "dr",
            Self::Nat => "nat",
            Self::Tun => "tun",
            Self::Local => "local",
        }
    }
}

/// Values of [`Connection::direction`].
pub mod direction {
    /// Client to VIP: the entry that owns the connection's state and counts.
    pub const FORWARD: u8 = 0;
    /// Real to client, nat only: a second entry. Its `state` is a copy.
    pub const REVERSE: u8 = 1;
}

/// What a table's entry holds beside its key, 88 bytes. What every packet needs
/// comes first: behind a key of IPv4 it ends with the cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Last packet of this half: coarse monotonic clock, ns.
    pub last_seen_ns: u64,
    /// IP bytes of this half.
    pub bytes: u64,
    /// Real slot. Together with `state` one [`Standing`].
    pub real: u32,
    /// [`ConnectionState`], and above it bits of [`mark`].
    pub state: u32,
    /// Packets of this half.
    pub packets: u32,
    /// Next-hop slot towards the real; reverse: the last way to the client
    /// ([`crate::real::ClientHop::id`]), [`crate::real::NO_WAY`]: none.
    pub next_hop: u32,
    /// [`ForwardingMethod`].
    pub method: u8,
    /// [`direction`].
    pub direction: u8,
    /// tun: [`crate::real::TunnelKind`].
    pub tunnel: u8,
    /// [`crate::real::flag`], the real's when the connection was made.
    pub flags: u8,
    /// nat: what the translation adds to the IPv4 header's sum and to that of
    /// TCP or UDP, folded ([`crate::checksum`]).
    pub l3_delta: u16,
    pub l4_delta: u16,
    /// nat: the ports and addresses after translation. tun: those of GUE and of the
    /// outer header; a source address of `::` is the next hop's local
    /// address. dr, local: the destination is the real's, the source unused.
    pub new_source_port: Be16,
    pub new_destination_port: Be16,
    /// Under persistence the prefix length of the client's template
    /// ([`crate::persistence`]) plus one; else 0.
    pub persistence: u8,
    pub pad: [u8; 3],
    pub new_source: Addr,
    pub new_destination: Addr,
    /// Service slot. Of a free place: the next one plus one
    /// ([`crate::table::FreePlaces`]); packets do not write it.
    pub service: u32,
    /// Of a reverse entry: when `next_hop` was looked up,
    /// [`crate::real::hop_time`].
    pub looked_up: u32,
}

/// Bits of [`Connection::state`] above the state.
pub mod mark {
    /// The real was deleted, and `expire_nodest` ends the connection at its
    /// next packet.
    pub const DOOMED: u32 = 1 << 8;
    /// Somebody is deleting the entry, or filling it: as good as gone.
    pub const CLAIMED: u32 = 0xff;
    /// The place is free.
    pub const FREE: u32 = 0xfe;

    /// Whether it is one of the last two.
    #[inline(always)]
    #[must_use]
    pub const fn is_gone(state: u32) -> bool {
        state | 1 == CLAIMED
    }
}

/// [`Connection::real`] and [`Connection::state`] as the one word that is
/// compared and swapped: whoever changes a connection's state knows whose
/// counts it moves, also where the entry has become another connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing(pub u64);

impl Standing {
    #[inline(always)]
    #[must_use]
    pub const fn real(self) -> u32 {
        self.0 as u32
    }

    /// With the marks.
    #[inline(always)]
    #[must_use]
    pub const fn state(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    #[must_use]
    pub const fn with_state(self, state: u32) -> Self {
        Self(self.0 as u32 as u64 | (state as u64) << 32)
    }
}

impl Connection {
    /// nat: the key of the connection's other entry, which is what a
    /// translated packet's answer looks like.
    #[inline(always)]
    #[must_use]
    pub fn partner_key<K: FlowKey>(&self, protocol: u8) -> K {
        K::new(self.new_destination(), self.new_source(), protocol)
    }

    #[inline(always)]
    #[must_use]
    pub const fn new_source(&self) -> Endpoint {
        Endpoint {
            address: self.new_source,
            port: self.new_source_port,
        }
    }

    #[inline(always)]
    #[must_use]
    pub const fn new_destination(&self) -> Endpoint {
        Endpoint {
            address: self.new_destination,
            port: self.new_destination_port,
        }
    }
}

impl Connection {
    #[inline(always)]
    #[must_use]
    pub const fn state(&self) -> ConnectionState {
        ConnectionState::from_number(self.state & ConnectionState::MASK)
    }

    /// Which of the three state tables a packet on this entry follows.
    #[inline(always)]
    #[must_use]
    pub const fn half(&self) -> Half {
        if self.direction == direction::REVERSE {
            Half::Real
        } else if self.method == ForwardingMethod::Nat as u8 {
            Half::Client
        } else {
            Half::ClientOnly
        }
    }
}

/// Whether `last_seen_ns` lies at least `timeout_s` seconds before `now_ns`.
#[inline(always)]
#[must_use]
pub const fn is_idle(now_ns: u64, last_seen_ns: u64, timeout_s: u32) -> bool {
    now_ns.saturating_sub(last_seen_ns) >= timeout_s as u64 * 1_000_000_000
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Connection>() == 88);
    assert!(offset_of!(Connection, new_source) == 48);
    assert!(offset_of!(Connection, real) % 8 == 0);
    assert!(offset_of!(Connection, state) == offset_of!(Connection, real) + 4);
};
