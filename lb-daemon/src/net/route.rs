//! One look-up in the kernel's routing tables, as `ip route get` does it:
//! policy rules, metrics and multipath are the kernel's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia},
};

use super::hop::Reason;

/// The way towards one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Egress interface.
    pub(super) ifindex: u32,
    /// None if the destination is on the link. May be an IPv6 address for an
    /// IPv4 destination (RFC 5549).
    pub(super) gateway: Option<IpAddr>,
    /// Preferred source.
    pub(super) local_address: IpAddr,
    /// Bytes, if the route says so.
    pub(super) mtu: Option<u32>,
}

/// What the tables say about one address.
pub(super) type Lookup = Result<Route, Reason>;

/// A block of addresses whose routing has changed: first and last.
pub(super) type Block = (IpAddr, IpAddr);

/// The request for the route towards `address`.
pub(super) fn request(address: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    (
        message.header.address_family,
        message.header.destination_prefix_length,
    ) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message
        .attributes
        .push(RouteAttribute::Destination(address.into()));
    message
}

/// Reads the kernel's answer to [`request`].
pub(super) fn read(message: &RouteMessage) -> Lookup {
    match message.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => return Err(Reason::Local),
        RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast => {
            return Err(Reason::NotUnicast);
        }
        _ => return Err(Reason::NoRoute),
    }
    let (mut ifindex, mut gateway, mut source, mut mtu) = (None, None, None, None);
    // A path MTU that the host's own stack has learnt comes as a metric of a
    // route that expires, and no event tells when it does: not ours to use.
    let mut learnt = false;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some((*address).into()),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::CacheInfo(info) => learnt = info.expires != 0,
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let unspecified = match message.header.address_family {
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    Ok(Route {
        ifindex: ifindex.ok_or(Reason::NoRoute)?,
        gateway,
        local_address: source.unwrap_or(unspecified),
        mtu: mtu.filter(|_| !learnt),
    })
}

/// The addresses that an added or deleted route is about. None for families
/// other than IP.
pub(super) fn block(message: &RouteMessage) -> Option<Block> {
    let length = u32::from(message.header.destination_prefix_length);
    let destination = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    match (message.header.address_family, destination) {
        (AddressFamily::Inet, None) => Some(all_of_v4()),
        (AddressFamily::Inet6, None) => Some(all_of_v6()),
        (AddressFamily::Inet, Some(IpAddr::V4(first))) => {
            let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
            let last = Ipv4Addr::from(u32::from(first) | hosts);
            Some((first.into(), last.into()))
        }
        (AddressFamily::Inet6, Some(IpAddr::V6(first))) => {
            let hosts = u128::MAX.checked_shr(length).unwrap_or(0);
            let last = Ipv6Addr::from(u128::from(first) | hosts);
            Some((first.into(), last.into()))
        }
        _ => None,
    }
}

/// Every IPv4 address.
pub(super) fn all_of_v4() -> Block {
    (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into())
}

/// Every IPv6 address.
pub(super) fn all_of_v6() -> Block {
    (
        Ipv6Addr::UNSPECIFIED.into(),
        Ipv6Addr::from(u128::MAX).into(),
    )
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::RouteCacheInfo;

    use super::*;

    fn answer(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.kind = kind;
        message.attributes = attributes;
        message
    }

    fn v4(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn via_gateway() -> Vec<RouteAttribute> {
        vec![
            RouteAttribute::Oif(3),
            RouteAttribute::Gateway(v4("192.0.2.1").into()),
            RouteAttribute::PrefSource(v4("192.0.2.9").into()),
            RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
        ]
    }

    #[test]
    fn a_route_via_a_gateway() {
        let route = Route {
            ifindex: 3,
            gateway: Some(v4("192.0.2.1")),
            local_address: v4("192.0.2.9"),
            mtu: Some(1400),
        };
        assert_eq!(read(&answer(RouteType::Unicast, via_gateway())), Ok(route));
    }

    #[test]
    fn a_path_mtu_that_expires_is_left_to_the_hosts_stack() {
        let mut attributes = via_gateway();
        // struct rta_cacheinfo: references, last use, expiry, and so on.
        let words = [1_u32, 0, 597, 0, 0, 0, 0, 0];
        let info = RouteCacheInfo::parse(&words.map(u32::to_ne_bytes).concat()).unwrap();
        attributes.push(RouteAttribute::CacheInfo(info));
        let route = read(&answer(RouteType::Unicast, attributes)).unwrap();
        assert_eq!(route.mtu, None);
    }

    #[test]
    fn an_ipv6_gateway_for_an_ipv4_destination() {
        let gateway: Ipv6Addr = "fe80::1".parse().unwrap();
        let attributes = vec![
            RouteAttribute::Oif(3),
            RouteAttribute::Via(RouteVia::Inet6(gateway)),
        ];
        let route = read(&answer(RouteType::Unicast, attributes)).unwrap();
        assert_eq!(route.gateway, Some(gateway.into()));
    }

    #[test]
    fn only_unicast_leaves_the_host() {
        for (kind, reason) in [
            (RouteType::Local, Reason::Local),
            (RouteType::Broadcast, Reason::NotUnicast),
            (RouteType::Multicast, Reason::NotUnicast),
            (RouteType::BlackHole, Reason::NoRoute),
            (RouteType::Unreachable, Reason::NoRoute),
        ] {
            assert_eq!(read(&answer(kind, via_gateway())), Err(reason));
        }
    }

    #[test]
    fn a_block_covers_the_prefix_and_no_more() {
        let mut message = answer(
            RouteType::Unicast,
            vec![RouteAttribute::Destination(v4("198.51.100.64").into())],
        );
        message.header.destination_prefix_length = 26;
        assert_eq!(
            block(&message),
            Some((v4("198.51.100.64"), v4("198.51.100.127")))
        );
        message.header.destination_prefix_length = 32;
        assert_eq!(
            block(&message),
            Some((v4("198.51.100.64"), v4("198.51.100.64")))
        );
        message.attributes.clear();
        message.header.destination_prefix_length = 0;
        assert_eq!(block(&message), Some(all_of_v4()));
    }
}
