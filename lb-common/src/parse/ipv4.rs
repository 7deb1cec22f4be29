//! The IPv4 header: checked once, here.

use core::ptr::NonNull;

use super::{Datagram, Fragment, Frame, Part, V4};
use crate::{
    checksum,
    wire::ipv4::{HEADER_BYTES, Ipv4, OFFSET_MASK},
};

/// Version 4, a header of 20 to 60 bytes with the right checksum (RFC 1812
/// section 4.2.2.5), and a total length that is no less than the header's and
/// no more than the frame holds.
#[inline(always)]
pub fn datagram(frame: &impl Frame, network: usize) -> Option<Datagram<V4>> {
    let pointer = frame.at::<Ipv4>(network)?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let header = unsafe { pointer.as_ref() };
    let length = header.total_length.get();
    let header_bytes = header.header_bytes();
    if !header.is_version_4()
        || header_bytes < HEADER_BYTES
        || length < header_bytes
        || !frame.holds(network + usize::from(length))
        || !is_sound(frame, pointer, network)
    {
        return None;
    }
    let part = if !header.is_fragment() {
        Part::Whole
    } else if header.fragment.get() & OFFSET_MASK == 0 {
        Part::First
    } else {
        Part::Later
    };
    Some(Datagram {
        header: pointer,
        length,
        payload: network + usize::from(header_bytes),
        payload_length: length - header_bytes,
        protocol: header.protocol,
        fragment: Fragment {
            part,
            identification: header.identification.raw() as u32,
            protocol: header.protocol,
        },
    })
}

/// Whether the header's checksum is right.
#[inline(always)]
fn is_sound(frame: &impl Frame, header: NonNull<Ipv4>, network: usize) -> bool {
    // SAFETY: the caller's pointer was checked; the fields are byte-aligned.
    let header = unsafe { header.as_ref() };
    let mut sum = header.sum();
    let options = header.header_bytes() - HEADER_BYTES;
    if options != 0 {
        let Some(more) = frame.sum(network + usize::from(HEADER_BYTES), options) else {
            return false;
        };
        sum += more;
    }
    checksum::fold(sum) == 0xffff
}
