//! From bytes to a flow, the first stage of the packet's way: link, datagram,
//! transport. Pure, over whatever gives checked access to a frame: the XDP
//! program's packet or a slice.
//!
//! What is malformed, or nothing that a director forwards, yields nothing and
//! is the kernel's business.

mod extension;
mod frame;
mod ipv4;
mod ipv6;
mod link;
mod quoted;
mod transport;

use core::ptr::NonNull;

pub use extension::Extensions;
pub use frame::{Frame, SliceFrame};
pub use link::{Link, link};
pub use quoted::Quoted;
pub use transport::{Transport, transport};

use crate::{
    addr::{Addr, Be16},
    checksum,
    flow::{Endpoint, FlowKey, FlowKeyV4, FlowKeyV6},
    wire::{ethernet::ethertype, icmp, ipv4::Ipv4, ipv6::Ipv6, protocol},
};

/// IPv4 or IPv6, as a type: what is written once for both is told apart at
/// compile time.
pub trait Family: Sized {
    type Key: FlowKey + 'static;
    /// The fixed header as it lies in a frame.
    type Header: Copy;
    /// Of the fixed header.
    const HEADER_BYTES: u16;
    /// What every link carries, bytes (RFC 791 section 3.2, RFC 8200 section 5).
    const MIN_MTU: u16;
    /// The protocol number of its ICMP.
    const ICMP: u8;
    /// As the payload of another IP packet.
    const IN_IP: u8;
    const ETHERTYPE: Be16;

    /// The well-formed datagram at `network`, which the frame holds to its
    /// end.
    fn datagram(frame: &impl Frame, network: usize) -> Option<Datagram<Self>>;

    /// What an ICMP error quotes from `at` to `end`: a header that is whole,
    /// and the first bytes behind it.
    fn quoted(frame: &impl Frame, at: usize, end: usize) -> Option<Quoted<Self>>;

    /// Whether messages of this ICMP type are errors that lead to a connection.
    fn is_icmp_error(kind: u8) -> bool;

    fn source(header: &Self::Header) -> Addr;
    fn destination(header: &Self::Header) -> Addr;
    /// Of the whole packet, bytes, as the header has it.
    fn length(header: &Self::Header) -> u16;
    /// TTL or hop limit.
    fn ttl(header: &Self::Header) -> u8;
    /// Takes one off the TTL, which is not 0.
    fn decrement_ttl(header: &mut Self::Header);
    /// Writes other addresses. `delta` is what that adds to the header's sum.
    fn translate(header: &mut Self::Header, source: Addr, destination: Addr, delta: u16);
}

/// IPv4 (RFC 791).
pub struct V4;
/// IPv6 (RFC 8200).
pub struct V6;

/// A well-formed IP datagram, or a fragment of one.
pub struct Datagram<F: Family> {
    /// The fixed header.
    pub header: NonNull<F::Header>,
    /// With all headers, bytes.
    pub length: u16,
    /// Offset in the frame of what comes after IP's headers, and its length.
    pub payload: usize,
    pub payload_length: u16,
    /// Of the payload. IPv6: in a later fragment what its fragment header says.
    pub protocol: u8,
    pub fragment: Fragment,
}

impl<F: Family> Datagram<F> {
    /// What it quotes, being an ICMP error.
    #[inline(always)]
    pub fn quoted(&self, frame: &impl Frame) -> Option<Quoted<F>> {
        let end = self.payload + usize::from(self.payload_length);
        F::quoted(frame, self.payload + usize::from(icmp::HEADER_BYTES), end)
    }
}

/// Which part of a datagram this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub part: Part,
    /// As on the wire.
    pub identification: u32,
    /// IPv4: the datagram's. IPv6: what the fragment header says, which may be
    /// an extension header; 0 without one.
    pub protocol: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    First,
    Later,
}

/// What a packet's headers say, which is true also where the packet is out of
/// sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<K> {
    pub key: K,
    /// Of the IP datagram, bytes, and of all of IP's headers in it.
    pub length: u16,
    pub header_bytes: u16,
    /// TCP flags; SCTP: type of the first chunk; else 0.
    pub segment: u8,
    pub part: Part,
    /// Nobody is told of what becomes of it: an ICMP error, or a later
    /// fragment (RFC 1122 section 3.2.2).
    pub is_silent: bool,
}

/// A packet whose headers were checked, as far as it has them.
pub struct Flow<F: Family> {
    pub headers: Headers<F::Key>,
    pub header: NonNull<F::Header>,
    pub transport: Transport,
}

impl<F: Family> core::ops::Deref for Flow<F> {
    type Target = Headers<F::Key>;

    #[inline(always)]
    fn deref(&self) -> &Headers<F::Key> {
        &self.headers
    }
}

impl<F: Family> Flow<F> {
    /// A packet of a connection that its own headers do not lead to.
    #[inline(always)]
    pub const fn silent(datagram: &Datagram<F>, key: F::Key) -> Self {
        Self {
            headers: Headers {
                key,
                length: datagram.length,
                header_bytes: datagram.length.wrapping_sub(datagram.payload_length),
                segment: 0,
                part: datagram.fragment.part,
                is_silent: true,
            },
            header: datagram.header,
            transport: Transport::Absent(datagram.header.cast()),
        }
    }
}

