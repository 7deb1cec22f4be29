//! Network interfaces: what the daemon has to know of one before it attaches
//! a program to it or sends a frame out of it.

use std::fmt;

use rtnetlink::packet_route::{
    AddressFamily,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage},
};

use super::{NetError, kernel::Kernel};

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name, as in "eth0".
    pub name: String,
    /// Ethernet address; none on interfaces without link-layer addresses
    /// (tun, ppp, loopback) or with others than Ethernet's.
    pub mac: Option<[u8; 6]>,
    /// Bytes, without the link-layer header.
    pub mtu: u32,
    /// Set up by the operator (`IFF_UP`).
    pub up: bool,
    /// Able to pass packets (`IFF_RUNNING`): up, with a carrier.
    pub running: bool,
    /// The driver's kind for virtual interfaces, as in "veth" or "vlan";
    /// hardware has none.
    pub kind: Option<String>,
}

/// A state of an interface that is no reason to stop, but to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkWarning {
    /// The operator has not set it up.
    Down {
        /// The interface.
        name: String,
    },
    /// It is set up, but has no carrier.
    NoCarrier {
        /// The interface.
        name: String,
    },
}

/// Looks an interface up by its name.
///
/// # Errors
/// [`NetError::NoInterface`] if there is none of that name.
pub async fn find(name: &str) -> Result<Link, NetError> {
    Kernel::open()?.link(name).await
}

impl Link {
    /// What an operator should know about the interface's state.
    pub fn warning(&self) -> Option<LinkWarning> {
        let name = self.name.clone();
        match (self.up, self.running) {
            (true, true) => None,
            (true, false) => Some(LinkWarning::NoCarrier { name }),
            (false, _) => Some(LinkWarning::Down { name }),
        }
    }

    /// Whether frames can leave through it.
    pub fn is_usable(&self) -> bool {
        self.up && self.running
    }

    /// None for messages of another family than `AF_UNSPEC`: those tell of an
    /// interface's part in a bridge and carry a part of the attributes only.
    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Running),
            kind: None,
        };
        let has_macs = message.header.link_layer_type == LinkLayerType::Ether;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(address) if has_macs => {
                    link.mac = address.as_slice().try_into().ok();
                }
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(kind).map(InfoKind::to_string);
                }
                _ => {}
            }
        }
        Some(link)
    }
}

impl fmt::Display for LinkWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { name } => write!(f, "interface {name} is down"),
            Self::NoCarrier { name } => write!(f, "interface {name} has no carrier"),
        }
    }
}

fn kind(info: &LinkInfo) -> Option<&InfoKind> {
    match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(layer: LinkLayerType, flags: LinkFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = layer;
        message.header.flags = flags;
        message.attributes = vec![
            LinkAttribute::IfName("lan0".into()),
            LinkAttribute::Mtu(9000),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7]),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        ];
        message
    }

    #[test]
    fn an_ethernet_interface_is_read_whole() {
        let message = message(LinkLayerType::Ether, LinkFlags::Up | LinkFlags::Running);
        let link = Link::from_message(&message).unwrap();
        assert_eq!(link.index, 7);
        assert_eq!(link.name, "lan0");
        assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 7]));
        assert_eq!(link.mtu, 9000);
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert_eq!(link.warning(), None);
    }

    #[test]
    fn loopback_has_an_address_of_six_zeros_but_no_mac() {
        let message = message(LinkLayerType::Loopback, LinkFlags::Up);
        assert_eq!(Link::from_message(&message).unwrap().mac, None);
    }

    #[test]
    fn a_bridge_port_message_is_not_about_the_interface_itself() {
        let mut message = message(LinkLayerType::Ether, LinkFlags::Up);
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(Link::from_message(&message), None);
    }

    #[test]
    fn warnings_name_the_interface() {
        let down = Link::from_message(&message(LinkLayerType::Ether, LinkFlags::empty())).unwrap();
        assert_eq!(
            down.warning().unwrap().to_string(),
            "interface lan0 is down"
        );
        let unplugged = Link::from_message(&message(LinkLayerType::Ether, LinkFlags::Up)).unwrap();
        assert_eq!(
            unplugged.warning().unwrap().to_string(),
            "interface lan0 has no carrier"
        );
    }
}
