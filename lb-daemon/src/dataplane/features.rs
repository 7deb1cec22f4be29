//! What a driver can do with XDP, where the kernel says so: the generic netlink
//! family "netdev" (Documentation/netlink/specs/netdev.yaml, Linux 6.3).

use super::netlink::{ask_family, attribute, attributes};

const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// `enum netdev_xdp_act`.
const NDO_XMIT: u64 = 1 << 2;
const RX_SG: u64 = 1 << 5;
const NDO_XMIT_SG: u64 = 1 << 6;

/// What the driver can do at this moment. Some can send only while they run a
/// program themselves, a veth only while its other end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Send frames that XDP redirects to it from another interface.
    pub takes_redirects: bool,
    /// Give XDP frames of more than one buffer.
    pub receives_fragments: bool,
    /// Send redirected frames of more than one buffer.
    pub sends_fragments: bool,
}

impl Features {
    /// Asks the kernel; none before Linux 6.3.
    pub(super) fn of(index: u32) -> Option<Self> {
        let question = attribute(NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes());
        let answers = ask_family("netdev", NETDEV_CMD_DEV_GET, &question).ok()?;
        let found = answers
            .iter()
            .flat_map(|answer| attributes(answer))
            .find(|(kind, _)| *kind == NETDEV_A_DEV_XDP_FEATURES);
        let bits = u64::from_ne_bytes(found?.1.try_into().ok()?);
        Some(Self {
            takes_redirects: bits & NDO_XMIT != 0,
            receives_fragments: bits & RX_SG != 0,
            sends_fragments: bits & NDO_XMIT_SG != 0,
        })
    }
}
