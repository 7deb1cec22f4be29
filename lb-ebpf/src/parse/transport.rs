//! TCP and UDP headers.

use core::ptr::NonNull;

use lb_common::{
    addr::Be16,
    checksum,
    wire::{protocol, tcp::Tcp, udp::Udp},
};

use crate::packet::Packet;

/// A transport header within the packet.
#[derive(Clone, Copy)]
pub enum Transport {
    Tcp(NonNull<Tcp>),
    Udp(NonNull<Udp>),
}

/// The header at `offset`, where the `payload` bytes of the datagram hold all
/// of it, options too, and agree with the lengths in it.
#[inline(always)]
pub fn header(packet: &Packet, offset: usize, protocol: u8, payload: u16) -> Option<Transport> {
    match protocol {
        protocol::TCP => {
            let tcp = packet.at::<Tcp>(offset)?;
            // SAFETY: `at` checked the bounds; the fields are byte-aligned.
            let length = unsafe { (*tcp.as_ptr()).header_bytes() };
            (usize::from(length) >= size_of::<Tcp>() && length <= payload)
                .then_some(Transport::Tcp(tcp))
        }
        protocol::UDP => {
            let udp = packet.at::<Udp>(offset)?;
            // SAFETY: as above.
            let length = unsafe { (*udp.as_ptr()).length.get() };
            (usize::from(length) >= size_of::<Udp>() && length <= payload)
                .then_some(Transport::Udp(udp))
        }
        _ => None,
    }
}

impl Transport {
    /// Source port, destination port, TCP flags (0 for UDP).
    #[inline(always)]
    pub fn ports_and_flags(self) -> (Be16, Be16, u8) {
        // SAFETY: `header` checked the bounds; the fields are byte-aligned.
        unsafe {
            match self {
                Self::Tcp(tcp) => {
                    let tcp = &*tcp.as_ptr();
                    (tcp.source_port, tcp.destination_port, tcp.flags)
                }
                Self::Udp(udp) => {
                    let udp = &*udp.as_ptr();
                    (udp.source_port, udp.destination_port, 0)
                }
            }
        }
    }

    /// Writes new ports and updates the checksum by `delta`.
    #[inline(always)]
    pub fn translate(self, source_port: Be16, destination_port: Be16, delta: u16) {
        let delta = u64::from(delta);
        // SAFETY: `header` checked the bounds; the fields are byte-aligned,
        // and no other reference to the packet is alive.
        unsafe {
            match self {
                Self::Tcp(tcp) => {
                    let tcp = &mut *tcp.as_ptr();
                    tcp.source_port = source_port;
                    tcp.destination_port = destination_port;
                    tcp.checksum = checksum::apply(tcp.checksum, delta);
                }
                Self::Udp(udp) => {
                    let udp = &mut *udp.as_ptr();
                    udp.source_port = source_port;
                    udp.destination_port = destination_port;
                    udp.checksum = checksum::apply_udp(udp.checksum, delta);
                }
            }
        }
    }
}
