//! Network interfaces: what the daemon has to know of one before it attaches
//! a program to it or sends a frame out of it.

use std::fmt;

use lb_common::{addr::Be16, real::VlanTag};
use rtnetlink::packet_route::{
    AddressFamily,
    link::{
        AfSpecInet6, AfSpecUnspec, InfoBond, InfoData, InfoVlan, LinkAttribute, LinkFlags,
        LinkInfo, LinkLayerType, LinkMessage, VlanProtocol,
    },
};

use super::{NetError, kernel::Kernel};

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// IPv6's own, bytes (`net.ipv6.conf.IF.mtu`, which routers may advertise);
    /// none where there is no IPv6.
    pub mtu_v6: Option<u32>,
    /// Set up by the operator (`IFF_UP`).
    pub up: bool,
    /// Able to pass packets (`IFF_RUNNING`): up, with a carrier.
    pub running: bool,
    /// How often it has got a carrier: what has come and gone between two looks shows
    /// here.
    pub carrier_ups: u32,
    /// The driver's kind for virtual interfaces, as in "veth" or "vlan";
    /// hardware has none.
    pub kind: Option<String>,
    /// Index of the bond, bridge or other device that it is a port of.
    pub master: Option<u32>,
    /// Of VLAN interfaces.
    pub vlan: Option<Vlan>,
    /// Of bonds: the mode, as in "802.3ad".
    pub bond_mode: Option<String>,
}

/// What makes an interface a VLAN interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Index of the interface that it lies on; none if that one is in another
    /// network namespace.
    pub port: Option<u32>,
    /// What stands in its frames on that interface; priority 0.
    pub tag: VlanTag,
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

/// Every interface of the calling thread's network namespace.
///
/// # Errors
/// [`NetError`] if the kernel does not say.
pub async fn all() -> Result<Vec<Link>, NetError> {
    Kernel::open()?.links().await
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

    /// Whether it is of this kind, as in "bond".
    pub fn is_kind(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }

    /// Whether frames can leave through it.
    pub fn is_usable(&self) -> bool {
        self.up && self.running
    }

    /// None for messages of another family than `AF_UNSPEC`: those tell of an
    /// interface's part in a bridge and carry a part of the attributes only.
    pub(crate) fn from_message(message: &LinkMessage) -> Option<Self> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Running),
            ..Self::default()
        };
        let has_macs = message.header.link_layer_type == LinkLayerType::Ether;
        let (mut lower, mut lower_is_elsewhere) = (None, false);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(address) if has_macs => {
                    link.mac = address.as_slice().try_into().ok();
                }
                LinkAttribute::CarrierUpCount(count) => link.carrier_ups = *count,
                LinkAttribute::Link(index) => lower = Some(*index),
                LinkAttribute::LinkNetNsId(_) => lower_is_elsewhere = true,
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    infos.iter().for_each(|info| link.read_info(info));
                }
                LinkAttribute::AfSpecUnspec(families) => link.mtu_v6 = mtu_v6(families),
                _ => {}
            }
        }
        if let Some(vlan) = &mut link.vlan {
            vlan.port = lower.filter(|_| !lower_is_elsewhere);
        }
        Some(link)
    }

    fn read_info(&mut self, info: &LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
            LinkInfo::Data(InfoData::Vlan(attributes)) => {
                let tag = tag(attributes);
                self.vlan = tag.map(|tag| Vlan { port: None, tag });
            }
            LinkInfo::Data(InfoData::Bond(attributes)) => {
                self.bond_mode = attributes.iter().find_map(|attribute| match attribute {
                    InfoBond::Mode(mode) => Some(mode.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
}

fn tag(attributes: &[InfoVlan]) -> Option<VlanTag> {
    let (mut id, mut protocol) = (None, VlanProtocol::default());
    for attribute in attributes {
        match attribute {
            InfoVlan::Id(number) => id = Some(*number),
            InfoVlan::Protocol(number) => protocol = *number,
            _ => {}
        }
    }
    Some(VlanTag {
        protocol: Be16::new(protocol.into()),
        tci: Be16::new(id?),
    })
}

fn mtu_v6(families: &[AfSpecUnspec]) -> Option<u32> {
    let of_v6 = families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(attributes) => Some(attributes),
        _ => None,
    })?;
    of_v6.iter().find_map(|attribute| match attribute {
        AfSpecInet6::DevConf(settings) => u32::try_from(settings.mtu6).ok(),
        _ => None,
    })
}

impl fmt::Display for LinkWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { name } => write!(f, "interface {name} is down"),
            Self::NoCarrier { name } => write!(f, "interface {name} has no carrier"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::{BondMode, InfoKind};

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
            LinkAttribute::CarrierUpCount(5),
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
        assert_eq!((link.mtu, link.carrier_ups), (9000, 5));
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert_eq!(link.warning(), None);
    }

    /// A message about a VLAN interface on interface 3.
    fn vlan_message(id: u16, protocol: VlanProtocol) -> LinkMessage {
        let mut message = message(LinkLayerType::Ether, LinkFlags::Up);
        message.attributes.push(LinkAttribute::Link(3));
        let data = vec![InfoVlan::Id(id), InfoVlan::Protocol(protocol)];
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(data)),
        ]));
        message
    }

    #[test]
    fn a_vlan_interface_has_a_port_and_a_tag() {
        for (number, protocol) in [
            (0x8100, VlanProtocol::Ieee8021Q),
            (0x88a8, VlanProtocol::Ieee8021Ad),
        ] {
            let mut message = vlan_message(100, protocol);
            let mut vlan = Vlan {
                port: Some(3),
                tag: VlanTag {
                    protocol: Be16::new(number),
                    tci: Be16::new(100),
                },
            };
            assert_eq!(Link::from_message(&message).unwrap().vlan, Some(vlan));
            // The index means something in another namespace.
            message.attributes.push(LinkAttribute::LinkNetNsId(0));
            vlan.port = None;
            assert_eq!(Link::from_message(&message).unwrap().vlan, Some(vlan));
        }
    }

    #[test]
    fn the_peer_of_a_veth_is_no_port_of_it() {
        let mut message = message(LinkLayerType::Ether, LinkFlags::Up);
        message.attributes.push(LinkAttribute::Link(3));
        assert_eq!(Link::from_message(&message).unwrap().vlan, None);
    }

    #[test]
    fn a_bond_and_its_port() {
        let mut message = message(LinkLayerType::Ether, LinkFlags::Up);
        let mode = InfoBond::Mode(BondMode::Ieee8023Ad);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bond),
            LinkInfo::Data(InfoData::Bond(vec![mode])),
        ]));
        message.attributes.push(LinkAttribute::Controller(9));
        let link = Link::from_message(&message).unwrap();
        assert!(link.is_kind("bond"));
        assert_eq!(link.bond_mode.as_deref(), Some("802.3ad"));
        assert_eq!(link.master, Some(9));
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
