//! The IPv6 header with its extension headers.

use super::{Datagram, Extensions, Fragment, Frame, Part, V6};
use crate::wire::ipv6::{HEADER_BYTES, Ipv6};

/// Largest payload length that leaves the whole datagram's in 16 bits.
const MAX_PAYLOAD: u16 = u16::MAX - HEADER_BYTES;

/// Version 6, a payload length that the frame holds, and extension headers
/// within it. A jumbogram (RFC 2675) is none of ours, nor is what comes from or
/// goes to an IPv4-mapped address, which no wire should carry (RFC 4942 section
/// 2.2).
#[inline(always)]
pub fn datagram(frame: &impl Frame, network: usize) -> Option<Datagram<V6>> {
    let pointer = frame.at::<Ipv6>(network)?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let header = unsafe { pointer.as_ref() };
    let payload_length = header.payload_length.get();
    if !header.is_version_6() || payload_length == 0 || payload_length > MAX_PAYLOAD {
        return None;
    }
    // IPv4 addresses have this form in the tables' keys, and nowhere else.
    if header.source().is_v4() || header.destination().is_v4() {
        return None;
    }
    let length = HEADER_BYTES + payload_length;
    if !frame.holds(network + usize::from(length)) {
        return None;
    }
    let payload = network + usize::from(HEADER_BYTES);
    if !Extensions::is_one(header.next_header) {
        return Some(Datagram {
            header: pointer,
            length,
            payload,
            payload_length,
            protocol: header.next_header,
            fragment: Fragment {
                part: Part::Whole,
                identification: 0,
                protocol: 0,
            },
        });
    }
    let mut walk = Extensions::new(header.next_header, payload, network + usize::from(length));
    frame.walk(&mut walk);
    let end = walk.end()?;
    Some(Datagram {
        header: pointer,
        length,
        payload: end.payload,
        payload_length: end.payload_length,
        protocol: end.protocol,
        fragment: end.fragment,
    })
}
