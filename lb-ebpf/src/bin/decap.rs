//! The real servers' half of tun: takes the outer header off IPv4 or IPv6 in
//! IPv4 or IPv6 (RFC 2003, RFC 2473, RFC 4213), from directors that are
//! allowed, and hands the inner packet to the stack. All else passes as it is.

#![no_std]
#![no_main]

#[path = "../packet.rs"]
#[expect(dead_code, reason = "the director uses more of it")]
mod packet;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    macros::{map, xdp},
    maps::lpm_trie::{Key, LpmTrie},
    programs::XdpContext,
};
use lb_common::{
    addr::{Addr, Be16},
    wire::{
        ethernet::{Ethernet, ethertype},
        ipv4::{HEADER_BYTES, Ipv4},
        ipv6::{self, Ipv6},
        protocol,
    },
};
use packet::{NETWORK_OFFSET, Packet};

/// Networks that outer sources must be in; IPv4 ones mapped into IPv6.
#[map]
static ALLOWED: LpmTrie<[u8; 16], u8> =
    LpmTrie::with_max_entries(1024, 1 /* BPF_F_NO_PREALLOC */);

#[xdp(frags)]
pub fn decap(context: XdpContext) -> u32 {
    let packet = Packet::new(context);
    let Some(outer) = outer(&packet) else {
        return XDP_PASS;
    };
    if !is_allowed(outer.source) {
        return XDP_DROP;
    }
    strip(&packet, &outer).unwrap_or(XDP_DROP)
}

struct Outer {
    source: Addr,
    header_bytes: u16,
    inner: Be16,
    /// Traffic class octet of the outer header.
    tos: u8,
}

/// The outer header of a tunnelled packet.
#[inline(always)]
fn outer(packet: &Packet) -> Option<Outer> {
    let ethernet = packet.at::<Ethernet>(0)?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    match unsafe { (*ethernet.as_ptr()).ethertype } {
        ethertype::IPV4 => {
            let ipv4 = packet.at::<Ipv4>(NETWORK_OFFSET)?;
            // SAFETY: as above.
            let ipv4 = unsafe { &*ipv4.as_ptr() };
            // Directors send no options, and what was fragmented on the way
            // is the stack's to put together.
            if ipv4.version_ihl != 0x45 || ipv4.is_fragment() {
                return None;
            }
            Some(Outer {
                source: Addr::from_v4(ipv4.source),
                header_bytes: HEADER_BYTES,
                inner: inner_ethertype(ipv4.protocol)?,
                tos: ipv4.tos,
            })
        }
        ethertype::IPV6 => {
            let ipv6 = packet.at::<Ipv6>(NETWORK_OFFSET)?;
            // SAFETY: as above.
            let ipv6 = unsafe { &*ipv6.as_ptr() };
            Some(Outer {
                source: ipv6.source(),
                header_bytes: ipv6::HEADER_BYTES,
                inner: inner_ethertype(ipv6.next_header)?,
                tos: ipv6.traffic_class(),
            })
        }
        _ => None,
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

#[inline(always)]
fn is_allowed(source: Addr) -> bool {
    // SAFETY: sixteen bytes either way.
    let bytes: [u8; 16] = unsafe { core::mem::transmute(source) };
    ALLOWED.get(Key::new(128, bytes)).is_some()
}

/// Moves the Ethernet header over the outer one.
#[inline(always)]
fn strip(packet: &Packet, outer: &Outer) -> Option<u32> {
    let mark = ecn(packet, outer)?;
    let ethernet = packet.at::<Ethernet>(0)?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let ethernet = unsafe { *ethernet.as_ptr() };
    if !packet.shrink_head(outer.header_bytes) {
        return None;
    }
    let new = packet.at::<Ethernet>(0)?;
    // SAFETY: as above.
    unsafe {
        *new.as_ptr() = Ethernet {
            ethertype: outer.inner,
            ..ethernet
        }
    };
    if mark && outer.inner == ethertype::IPV4 {
        let ipv4 = packet.at::<Ipv4>(NETWORK_OFFSET)?;
        // SAFETY: as above.
        unsafe { (*ipv4.as_ptr()).set_congestion_experienced() };
    } else if mark {
        let ipv6 = packet.at::<Ipv6>(NETWORK_OFFSET)?;
        // SAFETY: as above.
        unsafe { (*ipv6.as_ptr()).set_congestion_experienced() };
    }
    Some(XDP_PASS)
}

/// RFC 6040 section 4.2: an outer "congestion experienced" goes into an inner
/// header that can carry it; one that cannot means drop (none).
#[inline(always)]
fn ecn(packet: &Packet, outer: &Outer) -> Option<bool> {
    const MASK: u8 = 3;
    const CE: u8 = 3;
    if outer.tos & MASK != CE {
        return Some(false);
    }
    let offset = NETWORK_OFFSET + usize::from(outer.header_bytes);
    // The traffic class ends in the second octet of either header.
    let octet = packet.at::<u8>(offset + 1)?;
    // SAFETY: `at` checked the bounds.
    let octet = unsafe { *octet.as_ptr() };
    let inner = if outer.inner == ethertype::IPV4 {
        octet
    } else {
        octet >> 4
    };
    if inner & MASK == 0 {
        None
    } else {
        Some(inner & MASK != CE)
    }
}

/// The helpers are for programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier has proved that nothing gets here.
    loop {}
}
