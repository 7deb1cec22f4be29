//! TCP, UDP and SCTP headers.

use core::ptr::NonNull;

use super::{Datagram, Family, Frame, Part};
use crate::{
    addr::Be16,
    checksum,
    wire::{protocol, sctp::Sctp, tcp::Tcp, udp::Udp},
};

/// A transport header within the packet.
#[derive(Clone, Copy)]
pub enum Transport {
    Tcp(NonNull<Tcp>),
    Udp(NonNull<Udp>),
    Sctp(NonNull<Sctp>),
    /// Not in this packet: a later fragment, an ICMP error. The pointer is to
    /// IP's header, so that every variant has one: LLVM 22 would store an
    /// undefined register, which the verifier does not allow.
    Absent(NonNull<u8>),
}

/// The header that a datagram begins with, where its payload holds all of it,
/// options too, and agrees with the lengths in it.
#[inline(always)]
pub fn transport<F: Family>(frame: &impl Frame, datagram: &Datagram<F>) -> Option<Transport> {
    let (offset, payload) = (datagram.payload, datagram.payload_length);
    match datagram.protocol {
        protocol::TCP => {
            let tcp = frame.at::<Tcp>(offset)?;
            // SAFETY: `at` checked the bounds; the fields are byte-aligned.
            let length = unsafe { tcp.as_ref() }.header_bytes();
            (usize::from(length) >= size_of::<Tcp>() && length <= payload)
                .then_some(Transport::Tcp(tcp))
        }
        protocol::UDP => {
            let udp = frame.at::<Udp>(offset)?;
            // SAFETY: as above.
            let length = unsafe { udp.as_ref() }.length.get();
            let fits = length <= payload || datagram.fragment.part == Part::First;
            (usize::from(length) >= size_of::<Udp>()
                && usize::from(payload) >= size_of::<Udp>()
                && fits)
                .then_some(Transport::Udp(udp))
        }
        protocol::SCTP => {
            let sctp = frame.at::<Sctp>(offset)?;
            (usize::from(payload) >= size_of::<Sctp>()).then_some(Transport::Sctp(sctp))
        }
        _ => None,
    }
}

impl Transport {
    /// Source port, destination port, and the TCP flags or the type of SCTP's
    /// first chunk (0 for UDP).
    #[inline(always)]
    #[must_use]
    pub fn ports_and_segment(self) -> (Be16, Be16, u8) {
        // SAFETY: `transport` checked the bounds; the fields are byte-aligned.
        unsafe {
            match self {
                Self::Tcp(tcp) => {
                    let tcp = tcp.as_ref();
                    (tcp.source_port, tcp.destination_port, tcp.flags)
                }
                Self::Udp(udp) => {
                    let udp = udp.as_ref();
                    (udp.source_port, udp.destination_port, 0)
                }
                Self::Sctp(sctp) => {
                    let sctp = sctp.as_ref();
                    (sctp.source_port, sctp.destination_port, sctp.chunk_type)
                }
                Self::Absent(_) => (Be16::new(0), Be16::new(0), 0),
            }
        }
    }

    /// Writes new ports and updates the checksum by `delta`. SCTP's covers no
    /// address (RFC 9260 section 6.8), and its ports stay: nothing changes.
    #[inline(always)]
    pub fn translate(self, source_port: Be16, destination_port: Be16, delta: u16) {
        let delta = u64::from(delta);
        // SAFETY: `transport` checked the bounds; the fields are byte-aligned,
        // and no other reference to the packet is alive.
        unsafe {
            match self {
                Self::Tcp(mut tcp) => {
                    let tcp = tcp.as_mut();
                    tcp.source_port = source_port;
                    tcp.destination_port = destination_port;
                    tcp.checksum = checksum::apply(tcp.checksum, delta);
                }
                Self::Udp(mut udp) => {
                    let udp = udp.as_mut();
                    udp.source_port = source_port;
                    udp.destination_port = destination_port;
                    udp.checksum = checksum::apply_udp(udp.checksum, delta);
                }
                Self::Sctp(_) | Self::Absent(_) => {}
            }
        }
    }
}
