//! A probe's packet into the real's tunnel, as the director's XDP program does it
//! for clients (`forward/tun`): of the same family outside and inside.

use aya_ebpf::bindings::{BPF_F_ADJ_ROOM_ENCAP_L4_GRE, BPF_F_ADJ_ROOM_ENCAP_L4_UDP};
use lb_common::{
    abi::Tunnel,
    addr::{Addr, Be16},
    checksum,
    probe_path::Redirect,
    real::{TunnelKind, flag},
    wire::{protocol, udp::Udp},
};

use super::{
    network::{NETWORK, Network},
    outer::{Ends, Inner, Outer},
    packet::{Aligned, Packet},
    shim,
};

/// Ports that GUE may come from (RFC 6335 section 6: dynamic ones).
const DYNAMIC: u16 = 0xc000;

/// `header` is the inner one as it was, to the real; `own` the probe's port.
#[inline(always)]
pub fn enter<F: Network + Inner + Outer>(
    packet: &Packet,
    header: &F::Header,
    redirect: &Redirect,
    inner_protocol: u8,
    own: Be16,
) -> Option<()> {
    let kind = TunnelKind::from_number(redirect.tunnel);
    let with_checksum = redirect.flags & flag::TUNNEL_CHECKSUM != 0;
    let ends = Ends {
        source: F::source(header),
        destination: redirect.real,
    };
    let mut inner_sum = 0;
    if with_checksum && kind != TunnelKind::Ipip {
        // Each would get the sum of all. TCP soon sends them one by one.
        if packet.is_several() {
            return None;
        }
        inner_sum = sum::<F>(packet, header, redirect.vip, inner_protocol)?;
    }
    let overhead = F::HEADER_BYTES + kind.header_bytes(with_checksum);
    let length = F::length(header) + overhead;
    let transport = match kind {
        TunnelKind::Ipip => 0,
        TunnelKind::Gue => BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        TunnelKind::Gre => BPF_F_ADJ_ROOM_ENCAP_L4_GRE,
    };
    packet.insert(overhead, F::ENCAPSULATION | transport)?;
    let behind = NETWORK + usize::from(F::HEADER_BYTES);
    let protocol = match kind {
        TunnelKind::Ipip => F::IN_IP,
        TunnelKind::Gue => {
            let tunnel = Tunnel {
                source_port: Be16::new(DYNAMIC | own.get()),
                destination_port: redirect.tunnel_port,
                ..Tunnel::default()
            };
            let mut shim = Aligned(shim::Gue::new(&tunnel, length - F::HEADER_BYTES, F::IN_IP));
            if with_checksum {
                shim.0.fill_checksum(ends.sum() + inner_sum);
            }
            packet.write(behind, &shim, 0)?;
            protocol::UDP
        }
        TunnelKind::Gre if with_checksum => {
            let gre = Aligned(shim::gre_with_checksum(F::ETHERTYPE, inner_sum));
            packet.write(behind, &gre, 0)?;
            protocol::GRE
        }
        TunnelKind::Gre => {
            packet.write(behind, &Aligned(shim::gre(F::ETHERTYPE)), 0)?;
            protocol::GRE
        }
    };
    let header = Aligned(F::outer(&F::fields(header), &ends, length, protocol));
    packet.write(NETWORK, &header, 0)
}

/// The sum of the inner packet, which goes to `vip`. It follows from the checksums
/// in it, whether they are complete or left to the device: what an ICMP checksum
/// covers adds up to nothing, all else to the complement of its pseudo header.
#[inline(always)]
fn sum<F: Network>(packet: &Packet, header: &F::Header, vip: Addr, protocol: u8) -> Option<u64> {
    if protocol == protocol::ICMP {
        return Some(0);
    }
    if protocol == protocol::UDP {
        let udp: Udp = packet.read(NETWORK + usize::from(F::HEADER_BYTES))?;
        if udp.checksum == 0 {
            return None;
        }
    }
    let payload = F::length(header) - F::HEADER_BYTES;
    let pseudo = checksum::of_address(F::source(header))
        + checksum::of_address(vip)
        + u64::from(Be16::new(u16::from(protocol)).raw())
        + u64::from(Be16::new(payload).raw());
    let segment = u64::from(!checksum::fold(pseudo));
    Some(segment + F::header_sum(header, vip))
}
