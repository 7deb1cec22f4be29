//! The measured packets, made by etherparse.

use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use lb_common::bench::{PACKET_BYTES, Template};

/// The virtual service, and the real behind it.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const REAL: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub(crate) const PORT: u16 = 80;
/// Clients have this address and those after it.
const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const CLIENT_PORT: u16 = 40_000;

/// What kind of packet a case sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Syn,
    Established,
    /// From the real to the client.
    Back,
    /// To an address of no service.
    Foreign,
}

/// The wrapper's template for 2^k flows.
pub(crate) fn template(kind: Kind, flows: u32) -> Template {
    let bytes = frame(kind);
    let mut packet = [0; PACKET_BYTES / 8];
    for (word, chunk) in packet.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(chunk.try_into().expect("eight bytes"));
    }
    Template {
        packet,
        first_client: FIRST_CLIENT.to_bits(),
        flow_mask: flows - 1,
        turn: 0,
        vary_destination: u32::from(kind == Kind::Back),
    }
}

/// A frame of [`PACKET_BYTES`].
pub(crate) fn frame(kind: Kind) -> Vec<u8> {
    let (source, destination, source_port, destination_port) = match kind {
        Kind::Syn | Kind::Established => (FIRST_CLIENT, VIP, CLIENT_PORT, PORT),
        Kind::Back => (REAL, FIRST_CLIENT, PORT, CLIENT_PORT),
        Kind::Foreign => (
            FIRST_CLIENT,
            Ipv4Addr::new(198, 51, 100, 9),
            CLIENT_PORT,
            PORT,
        ),
    };
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(source.octets(), destination.octets(), 64)
        .tcp(source_port, destination_port, 1, 65_000);
    let builder = if kind == Kind::Syn {
        builder.syn()
    } else {
        builder.ack(1)
    };
    let payload = [0u8; PACKET_BYTES - 54];
    let mut frame = Vec::with_capacity(PACKET_BYTES);
    builder
        .write(&mut frame, &payload)
        .expect("a Vec takes every byte");
    frame
}