/// The flow of a datagram that is whole or a first fragment.
#[inline(always)]
pub fn flow<F: Family>(frame: &impl Frame, datagram: &Datagram<F>) -> Option<Flow<F>> {
    let transport = transport(frame, datagram)?;
    let (source_port, destination_port, segment) = transport.ports_and_segment();
    // SAFETY: the parser checked the bounds; the fields are byte-aligned.
    let header = unsafe { datagram.header.as_ref() };
    Some(Flow {
        headers: Headers {
            key: F::Key::new(
                Endpoint {
                    address: F::source(header),
                    port: source_port,
                },
                Endpoint {
                    address: F::destination(header),
                    port: destination_port,
                },
                datagram.protocol,
            ),
            length: datagram.length,
            header_bytes: datagram.length.wrapping_sub(datagram.payload_length),
            segment,
            part: datagram.fragment.part,
            is_silent: false,
        },
        header: datagram.header,
        transport,
    })
}

impl Family for V4 {
    type Key = FlowKeyV4;
    type Header = Ipv4;
    const HEADER_BYTES: u16 = crate::wire::ipv4::HEADER_BYTES;
    const MIN_MTU: u16 = 68;
    const ICMP: u8 = protocol::ICMP;
    const IN_IP: u8 = protocol::IPIP;
    const ETHERTYPE: Be16 = ethertype::IPV4;

    #[inline(always)]
    fn datagram(frame: &impl Frame, network: usize) -> Option<Datagram<Self>> {
        ipv4::datagram(frame, network)
    }

    #[inline(always)]
    fn quoted(frame: &impl Frame, at: usize, end: usize) -> Option<Quoted<Self>> {
        quoted::ipv4(frame, at, end)
    }

    #[inline(always)]
    fn is_icmp_error(kind: u8) -> bool {
        use crate::wire::icmp::{DESTINATION_UNREACHABLE, SOURCE_QUENCH, TIME_EXCEEDED};
        matches!(
            kind,
            DESTINATION_UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED
        )
    }

    #[inline(always)]
    fn source(header: &Ipv4) -> Addr {
        Addr::from_v4(header.source)
    }

    #[inline(always)]
    fn destination(header: &Ipv4) -> Addr {
        Addr::from_v4(header.destination)
    }

    #[inline(always)]
    fn length(header: &Ipv4) -> u16 {
        header.total_length.get()
    }

    #[inline(always)]
    fn ttl(header: &Ipv4) -> u8 {
        header.ttl
    }

    #[inline(always)]
    fn decrement_ttl(header: &mut Ipv4) {
        header.decrement_ttl();
    }

    #[inline(always)]
    fn translate(header: &mut Ipv4, source: Addr, destination: Addr, delta: u16) {
        header.source = source.v4();
        header.destination = destination.v4();
        header.checksum = checksum::apply(header.checksum, u64::from(delta));
    }
}

impl Family for V6 {
    type Key = FlowKeyV6;
    type Header = Ipv6;
    const HEADER_BYTES: u16 = crate::wire::ipv6::HEADER_BYTES;
    const MIN_MTU: u16 = 1280;
    const ICMP: u8 = protocol::ICMPV6;
    const IN_IP: u8 = protocol::IPV6;
    const ETHERTYPE: Be16 = ethertype::IPV6;

    #[inline(always)]
    fn datagram(frame: &impl Frame, network: usize) -> Option<Datagram<Self>> {
        ipv6::datagram(frame, network)
    }

    #[inline(always)]
    fn quoted(frame: &impl Frame, at: usize, end: usize) -> Option<Quoted<Self>> {
        quoted::ipv6(frame, at, end)
    }

    /// RFC 4443 section 2.1: errors have the high bit clear.
    #[inline(always)]
    fn is_icmp_error(kind: u8) -> bool {
        kind != 0 && kind < 128
    }

    #[inline(always)]
    fn source(header: &Ipv6) -> Addr {
        header.source()
    }

    #[inline(always)]
    fn destination(header: &Ipv6) -> Addr {
        header.destination()
    }

    #[inline(always)]
    fn length(header: &Ipv6) -> u16 {
        header
            .payload_length
            .get()
            .saturating_add(Self::HEADER_BYTES)
    }

    #[inline(always)]
    fn ttl(header: &Ipv6) -> u8 {
        header.hop_limit
    }

    #[inline(always)]
    fn decrement_ttl(header: &mut Ipv6) {
        header.hop_limit -= 1;
    }

    #[inline(always)]
    fn translate(header: &mut Ipv6, source: Addr, destination: Addr, _: u16) {
        // Word by word: LLVM 22 would call `memmove`, which is a loop over octets.
        let [a, b, c, d] = source.0;
        let [e, f, g, h] = destination.0;
        header.source[0] = a;
        header.source[1] = b;
        header.source[2] = c;
        header.source[3] = d;
        header.destination[0] = e;
        header.destination[1] = f;
        header.destination[2] = g;
        header.destination[3] = h;
    }
}
