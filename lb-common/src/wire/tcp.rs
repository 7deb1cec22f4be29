//! TCP (RFC 9293), as far as a director looks.

use crate::{addr::Be16, tcp_state::flag};

/// The header without options, 20 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    pub source_port: Be16,
    pub destination_port: Be16,
    pub sequence: [u8; 4],
    pub acknowledgment: [u8; 4],
    pub data_offset: u8,
    /// [`crate::tcp_state::flag`].
    pub flags: u8,
    pub window: Be16,
    pub checksum: u16,
    pub urgent: Be16,
}

impl Tcp {
    /// Header length with options, bytes; below 20 is malformed.
    #[inline(always)]
    #[must_use]
    pub const fn header_bytes(&self) -> u16 {
        (self.data_offset >> 4) as u16 * 4
    }

    /// The RST that answers `segment` with so many bytes of payload where there
    /// is no connection, checksum 0 (RFC 9293 section 3.10.7.1).
    #[inline(always)]
    #[must_use]
    pub fn reset(segment: &Self, payload: u16) -> Self {
        let has_ack = segment.flags & flag::ACK != 0;
        let flags = segment.flags;
        // SYN and FIN take a sequence number each.
        let length = u32::from(payload)
            + u32::from(flags & flag::SYN != 0)
            + u32::from(flags & flag::FIN != 0);
        let next = u32::from_be_bytes(segment.sequence).wrapping_add(length);
        Self {
            source_port: segment.destination_port,
            destination_port: segment.source_port,
            sequence: if has_ack {
                segment.acknowledgment
            } else {
                [0; 4]
            },
            acknowledgment: if has_ack { [0; 4] } else { next.to_be_bytes() },
            data_offset: (HEADER_BYTES as u8 / 4) << 4,
            flags: if has_ack {
                flag::RST
            } else {
                flag::RST | flag::ACK
            },
            window: Be16::new(0),
            checksum: 0,
            urgent: Be16::new(0),
        }
    }

    /// Of the header's words but for the checksum.
    #[inline(always)]
    #[must_use]
    pub const fn sum(&self) -> u64 {
        const fn word(high: u8, low: u8) -> u64 {
            u16::from_ne_bytes([high, low]) as u64
        }
        let (s, a) = (self.sequence, self.acknowledgment);
        self.source_port.raw() as u64
            + self.destination_port.raw() as u64
            + word(s[0], s[1])
            + word(s[2], s[3])
            + word(a[0], a[1])
            + word(a[2], a[3])
            + word(self.data_offset, self.flags)
            + self.window.raw() as u64
            + self.urgent.raw() as u64
    }
}

/// Length without options.
pub const HEADER_BYTES: u16 = 20;

const _: () = assert!(size_of::<Tcp>() == HEADER_BYTES as usize);
