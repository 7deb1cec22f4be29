//! ICMP messages that the director makes itself (RFC 792, RFC 1191): the
//! packet turns round on the interface that it came by, from the address that
//! it was sent to, and quotes as much as RFC 1812 section 4.3.2.3 allows.

use core::ptr::NonNull;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use lb_common::{
    abi::Scratch,
    addr::Be16,
    checksum,
    limits::{ETHERNET_HEADER_BYTES, MAX_ICMP_DATAGRAM_BYTES},
    verdict::{DropReason, ICMP_SUPPRESSED_SLOT},
    wire::{
        ethernet::Ethernet,
        icmp::{self, Icmp},
        ipv4::{DF, HEADER_BYTES, Ipv4},
        protocol,
    },
};

use crate::{
    maps::SETTINGS,
    packet::{NETWORK_OFFSET, Packet},
    parse,
    stage::{self, now_ns},
    stats,
};

/// Bytes in front of the quoted datagram.
const OVERHEAD: u16 = HEADER_BYTES + icmp::HEADER_BYTES;
/// The longest quotation.
const MAX_QUOTE: u16 = MAX_ICMP_DATAGRAM_BYTES - OVERHEAD;
/// TTL of what we originate (RFC 1812 section 4.2.2.9 leaves it open).
const TTL: u8 = 64;

/// Answers the packet as the scratch says. The drop itself is counted.
#[inline(always)]
pub fn reply(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return XDP_DROP;
    };
    if !allowed(scratch) {
        stats::count(ICMP_SUPPRESSED_SLOT);
        return XDP_DROP;
    }
    let (Some(ethernet), Some(original)) = (packet.at::<Ethernet>(0), parse::ipv4_header(packet))
    else {
        return XDP_DROP;
    };
    // SAFETY: both pointers were checked, and the values are copied before
    // the packet moves.
    let (ethernet, original) = unsafe { (*ethernet.as_ptr(), *original.as_ptr()) };
    let total = original.total_length.get();
    let quote = if total > MAX_QUOTE { MAX_QUOTE } else { total };
    if !packet.set_length((ETHERNET_HEADER_BYTES as u64) + u64::from(quote))
        || !packet.grow_head(OVERHEAD)
    {
        return stats::drop_packet(DropReason::NoHeadroom);
    }
    let (Some(new_ethernet), Some(new_ipv4), Some(new_icmp)) = (
        packet.at::<Ethernet>(0),
        packet.at::<Ipv4>(NETWORK_OFFSET),
        packet.at::<Icmp>(NETWORK_OFFSET + HEADER_BYTES as usize),
    ) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    unsafe {
        *new_ethernet.as_ptr() = Ethernet {
            destination: ethernet.source,
            source: ethernet.destination,
            ethertype: ethernet.ethertype,
        };
        *new_ipv4.as_ptr() = header(&original, quote);
        *new_icmp.as_ptr() = message(scratch);
        (*new_icmp.as_ptr()).checksum = !checksum::fold(sum(packet, new_icmp, quote));
    }
    XDP_TX
}

/// Whether this CPU may make another message in this second.
#[inline(always)]
fn allowed(scratch: &mut Scratch) -> bool {
    let second = (now_ns() / 1_000_000_000) as u32;
    if scratch.icmp_second != second {
        scratch.icmp_second = second;
        scratch.icmp_made = 0;
    }
    let rate = SETTINGS.get(0).map_or(0, |settings| settings.icmp_rate);
    if scratch.icmp_made >= rate {
        return false;
    }
    scratch.icmp_made += 1;
    true
}

#[inline(always)]
fn header(original: &Ipv4, quote: u16) -> Ipv4 {
    /// Internetwork control: RFC 1812 section 4.3.2.5.
    const PRECEDENCE: u8 = 0xc0;
    let mut header = Ipv4 {
        version_ihl: 0x45,
        tos: PRECEDENCE,
        total_length: Be16::new(quote + OVERHEAD),
        identification: Be16::new(0),
        fragment: Be16::new(DF),
        ttl: TTL,
        protocol: protocol::ICMP,
        checksum: 0,
        source: original.destination,
        destination: original.source,
    };
    header.fill_checksum();
    header
}

#[inline(always)]
const fn message(scratch: &Scratch) -> Icmp {
    Icmp {
        kind: scratch.icmp_type,
        code: scratch.icmp_code,
        checksum: 0,
        unused: Be16::new(0),
        mtu: Be16::new(scratch.icmp_mtu),
    }
}

/// The sum of the ICMP header and the quotation.
#[inline(always)]
fn sum(packet: &Packet, icmp: NonNull<Icmp>, quote: u16) -> u64 {
    const START: usize = NETWORK_OFFSET + OVERHEAD as usize;
    // SAFETY: the caller's pointer was checked; the checksum field is 0.
    let header = unsafe { *icmp.as_ptr() };
    let mut sum =
        u64::from(u16::from_ne_bytes([header.kind, header.code])) + u64::from(header.mtu.raw());
    let words = usize::from(quote / 2);
    for index in 0..usize::from(MAX_QUOTE / 2) {
        if index >= words {
            break;
        }
        let Some(word) = packet.at::<[u8; 2]>(START + index * 2) else {
            break;
        };
        // SAFETY: `at` checked the bounds.
        sum += u64::from(u16::from_ne_bytes(unsafe { *word.as_ptr() }));
    }
    // With the octet before it: the verifier learns nothing from a check of
    // one octet at a variable offset.
    if quote % 2 == 1
        && let Some(last) = packet.at::<[u8; 2]>(START + usize::from(quote & 0x3ff) - 2)
    {
        // SAFETY: `at` checked the bounds.
        sum += u64::from(u16::from_ne_bytes([unsafe { *last.as_ptr() }[1], 0]));
    }
    sum
}
