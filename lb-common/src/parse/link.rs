//! Ethernet with up to two VLAN tags (IEEE 802.1Q).

use super::Frame;
use crate::{
    addr::Be16,
    limits::{ETHERNET_HEADER_BYTES, VLAN_TAG_BYTES},
    real::VlanTag,
    wire::ethernet::{Ethernet, ethertype},
};

/// What the link layer says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// VLAN tags, 0 to 2.
    pub tags: usize,
    /// Of the network layer.
    pub ethertype: Be16,
}

impl Link {
    /// Offset of the network header.
    #[inline(always)]
    #[must_use]
    pub const fn network(&self) -> usize {
        ETHERNET_HEADER_BYTES + self.tags * VLAN_TAG_BYTES
    }
}

/// The link layer of a frame to one station. A frame to a group is none that
/// anybody load-balances.
#[inline(always)]
pub fn link(frame: &impl Frame) -> Option<Link> {
    let ethernet = frame.at::<Ethernet>(0)?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let ethernet = unsafe { ethernet.as_ref() };
    if ethernet.destination[0] & 1 != 0 {
        return None;
    }
    if !is_tag(ethernet.ethertype) {
        return Some(Link {
            tags: 0,
            ethertype: ethernet.ethertype,
        });
    }
    let first = ethertype_at(frame, 1)?;
    if !is_tag(first) {
        return Some(Link {
            tags: 1,
            ethertype: first,
        });
    }
    Some(Link {
        tags: 2,
        ethertype: ethertype_at(frame, 2)?,
    })
}

#[inline(always)]
fn is_tag(ethertype: Be16) -> bool {
    ethertype == ethertype::VLAN || ethertype == ethertype::SERVICE_VLAN
}

/// The EtherType behind `tags` tags.
#[inline(always)]
fn ethertype_at(frame: &impl Frame, tags: usize) -> Option<Be16> {
    let offset = ETHERNET_HEADER_BYTES + (tags - 1) * VLAN_TAG_BYTES;
    let bytes = frame.at::<[u8; size_of::<VlanTag>()]>(offset)?;
    // SAFETY: `at` checked the bounds.
    let [_, _, high, low] = *unsafe { bytes.as_ref() };
    Some(Be16::from_raw(u16::from_ne_bytes([high, low])))
}
