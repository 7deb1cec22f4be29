//! From bytes to a flow: the first stage. What is not TCP or UDP over plain
//! IPv4 yields nothing and is the kernel's business.

mod ipv4;
mod transport;

use core::ptr::NonNull;

use lb_common::{
    flow::FlowKeyV4,
    wire::{
        ethernet::{Ethernet, ethertype},
        ipv4::Ipv4,
    },
};

pub use transport::Transport;

use crate::packet::{NETWORK_OFFSET, Packet};

/// A packet whose headers were checked.
pub struct Flow {
    pub key: FlowKeyV4,
    pub ipv4: NonNull<Ipv4>,
    pub transport: Transport,
    /// IP total length, bytes.
    pub length: u16,
    pub ttl: u8,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
}

/// The flow of a TCP segment or UDP datagram.
#[inline(always)]
pub fn flow(packet: &Packet) -> Option<Flow> {
    let ethernet = packet.at::<Ethernet>(0)?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    if unsafe { (*ethernet.as_ptr()).ethertype } != ethertype::IPV4 {
        return None;
    }
    let ipv4 = ipv4::header(packet)?;
    // SAFETY: as above.
    let header = unsafe { &*ipv4.as_ptr() };
    let offset = NETWORK_OFFSET + usize::from(header.header_bytes());
    let payload = header.total_length.get() - header.header_bytes();
    let transport = transport::header(packet, offset, header.protocol, payload)?;
    let (source_port, destination_port, tcp_flags) = transport.ports_and_flags();
    Some(Flow {
        key: FlowKeyV4 {
            source: header.source,
            destination: header.destination,
            source_port,
            destination_port,
            protocol: header.protocol,
            pad: [0; 3],
        },
        ipv4,
        transport,
        length: header.total_length.get(),
        ttl: header.ttl,
        tcp_flags,
    })
}

/// The IPv4 header alone, for a reply about the packet.
#[inline(always)]
pub fn ipv4_header(packet: &Packet) -> Option<NonNull<Ipv4>> {
    ipv4::header(packet)
}
