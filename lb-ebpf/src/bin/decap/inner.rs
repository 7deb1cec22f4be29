//! The packet that a tunnel carries: whether it is one, and how it comes out.

use lb_common::{
    checksum::{self, replace_u16},
    decap::{self, Outcome},
    wire::{
        ethernet::{Ethernet, ethertype},
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
    },
};

use super::{checksum::sum, frame::Frame, outer::Outer};

/// Whether lengths, version and checksum are right: what is handed to the
/// stack is a whole packet of the kind that its frame says. Its own checksums
/// and addresses are the stack's to judge, as those of any packet.
#[inline(always)]
pub fn is_sound(frame: &Frame, outer: &Outer) -> Option<bool> {
    if frame.bytes() < outer.packet_end as u64 {
        return Some(false);
    }
    let fits = if outer.inner_ethertype == ethertype::IPV4 {
        let header_bytes = usize::from(ipv4::HEADER_BYTES);
        if outer.inner + header_bytes > outer.end {
            return Some(false);
        }
        let inner: Ipv4 = frame.read(outer.inner)?;
        let total = inner.total_length.get();
        inner.is_version_4()
            && inner.header_bytes() >= ipv4::HEADER_BYTES
            && total >= inner.header_bytes()
            && outer.inner + usize::from(total) <= outer.end
    } else {
        let header_bytes = usize::from(ipv6::HEADER_BYTES);
        if outer.inner + header_bytes > outer.end {
            return Some(false);
        }
        let inner: Ipv6 = frame.read(outer.inner)?;
        let total = header_bytes + usize::from(inner.payload_length.get());
        inner.is_version_6() && outer.inner + total <= outer.end
    };
    Some(fits && is_summed_right(frame, outer))
}

#[inline(always)]
fn is_summed_right(frame: &Frame, outer: &Outer) -> bool {
    let Some(summed) = &outer.checksum else {
        return true;
    };
    let length = (outer.end - summed.offset) as u32;
    sum(
        frame,
        summed.offset as u32,
        length,
        u32::from(summed.pseudo),
    )
    .is_some_and(|sum| checksum::fold(u64::from(sum)) == 0xffff)
}

/// Takes the outer headers out of the frame; tags stay. None: this frame
/// cannot be changed so.
#[inline(always)]
pub fn unwrap(frame: &Frame, outer: &Outer) -> Option<Outcome> {
    // The traffic class ends in the second octet of either header.
    let octet: u8 = frame.read(outer.inner + 1)?;
    let is_ipv4 = outer.inner_ethertype == ethertype::IPV4;
    let inner_ecn = if is_ipv4 { octet } else { octet >> 4 } & 3;
    let Some(ecn) = decap::ecn(outer.tos & 3, inner_ecn) else {
        return Some(Outcome::Congested);
    };
    const ETHERNET: usize = size_of::<Ethernet>();
    const TAG: usize = 4;
    match outer.network - ETHERNET {
        0 => move_link::<ETHERNET>(frame, outer)?,
        TAG => move_link::<{ ETHERNET + TAG }>(frame, outer)?,
        _ => move_link::<{ ETHERNET + 2 * TAG }>(frame, outer)?,
    }
    if ecn != inner_ecn {
        // Nothing but a frame that changed meanwhile could make this fail.
        let _ = set_ecn(frame, outer, is_ipv4, ecn);
    }
    Some(Outcome::Unwrapped)
}

/// Moves the link header, whose last two bytes are the type of what follows,
/// to the inner packet.
#[inline(always)]
fn move_link<const BYTES: usize>(frame: &Frame, outer: &Outer) -> Option<()> {
    let mut link: [u8; BYTES] = frame.read(0)?;
    if !frame.shrink_head(outer.inner - outer.network) {
        return None;
    }
    let [high, low] = outer.inner_ethertype.get().to_be_bytes();
    link[BYTES - 2] = high;
    link[BYTES - 1] = low;
    let new = frame.at::<[u8; BYTES]>(0)?;
    // SAFETY: `at` checked the bounds.
    unsafe { new.write(link) };
    Some(())
}

#[inline(always)]
fn set_ecn(frame: &Frame, outer: &Outer, is_ipv4: bool, ecn: u8) -> Option<()> {
    if is_ipv4 {
        let mut header = frame.at::<Ipv4>(outer.network)?;
        // SAFETY: `at` checked the bounds; the fields are byte-aligned.
        let header = unsafe { header.as_mut() };
        let old = u16::from_ne_bytes([header.version_ihl, header.tos]);
        header.tos = header.tos & !3 | ecn;
        let new = u16::from_ne_bytes([header.version_ihl, header.tos]);
        header.checksum = checksum::apply(header.checksum, replace_u16(old, new));
    } else {
        let mut header = frame.at::<Ipv6>(outer.network)?;
        // SAFETY: as above.
        let octet = unsafe { &mut header.as_mut().version_class_flow[1] };
        *octet = *octet & !0x30 | ecn << 4;
    }
    Some(())
}
