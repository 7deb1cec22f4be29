//! The two families' messages and the headers that they travel in.

use lb_common::{
    abi::{Scratch, message},
    addr::{Addr, Be16},
    checksum,
    limits::{MAX_ICMP_DATAGRAM_BYTES, MAX_ICMPV6_DATAGRAM_BYTES},
    parse::{Family, V4, V6},
    wire::{
        icmp::{self, Icmp, v6},
        ipv4::{DF, Ipv4},
        ipv6::Ipv6,
        protocol,
    },
};

/// TTL of what we originate (RFC 1812 section 4.2.2.9 leaves it open).
const TTL: u8 = 64;

/// A family that can be answered.
pub trait Reply: Family {
    const MAX_DATAGRAM_BYTES: u16;

    /// The ICMP header that the scratch asks for, checksum 0.
    fn message(scratch: &Scratch) -> Icmp;
    /// The header of a reply to `original` that carries `length` bytes of
    /// `protocol`.
    fn reply_header(original: &Self::Header, length: u16, protocol: u8) -> Self::Header;
    /// What the checksum of that protocol covers beside those bytes.
    fn pseudo_sum(original: &Self::Header, length: u16, protocol: u8) -> u64;
}

#[inline(always)]
const fn icmp(kind: u8, code: u8, mtu: u16) -> Icmp {
    Icmp {
        kind,
        code,
        checksum: 0,
        unused: Be16::new(0),
        mtu: Be16::new(mtu),
    }
}

impl Reply for V4 {
    const MAX_DATAGRAM_BYTES: u16 = MAX_ICMP_DATAGRAM_BYTES;

    #[inline(always)]
    fn message(scratch: &Scratch) -> Icmp {
        match scratch.icmp_message {
            message::TIME_EXCEEDED => icmp(icmp::TIME_EXCEEDED, 0, 0),
            message::TOO_BIG => icmp(
                icmp::DESTINATION_UNREACHABLE,
                icmp::FRAGMENTATION_NEEDED,
                scratch.icmp_mtu,
            ),
            _ => icmp(icmp::DESTINATION_UNREACHABLE, icmp::PORT_UNREACHABLE, 0),
        }
    }

    #[inline(always)]
    fn reply_header(original: &Ipv4, length: u16, protocol: u8) -> Ipv4 {
        /// Internetwork control: RFC 1812 section 4.3.2.5.
        const PRECEDENCE: u8 = 0xc0;
        let mut header = Ipv4 {
            version_ihl: 0x45,
            tos: if protocol == protocol::ICMP {
                PRECEDENCE
            } else {
                0
            },
            total_length: Be16::new(Self::HEADER_BYTES + length),
            identification: Be16::new(0),
            fragment: Be16::new(DF),
            ttl: TTL,
            protocol,
            checksum: 0,
            source: original.destination,
            destination: original.source,
        };
        header.fill_checksum();
        header
    }

    #[inline(always)]
    fn pseudo_sum(original: &Ipv4, length: u16, protocol: u8) -> u64 {
        if protocol == protocol::ICMP {
            return 0;
        }
        checksum::of_address(Addr::from_v4(original.source))
            + checksum::of_address(Addr::from_v4(original.destination))
            + u64::from(Be16::new(length).raw())
            + u64::from(Be16::new(u16::from(protocol)).raw())
    }
}

impl Reply for V6 {
    const MAX_DATAGRAM_BYTES: u16 = MAX_ICMPV6_DATAGRAM_BYTES;

    #[inline(always)]
    fn message(scratch: &Scratch) -> Icmp {
        match scratch.icmp_message {
            message::TIME_EXCEEDED => icmp(v6::TIME_EXCEEDED, 0, 0),
            message::TOO_BIG => icmp(v6::PACKET_TOO_BIG, 0, scratch.icmp_mtu),
            _ => icmp(v6::DESTINATION_UNREACHABLE, v6::PORT_UNREACHABLE, 0),
        }
    }

    #[inline(always)]
    fn reply_header(original: &Ipv6, length: u16, protocol: u8) -> Ipv6 {
        Ipv6 {
            version_class_flow: Ipv6::first_word(0),
            payload_length: Be16::new(length),
            next_header: protocol,
            hop_limit: TTL,
            source: original.destination,
            destination: original.source,
        }
    }

    /// RFC 8200 section 8.1.
    #[inline(always)]
    fn pseudo_sum(original: &Ipv6, length: u16, protocol: u8) -> u64 {
        checksum::of_address(original.source())
            + checksum::of_address(original.destination())
            + u64::from(Be16::new(length).raw())
            + u64::from(Be16::new(u16::from(protocol)).raw())
    }
}
