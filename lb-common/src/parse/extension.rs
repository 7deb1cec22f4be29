//! IPv6 extension headers (RFC 8200 section 4), walked over with a bound.

use super::{Fragment, Frame, Part};
use crate::wire::{
    ipv6::{ExtensionHeader, FragmentHeader},
    protocol,
};

/// Mask of the offsets that a walk gets to: eight headers of the greatest
/// length, and then some. Keeps what the verifier has to believe small.
const OFFSET_MASK: usize = 0x7fff;

/// A walk from header to header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Extensions {
    /// Offset in the frame of the next header, and of the datagram's end.
    offset: usize,
    limit: usize,
    identification: u32,
    /// What stands at `offset`.
    next_header: u8,
    /// In a fragment: the first protocol of what is fragmented.
    fragmented: u8,
    part: u8,
    state: u8,
}

/// Values of [`Extensions::state`].
mod state {
    pub const WALKING: u8 = 0;
    pub const ARRIVED: u8 = 1;
    pub const MALFORMED: u8 = 2;
}

/// Values of [`Extensions::part`].
mod part {
    pub const WHOLE: u8 = 0;
    pub const FIRST: u8 = 1;
    pub const LATER: u8 = 2;
}

/// Where a walk ended well.
pub struct End {
    pub payload: usize,
    pub payload_length: u16,
    pub protocol: u8,
    pub fragment: Fragment,
}

impl Extensions {
    /// Whether a header of this number is walked over.
    #[inline(always)]
    #[must_use]
    pub const fn is_one(next_header: u8) -> bool {
        matches!(
            next_header,
            protocol::HOP_BY_HOP
                | protocol::ROUTING
                | protocol::FRAGMENT
                | protocol::AUTHENTICATION
                | protocol::DESTINATION_OPTIONS
        )
    }

    #[inline(always)]
    pub(super) const fn new(next_header: u8, offset: usize, limit: usize) -> Self {
        Self {
            offset,
            limit,
            identification: 0,
            next_header,
            fragmented: 0,
            part: part::WHOLE,
            state: state::WALKING,
        }
    }

    /// Over one header; false when the walk is over.
    #[inline(always)]
    pub fn step(&mut self, frame: &(impl Frame + ?Sized)) -> bool {
        if !Self::is_one(self.next_header) {
            self.state = state::ARRIVED;
            return false;
        }
        let offset = self.offset & OFFSET_MASK;
        let length = match self.next_header {
            protocol::FRAGMENT => self.fragment(frame, offset),
            number => self.other(frame, offset, number),
        };
        let Some(length) = length else {
            self.state = state::MALFORMED;
            return false;
        };
        self.offset = offset + length;
        if self.offset > self.limit {
            self.state = state::MALFORMED;
            return false;
        }
        if self.part == part::LATER || !Self::is_one(self.next_header) {
            self.state = state::ARRIVED;
            return false;
        }
        true
    }

    /// A fragment header: 8 bytes, at most one.
    #[inline(always)]
    fn fragment(&mut self, frame: &(impl Frame + ?Sized), offset: usize) -> Option<usize> {
        let header = frame.at::<FragmentHeader>(offset)?;
        // SAFETY: `at` checked the bounds; the fields are byte-aligned.
        let header = unsafe { header.as_ref() };
        if self.fragmented != 0 {
            return None;
        }
        self.next_header = header.next_header;
        self.fragmented = header.next_header;
        self.identification = header.identification.raw();
        self.part = if header.offset() != 0 {
            part::LATER
        } else if header.has_more() {
            part::FIRST
        } else {
            // RFC 6946: an atomic fragment is a whole datagram.
            part::WHOLE
        };
        Some(size_of::<FragmentHeader>())
    }

    #[inline(always)]
    fn other(&mut self, frame: &(impl Frame + ?Sized), offset: usize, number: u8) -> Option<usize> {
        let header = frame.at::<ExtensionHeader>(offset)?;
        // SAFETY: `at` checked the bounds; the fields are byte-aligned.
        let header = unsafe { header.as_ref() };
        // The destination is not the last one, for which the checksum is.
        if number == protocol::ROUTING && header.segments_left != 0 {
            return None;
        }
        self.next_header = header.next_header;
        Some(if number == protocol::AUTHENTICATION {
            // RFC 4302 section 2.2: 32-bit words, less 2.
            (usize::from(header.length) + 2) * 4
        } else {
            // 64-bit words, less 1.
            (usize::from(header.length) + 1) * 8
        })
    }

    /// Where the walk ended, unless that was in the middle.
    #[inline(always)]
    pub(super) fn end(&self) -> Option<End> {
        if self.state != state::ARRIVED {
            return None;
        }
        let payload = self.offset & OFFSET_MASK;
        let part = match self.part {
            part::FIRST => Part::First,
            part::LATER => Part::Later,
            _ => Part::Whole,
        };
        // The other fragments know the protocol from their fragment headers.
        let protocol = if part == Part::Later {
            self.fragmented
        } else {
            self.next_header
        };
        Some(End {
            payload,
            payload_length: self.limit.wrapping_sub(payload) as u16,
            protocol,
            fragment: Fragment {
                part,
                identification: self.identification,
                protocol: self.fragmented,
            },
        })
    }
}
