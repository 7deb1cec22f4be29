//! A frame from the wire: whatever it holds, the parser does not panic, says
//! nothing that lies outside of it, and where etherparse reads a packet too,
//! both read the same.

#![no_main]

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lb_common::{
    addr::Be16,
    flow::FlowKey as _,
    parse::{self, Datagram, Family, Flow, Part, SliceFrame, V4, V6, link},
    wire::{ethernet::ethertype, protocol},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let Some(link) = link(&SliceFrame(frame)) else {
        return;
    };
    assert!(link.tags <= 2 && link.network() <= frame.len());
    match link.ethertype {
        ethertype::IPV4 => {
            check::<V4>(frame, link.network());
            // A right checksum is a rare find.
            if let Some(frame) = with_checksum(frame, link.network()) {
                check::<V4>(&frame, link.network());
            }
        }
        ethertype::IPV6 => check::<V6>(frame, link.network()),
        _ => {}
    }
});

/// The frame with the checksum of its IPv4 header made right.
fn with_checksum(frame: &[u8], network: usize) -> Option<Vec<u8>> {
    let mut frame = frame.to_vec();
    let length = usize::from(frame.get(network)? & 0xf) * 4;
    let header = frame.get_mut(network..network + length)?;
    header.get_mut(10..12)?.fill(0);
    let sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let field = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&field.to_be_bytes());
    Some(frame)
}

fn check<F: Family>(frame: &[u8], network: usize) {
    let Some(datagram) = F::datagram(&SliceFrame(frame), network) else {
        return;
    };
    let start = datagram.header.as_ptr() as usize - frame.as_ptr() as usize;
    let end = network + usize::from(datagram.length);
    assert_eq!(start, network);
    assert!(end <= frame.len());
    assert!(datagram.payload >= network + usize::from(F::HEADER_BYTES));
    assert_eq!(datagram.payload + usize::from(datagram.payload_length), end);

    let flow = parse::flow(&SliceFrame(frame), &datagram);
    let least = match datagram.protocol {
        protocol::TCP => 20,
        protocol::UDP => 8,
        protocol::SCTP => 16,
        _ => {
            assert!(flow.is_none(), "a flow of protocol {}", datagram.protocol);
            return;
        }
    };
    if let Some(flow) = &flow {
        assert!(datagram.payload_length >= least);
        assert_eq!(usize::from(flow.header_bytes), datagram.payload - network);
        assert_eq!(flow.key.protocol(), datagram.protocol);
        let word = |at: usize| {
            u16::from_be_bytes([
                frame[datagram.payload + at],
                frame[datagram.payload + at + 1],
            ])
        };
        assert_eq!(flow.key.source().port.get(), word(0));
        assert_eq!(flow.key.destination().port.get(), word(2));
    }
    agree(frame, &datagram, flow.as_ref());
}

/// Against etherparse, which stops at extension headers in an order that RFC
/// 8200 does not recommend: then it has another idea of the payload.
fn agree<F: Family>(frame: &[u8], datagram: &Datagram<F>, flow: Option<&Flow<F>>) {
    let Ok(other) = SlicedPacket::from_ethernet(frame) else {
        return;
    };
    let Some(net) = &other.net else { return };
    let Some(payload) = net.ip_payload_ref() else {
        return;
    };
    if payload.ip_number.0 != datagram.protocol {
        return;
    }
    let offset = payload.payload.as_ptr() as usize - frame.as_ptr() as usize;
    assert_eq!(
        (offset, payload.payload.len()),
        (datagram.payload, usize::from(datagram.payload_length))
    );
    assert_eq!(payload.fragmented, datagram.fragment.part != Part::Whole);
    let Some(flow) = flow else { return };
    let (source, destination): (IpAddr, IpAddr) = match net {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => unreachable!("an IP payload"),
    };
    assert_eq!(IpAddr::from(flow.key.source().address), mapped(source));
    assert_eq!(
        IpAddr::from(flow.key.destination().address),
        mapped(destination)
    );
    let (ports, flags) = match &other.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            ([tcp.source_port(), tcp.destination_port()], tcp.slice()[13])
        }
        Some(TransportSlice::Udp(udp)) => ([udp.source_port(), udp.destination_port()], 0),
        _ => return,
    };
    assert_eq!(
        [flow.key.source().port, flow.key.destination().port],
        ports.map(Be16::new)
    );
    assert_eq!(flow.segment, flags);
}

/// A mapped IPv4 address on the wire of IPv6 reads as the IPv4 address.
fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}
