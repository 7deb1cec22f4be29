//! The packet that an ICMP error quotes: its beginning, in which lengths may
//! say more than is there. What the frame holds behind the error itself is no
//! part of it.

use core::ptr::NonNull;

use super::{Extensions, Family, Frame, Part, V4, V6};
use crate::{
    addr::Be16,
    flow::{Endpoint, FlowKey},
    wire::{
        ipv4::{HEADER_BYTES, Ipv4, OFFSET_MASK},
        ipv6::{self, Ipv6},
    },
};

/// A quoted IP header.
pub struct Quoted<F: Family> {
    pub header: NonNull<F::Header>,
    pub protocol: u8,
    /// Offset in the frame of what follows the header.
    pub payload: usize,
    /// Offset in the frame of the quotation's end.
    pub end: usize,
}

/// Source and destination port: TCP, UDP and SCTP have them at the same place,
/// and RFC 792 quotes 8 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub source: Be16,
    pub destination: Be16,
    rest: [u8; 4],
}

impl<F: Family> Quoted<F> {
    /// The quoted ports.
    #[inline(always)]
    #[must_use]
    pub fn ports(&self, frame: &impl Frame) -> Option<NonNull<Ports>> {
        if self.payload + size_of::<Ports>() > self.end {
            return None;
        }
        frame.at(self.payload)
    }

    /// The quoted packet's key.
    #[inline(always)]
    #[must_use]
    pub fn key(&self, frame: &impl Frame) -> Option<F::Key> {
        let ports = self.ports(frame)?;
        // SAFETY: both pointers were checked; the fields are byte-aligned.
        let (header, ports) = unsafe { (self.header.as_ref(), ports.as_ref()) };
        Some(F::Key::new(
            Endpoint {
                address: F::source(header),
                port: ports.source,
            },
            Endpoint {
                address: F::destination(header),
                port: ports.destination,
            },
            self.protocol,
        ))
    }
}

/// Not a later fragment: those have no ports.
#[inline(always)]
pub fn ipv4(frame: &impl Frame, at: usize, end: usize) -> Option<Quoted<V4>> {
    let pointer = frame.at::<Ipv4>(at)?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let header = unsafe { pointer.as_ref() };
    if at + usize::from(HEADER_BYTES) > end
        || !header.is_version_4()
        || header.header_bytes() < HEADER_BYTES
        || header.fragment.get() & OFFSET_MASK != 0
    {
        return None;
    }
    Some(Quoted {
        header: pointer,
        protocol: header.protocol,
        payload: at + usize::from(header.header_bytes()),
        end,
    })
}

/// As [`ipv4`]. The quotation may end before the lengths in it do.
#[inline(always)]
pub fn ipv6(frame: &impl Frame, at: usize, end: usize) -> Option<Quoted<V6>> {
    let pointer = frame.at::<Ipv6>(at)?;
    // SAFETY: as above.
    let header = unsafe { pointer.as_ref() };
    let payload = at + usize::from(ipv6::HEADER_BYTES);
    if payload > end || !header.is_version_6() {
        return None;
    }
    if !Extensions::is_one(header.next_header) {
        return Some(Quoted {
            header: pointer,
            protocol: header.next_header,
            payload,
            end,
        });
    }
    let mut walk = Extensions::new(header.next_header, payload, end);
    frame.walk(&mut walk);
    let last = walk.end()?;
    (last.fragment.part != Part::Later).then_some(Quoted {
        header: pointer,
        protocol: last.protocol,
        payload: last.payload,
        end,
    })
}
