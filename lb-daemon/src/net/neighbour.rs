//! Entries of the kernel's neighbour tables (ARP and neighbour discovery).

use std::net::IpAddr;

use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};

/// Where a neighbour is: addresses mean something on one link only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NeighbourKey {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
}

/// What the kernel knows about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Frames can be sent to this address, and the kernel is content with it.
    Fresh([u8; 6]),
    /// Frames can be sent; nobody has confirmed for a while that it is right.
    Stale([u8; 6]),
    /// Set by an operator or by the interface's kind; the kernel never asks.
    Fixed([u8; 6]),
    /// The kernel is asking for the first time.
    Incomplete,
    /// The neighbour did not answer, or an operator deleted the entry.
    Failed,
}

impl Entry {
    /// The link-layer address, if there is one.
    pub(super) fn mac(self) -> Option<[u8; 6]> {
        match self {
            Self::Fresh(mac) | Self::Stale(mac) | Self::Fixed(mac) => Some(mac),
            Self::Incomplete | Self::Failed => None,
        }
    }
}

/// Reads a message about an entry. None for entries of bridges and for
/// link-layer addresses other than Ethernet's.
pub(super) fn read(message: &NeighbourMessage) -> Option<(NeighbourKey, Entry)> {
    let key = key(message)?;
    let mac = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    });
    let entry = match message.header.state {
        NeighbourState::Reachable | NeighbourState::Delay | NeighbourState::Probe => {
            Entry::Fresh(mac?)
        }
        NeighbourState::Stale => Entry::Stale(mac?),
        NeighbourState::Permanent | NeighbourState::Noarp => Entry::Fixed(mac?),
        NeighbourState::Failed => Entry::Failed,
        _ => Entry::Incomplete,
    };
    Some((key, entry))
}

/// Which entry a message is about. A removed entry may have no link-layer
/// address any more.
pub(super) fn key(message: &NeighbourMessage) -> Option<NeighbourKey> {
    if !matches!(
        message.header.family,
        AddressFamily::Inet | AddressFamily::Inet6
    ) {
        return None;
    }
    let address = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::from(*v4)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::from(*v6)),
        _ => None,
    })?;
    Some(NeighbourKey {
        ifindex: message.header.ifindex,
        address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn message(state: NeighbourState, mac: bool) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = 4;
        message.header.state = state;
        let address: IpAddr = "192.0.2.2".parse().unwrap();
        message
            .attributes
            .push(NeighbourAttribute::Destination(address.into()));
        if mac {
            message
                .attributes
                .push(NeighbourAttribute::LinkLayerAddress(MAC.to_vec()));
        }
        message
    }

    #[test]
    fn states_are_told_apart_by_what_can_be_done_with_them() {
        for (state, entry) in [
            (NeighbourState::Reachable, Entry::Fresh(MAC)),
            (NeighbourState::Delay, Entry::Fresh(MAC)),
            (NeighbourState::Probe, Entry::Fresh(MAC)),
            (NeighbourState::Stale, Entry::Stale(MAC)),
            (NeighbourState::Permanent, Entry::Fixed(MAC)),
            (NeighbourState::Noarp, Entry::Fixed(MAC)),
            // The kernel leaves the old address in a failed entry.
            (NeighbourState::Failed, Entry::Failed),
        ] {
            assert_eq!(read(&message(state, true)).unwrap().1, entry);
        }
        for state in [NeighbourState::Incomplete, NeighbourState::None] {
            assert_eq!(read(&message(state, false)).unwrap().1, Entry::Incomplete);
        }
    }

    #[test]
    fn entries_of_bridges_are_not_neighbours() {
        let mut message = message(NeighbourState::Reachable, true);
        message.header.family = AddressFamily::Bridge;
        assert_eq!(read(&message), None);
    }
}
