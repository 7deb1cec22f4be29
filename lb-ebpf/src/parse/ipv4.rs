//! The IPv4 header: checked once, here.

use core::ptr::NonNull;

use lb_common::wire::ipv4::{HEADER_BYTES, Ipv4};

use crate::packet::{NETWORK_OFFSET, Packet};

/// A well-formed header of a whole, unfragmented datagram that the frame
/// holds to its end: version 4, header of 20 to 60 bytes, total length no
/// less than the header's.
#[inline(always)]
pub fn header(packet: &Packet) -> Option<NonNull<Ipv4>> {
    let pointer = packet.at::<Ipv4>(NETWORK_OFFSET)?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let header = unsafe { &*pointer.as_ptr() };
    let total = header.total_length.get();
    if !header.is_version_4()
        || header.header_bytes() < HEADER_BYTES
        || total < header.header_bytes()
        || header.is_fragment()
        || !packet.holds(total)
    {
        return None;
    }
    Some(pointer)
}
