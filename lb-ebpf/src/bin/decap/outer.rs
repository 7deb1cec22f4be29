//! The headers before the packet that a tunnel carries.

use aya_ebpf::{macros::map, maps::HashMap};
use lb_common::{
    addr::{Addr, Be16},
    checksum,
    wire::{
        ethernet::{Ethernet, ethertype},
        gre::Gre,
        gue::Gue,
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
        protocol,
        udp::Udp,
    },
};

use super::frame::Frame;

/// UDP ports, as on the wire, that GUE comes to.
#[map]
pub static GUE_PORTS: HashMap<u16, u8> = HashMap::with_max_entries(64, 0);

/// A tunnelled packet, as its outer headers tell: nothing beyond their own
/// presence in the frame is checked yet. Offsets are from the frame's start.
pub struct Outer {
    pub source: Addr,
    /// Traffic class octet of the IP header.
    pub tos: u8,
    /// Of the outer IP header: 14 and four for each tag.
    pub network: usize,
    /// Of the inner packet.
    pub inner: usize,
    pub inner_ethertype: Be16,
    /// Where the outer packet ends by its IP header.
    pub packet_end: usize,
    /// Where what is in it ends, by UDP's length where there is one. May be
    /// before `inner`.
    pub end: usize,
    pub checksum: Option<Summed>,
}

/// A checksum to verify: the bytes from `offset` to the end and `pseudo` add
/// up to all ones.
pub struct Summed {
    pub offset: usize,
    pub pseudo: u16,
}

/// The IP header's part of an [`Outer`].
struct Carrier {
    source: Addr,
    /// Sum of both addresses, for UDP's pseudo-header.
    addresses: u64,
    tos: u8,
    protocol: u8,
    network: usize,
    /// Of what follows the IP header.
    payload: usize,
    end: usize,
}

impl Outer {
    /// None: no tunnel's packet, or one that is the stack's to judge, as it is
    /// in pieces, has options or extension headers, or speaks a dialect of GRE
    /// or GUE that is not known here.
    #[inline(always)]
    pub fn parse(frame: &Frame) -> Option<Self> {
        let (network, ethertype) = link(frame)?;
        let carrier = match ethertype {
            ethertype::IPV4 => Carrier::ipv4(frame, network)?,
            ethertype::IPV6 => Carrier::ipv6(frame, network)?,
            _ => return None,
        };
        match carrier.protocol {
            protocol::IPIP | protocol::IPV6 => {
                let ethertype = inner_ethertype(carrier.protocol)?;
                Some(carrier.outer(carrier.payload, ethertype, carrier.end, None))
            }
            protocol::UDP => carrier.gue(frame),
            protocol::GRE => carrier.gre(frame),
            _ => None,
        }
    }
}

/// Where the network header is, and of which kind. Frames to groups pass: no
/// director sends them.
#[inline(always)]
fn link(frame: &Frame) -> Option<(usize, Be16)> {
    let ethernet: Ethernet = frame.read(0)?;
    if ethernet.destination[0] & 1 != 0 {
        return None;
    }
    let mut offset = size_of::<Ethernet>();
    let mut ethertype = ethernet.ethertype;
    for _ in 0..2 {
        if ethertype != ethertype::VLAN && ethertype != ethertype::SERVICE_VLAN {
            break;
        }
        // The tag, then the type of what follows it (IEEE 802.1Q clause 9).
        ethertype = frame.read::<[Be16; 2]>(offset)?[1];
        offset += size_of::<[Be16; 2]>();
    }
    Some((offset, ethertype))
}

