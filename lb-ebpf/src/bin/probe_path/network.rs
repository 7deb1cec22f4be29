//! IP headers of probes and their answers, and another address in them.

use aya_ebpf::bindings::{
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_MARK_MANGLED_0,
    BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM,
};
use lb_common::{
    addr::{Addr, Be16},
    checksum,
    limits::ETHERNET_HEADER_BYTES,
    parse::{Family, V4, V6},
    wire::{ipv4::Ipv4, ipv6::Ipv6, protocol},
};

use super::packet::{Aligned, Packet};

/// Offset of the IP header.
pub const NETWORK: usize = ETHERNET_HEADER_BYTES;

/// What differs between the families here.
pub trait Network: Family {
    /// Offsets of the addresses in the header.
    const SOURCE: usize;
    const DESTINATION: usize;
    /// ICMP types.
    const ECHO: u8;
    const ECHO_REPLY: u8;
    /// Of `bpf_skb_adjust_room`: it becomes the outer family.
    const ENCAPSULATION: u32;

    /// The protocol behind a header without options or extensions, of a packet that
    /// is whole.
    fn protocol(header: &Self::Header) -> Option<u8>;

    /// What the header adds up to when it goes to `destination`.
    fn header_sum(header: &Self::Header, destination: Addr) -> u64;

    /// Writes an address at `at` in the header at `network`; `delta` is what that
    /// adds to a sum.
    fn write(packet: &Packet, network: usize, at: usize, new: Addr, delta: u16) -> Option<()>;

    /// The same in a header that an ICMP error at `message` quotes: the message's
    /// checksum stays right.
    fn write_quoted(
        packet: &Packet,
        message: usize,
        network: usize,
        new: Addr,
        delta: u16,
    ) -> Option<()>;
}

impl Network for V4 {
    const SOURCE: usize = 12;
    const DESTINATION: usize = 16;
    const ECHO: u8 = 8;
    const ECHO_REPLY: u8 = 0;
    const ENCAPSULATION: u32 = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;

    #[inline(always)]
    fn protocol(header: &Ipv4) -> Option<u8> {
        let is_plain = header.version_ihl == 0x45 && !header.is_fragment();
        is_plain.then_some(header.protocol)
    }

    /// Nothing, with its checksum.
    #[inline(always)]
    fn header_sum(_: &Ipv4, _: Addr) -> u64 {
        0
    }

    #[inline(always)]
    fn write(packet: &Packet, network: usize, at: usize, new: Addr, delta: u16) -> Option<()> {
        const CHECKSUM: usize = 10;
        packet.add_to_header_sum(network + CHECKSUM, delta)?;
        packet.write(network + at, &Aligned(new.v4()), 0)
    }

    /// The quoted header sums up to nothing before and after.
    #[inline(always)]
    fn write_quoted(
        packet: &Packet,
        _message: usize,
        network: usize,
        new: Addr,
        delta: u16,
    ) -> Option<()> {
        Self::write(packet, network, Self::DESTINATION, new, delta)
    }
}

impl Network for V6 {
    const SOURCE: usize = 8;
    const DESTINATION: usize = 24;
    const ECHO: u8 = 128;
    const ECHO_REPLY: u8 = 129;
    const ENCAPSULATION: u32 = BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;

    #[inline(always)]
    fn protocol(header: &Ipv6) -> Option<u8> {
        header.is_version_6().then_some(header.next_header)
    }

    #[inline(always)]
    fn header_sum(header: &Ipv6, destination: Addr) -> u64 {
        u64::from(u32::from_ne_bytes(header.version_class_flow))
            + u64::from(header.payload_length.raw())
            + u64::from(u16::from_ne_bytes([header.next_header, header.hop_limit]))
            + checksum::of_address(header.source())
            + checksum::of_address(destination)
    }

    /// Without a checksum in the header, a device's sum over the packet follows the
    /// address; the transport's checksum, later, takes it back.
    #[inline(always)]
    fn write(packet: &Packet, network: usize, at: usize, new: Addr, _delta: u16) -> Option<()> {
        packet.write(network + at, &Aligned(new), BPF_F_RECOMPUTE_CSUM)
    }

    #[inline(always)]
    fn write_quoted(
        packet: &Packet,
        message: usize,
        network: usize,
        new: Addr,
        delta: u16,
    ) -> Option<()> {
        packet.add_to_sum(message + ICMP_CHECKSUM, delta, 0)?;
        packet.write(network + Self::DESTINATION, &Aligned(new), 0)
    }
}

/// Offset in the header of an ICMP message.
const ICMP_CHECKSUM: usize = 2;

/// Replaces the address at `at` in the packet's IP header, with all checksums.
#[inline(always)]
pub fn replace<F: Network>(
    packet: &Packet,
    at: usize,
    protocol: u8,
    old: Addr,
    new: Addr,
) -> Option<()> {
    let delta = checksum::fold(checksum::replace_address(old, new));
    F::write(packet, NETWORK, at, new, delta)?;
    let transport = NETWORK + usize::from(F::HEADER_BYTES);
    match protocol {
        protocol::TCP => packet.add_to_sum(transport + 16, delta, BPF_F_PSEUDO_HDR),
        protocol::UDP => {
            let flags = BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0;
            packet.add_to_sum(transport + 6, delta, flags)
        }
        protocol::ICMPV6 => packet.add_to_sum(transport + ICMP_CHECKSUM, delta, BPF_F_PSEUDO_HDR),
        // ICMP has no pseudo header.
        _ => Some(()),
    }
}

/// Source and destination port, at `transport`, of TCP and UDP. Of an echo, or with
/// `kind` [`Network::ECHO_REPLY`] its reply, the identifier is the asker's port.
#[inline(always)]
pub fn ports<F: Network>(
    packet: &Packet,
    transport: usize,
    protocol: u8,
    kind: u8,
) -> Option<[Be16; 2]> {
    if protocol != F::ICMP {
        let has_ports = protocol == protocol::TCP || protocol == protocol::UDP;
        return has_ports.then(|| packet.read(transport)).flatten();
    }
    let message: [u8; 8] = packet.read(transport)?;
    let identifier = Be16::from_raw(u16::from_ne_bytes([message[4], message[5]]));
    let none = Be16::new(0);
    (message[0] == kind).then_some(if kind == F::ECHO {
        [identifier, none]
    } else {
        [none, identifier]
    })
}
