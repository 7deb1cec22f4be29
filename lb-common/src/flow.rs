//! The key of the connection tables: a packet's 5-tuple as it stands on the
//! wire, whichever way it goes. One look-up finds the client's half (client
//! to VIP) and, under nat, the real's half (real to client).

use crate::addr::{Be16, Be32};

/// Key of `CONNECTIONS_V4`, 16 bytes, no implicit padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKeyV4 {
    pub source: Be32,
    pub destination: Be32,
    pub source_port: Be16,
    pub destination_port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    pub pad: [u8; 3],
}

const _: () = assert!(size_of::<FlowKeyV4>() == 16);