impl Carrier {
    #[inline(always)]
    fn ipv4(frame: &Frame, network: usize) -> Option<Self> {
        let header: Ipv4 = frame.read(network)?;
        let sound = header.version_ihl == 0x45
            && !header.is_fragment()
            && checksum::fold(header.sum()) == 0xffff;
        sound.then(|| Self {
            source: Addr::from_v4(header.source),
            addresses: u64::from(header.source.raw()) + u64::from(header.destination.raw()),
            tos: header.tos,
            protocol: header.protocol,
            network,
            payload: network + usize::from(ipv4::HEADER_BYTES),
            end: network + usize::from(header.total_length.get()),
        })
    }

    #[inline(always)]
    fn ipv6(frame: &Frame, network: usize) -> Option<Self> {
        let header: Ipv6 = frame.read(network)?;
        let payload = network + usize::from(ipv6::HEADER_BYTES);
        let mut addresses = 0;
        for word in 0..4 {
            addresses += u64::from(header.source().0[word].raw())
                + u64::from(header.destination().0[word].raw());
        }
        // A mapped IPv4 address would be found among the IPv4 networks; the
        // stack lets none in (ip6_rcv_core).
        let sound = header.is_version_6() && !header.source().is_v4();
        sound.then(|| Self {
            source: header.source(),
            addresses,
            tos: header.traffic_class(),
            protocol: header.next_header,
            network,
            payload,
            end: payload + usize::from(header.payload_length.get()),
        })
    }

    /// draft-ietf-intarea-gue section 3. Control messages, the other variant,
    /// and flags, none of which is known here, are not unwrapped. Without
    /// flags, what the length covers is private data, to be skipped.
    ///
    /// A UDP checksum of 0 is right over IPv6, too: RFC 6936, which wants the
    /// inner packet to have its own.
    #[inline(always)]
    fn gue(self, frame: &Frame) -> Option<Outer> {
        let udp: Udp = frame.read(self.payload)?;
        // SAFETY: the value is not looked at.
        unsafe { GUE_PORTS.get(udp.destination_port.raw()) }?;
        let offset = self.payload + size_of::<Udp>();
        let gue: Gue = frame.read(offset)?;
        if !gue.is_data() || gue.flags.raw() != 0 {
            return None;
        }
        let summed = (udp.checksum != 0).then(|| Summed {
            offset: self.payload,
            pseudo: checksum::fold(
                self.addresses
                    + u64::from(udp.length.raw())
                    + u64::from(u16::from(protocol::UDP).to_be()),
            ),
        });
        let udp_end = self.payload + usize::from(udp.length.get());
        // A datagram that is longer than its packet ends nowhere.
        let end = if udp_end <= self.end { udp_end } else { 0 };
        let inner = offset + usize::from(gue.header_bytes());
        Some(self.outer(inner, inner_ethertype(gue.protocol)?, end, summed))
    }

    /// RFC 2784, without RFC 2890's key and sequence number.
    #[inline(always)]
    fn gre(self, frame: &Frame) -> Option<Outer> {
        let gre: Gre = frame.read(self.payload)?;
        let ethertype = gre.protocol;
        let carries_ip = ethertype == ethertype::IPV4 || ethertype == ethertype::IPV6;
        if !gre.is_plain() || !carries_ip {
            return None;
        }
        let summed = gre.has_checksum().then_some(Summed {
            offset: self.payload,
            pseudo: 0,
        });
        let inner = self.payload + usize::from(gre.header_bytes());
        Some(self.outer(inner, ethertype, self.end, summed))
    }

    #[inline(always)]
    fn outer(
        &self,
        inner: usize,
        inner_ethertype: Be16,
        end: usize,
        checksum: Option<Summed>,
    ) -> Outer {
        Outer {
            source: self.source,
            tos: self.tos,
            network: self.network,
            inner,
            inner_ethertype,
            packet_end: self.end,
            end,
            checksum,
        }
    }
}

#[inline(always)]
const fn inner_ethertype(protocol: u8) -> Option<Be16> {
    match protocol {
        protocol::IPIP => Some(ethertype::IPV4),
        protocol::IPV6 => Some(ethertype::IPV6),
        _ => None,
    }
}
