//! The table, fed with a made-up kernel.

use std::collections::HashMap;

use lb_common::{
    addr::Be16,
    real::{Egress, VlanTag, vlan},
};

use super::*;
use crate::net::link::Vlan;

const MS: Duration = Duration::from_millis(1);
const LAN: u32 = 2;
const WAN: u32 = 3;
/// A VLAN interface on LAN.
const VLAN: u32 = 4;
const MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];

/// A kernel whose tables the tests write, and the look-ups that it answered.
struct World {
    table: Table,
    now: Instant,
    routes: HashMap<IpAddr, Lookup>,
    lookups: usize,
    /// What was told of the interfaces last.
    links: Option<Links>,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        mac: Some([2, 0, 0, 0, 0, u8::try_from(index).unwrap()]),
        mtu: 1500,
        up: true,
        running: true,
        ..Link::default()
    }
}

fn down_link(index: u32) -> Link {
    Link {
        running: false,
        ..link(index)
    }
}

fn vlan_link(id: u16) -> Link {
    Link {
        vlan: Some(Vlan {
            port: Some(LAN),
            tag: tag(id),
        }),
        ..link(VLAN)
    }
}

fn tag(id: u16) -> VlanTag {
    VlanTag {
        protocol: Be16::new(0x8100),
        tci: Be16::new(id),
    }
}

fn on_link(ifindex: u32) -> Lookup {
    Ok(Route {
        ifindex,
        gateway: None,
        local_address: ip("192.0.2.1"),
        mtu: None,
    })
}

fn via(ifindex: u32, gateway: &str) -> Lookup {
    on_link(ifindex).map(|route| Route {
        gateway: Some(ip(gateway)),
        ..route
    })
}

fn key(ifindex: u32, address: &str) -> NeighbourKey {
    NeighbourKey {
        ifindex,
        address: ip(address),
    }
}

fn hop(ifindex: u32, destination_mac: [u8; 6]) -> Resolution {
    hop_by(ifindex, destination_mac, vlan::KEEP)
}

fn hop_by(ifindex: u32, destination_mac: [u8; 6], mode: u8) -> Resolution {
    Resolution::Resolved(Hop {
        destination_mac,
        source_mac: link(ifindex).mac.unwrap(),
        egress: Egress {
            ifindex,
            vlan: mode,
            ..Egress::default()
        },
        mtu: 1500,
        local_address: ip("192.0.2.1"),
    })
}

/// A hop by the VLAN interface.
fn tagged_hop(id: u16, destination_mac: [u8; 6]) -> Resolution {
    let Resolution::Resolved(hop) = hop(VLAN, destination_mac) else {
        unreachable!("made so above");
    };
    let egress = Egress {
        ifindex: LAN,
        tags: [tag(id), VlanTag::default()],
        vlan: vlan::ONE_TAG,
        pad: [0; 3],
    };
    Resolution::Resolved(Hop { egress, ..hop })
}

fn unresolved(reason: Reason) -> Resolution {
    Resolution::Unresolved(reason)
}

fn lan_is_down() -> Resolution {
    unresolved(Reason::InterfaceDown {
        name: "eth2".into(),
    })
}

impl World {
    fn new(routes: &[(&str, Lookup)]) -> Self {
        let now = Instant::now();
        let mut table = Table::default();
        table.resync(vec![link(LAN), link(WAN)], Vec::new(), now);
        Self {
            table,
            now,
            routes: routes.iter().map(|(a, r)| (ip(a), r.clone())).collect(),
            lookups: 0,
            links: None,
        }
    }

    fn watch(&mut self, addresses: &[&str]) {
        let wanted = addresses.iter().map(|a| ip(a)).collect();
        self.table.watch(&wanted, self.now);
    }

    fn hear(&mut self, event: Event) {
        self.table.apply(event, self.now);
    }

    fn neighbour(&mut self, key: NeighbourKey, entry: Entry) {
        self.hear(Event::Neighbour(key, entry));
    }

    /// Lets the debounce time pass; what the table tells then.
    fn turn(&mut self) -> Vec<(IpAddr, Resolution)> {
        self.now += 25 * MS;
        loop {
            let batch = self.table.take_lookups(64, self.now);
            if batch.is_empty() {
                break;
            }
            self.lookups += batch.len();
            for address in batch {
                let none = Err(Reason::NoRoute);
                let lookup = self.routes.get(&address).cloned().unwrap_or(none);
                self.table.route(address, Some(lookup), self.now);
            }
            self.table.settle(self.now, Duration::ZERO);
        }
        self.table.settle(self.now, Duration::ZERO);
        if let Some(links) = self.table.take_links(self.now) {
            self.links = Some(links);
        }
        let changes = self.table.take_changes().into_iter();
        changes.map(|c| (c.address, c.resolution)).collect()
    }

    fn probes(&mut self) -> Vec<NeighbourKey> {
        self.table.take_probes(self.now)
    }
}

/// One real server on the link, resolved and told.
fn resolved() -> World {
    let mut world = World::new(&[("192.0.2.7", on_link(LAN))]);
    world.watch(&["192.0.2.7"]);
    world.turn();
    world.neighbour(key(LAN, "192.0.2.7"), Entry::Fresh(MAC));
    assert_eq!(world.turn(), [(ip("192.0.2.7"), hop(LAN, MAC))]);
    world
}

#[test]
fn a_new_address_is_told_of_at_once_and_again_when_its_neighbour_answers() {
    let mut world = World::new(&[("192.0.2.7", on_link(LAN))]);
    world.watch(&["192.0.2.7"]);
    let pending = unresolved(Reason::NeighbourPending);
    assert_eq!(world.turn(), [(ip("192.0.2.7"), pending)]);
    assert_eq!(world.probes(), [key(LAN, "192.0.2.7")]);
    world.neighbour(key(LAN, "192.0.2.7"), Entry::Fresh(MAC));
    assert_eq!(world.turn(), [(ip("192.0.2.7"), hop(LAN, MAC))]);
    // Nothing new, nothing told.
    world.neighbour(key(LAN, "192.0.2.7"), Entry::Stale(MAC));
    world.hear(Event::Link(link(LAN)));
    assert_eq!(world.turn(), []);
}

#[test]
fn every_reason_is_told_as_itself() {
    let mut world = World::new(&[
        ("192.0.2.1", Err(Reason::Local)),
        ("192.0.2.255", Err(Reason::NotUnicast)),
        ("198.51.100.1", on_link(9)),
    ]);
    let tun = Link {
        mac: None,
        ..link(9)
    };
    world.hear(Event::Link(tun));
    world.watch(&["192.0.2.1", "192.0.2.255", "198.51.100.1", "203.0.113.1"]);
    let no_macs = Reason::NoLinkLayer {
        name: "eth9".into(),
    };
    let told = [
        (ip("192.0.2.1"), unresolved(Reason::Local)),
        (ip("192.0.2.255"), unresolved(Reason::NotUnicast)),
        (ip("198.51.100.1"), unresolved(no_macs)),
        (ip("203.0.113.1"), unresolved(Reason::NoRoute)),
    ];
    assert_eq!(world.turn(), told);
    assert_eq!(world.probes(), []);
}

#[test]
fn the_routes_mtu_counts_up_to_the_links() {
    let with_mtu = |mtu| on_link(LAN).map(|route| Route { mtu, ..route });
    let mut world = World::new(&[
        ("192.0.2.7", with_mtu(Some(1400))),
        ("192.0.2.8", with_mtu(Some(9000))),
    ]);
    world.watch(&["192.0.2.7", "192.0.2.8"]);
    world.neighbour(key(LAN, "192.0.2.7"), Entry::Fresh(MAC));
    world.neighbour(key(LAN, "192.0.2.8"), Entry::Fresh(MAC));
    let told = world.turn();
    let mtus: Vec<_> = told.iter().map(|(_, r)| r.hop().unwrap().mtu).collect();
    assert_eq!(mtus, [1400, 1500]);
}

#[test]
fn a_link_that_goes_down_is_named_though_its_routes_go_too() {
    let mut world = resolved();
    world.routes.clear();
    world.hear(Event::Link(down_link(LAN)));
    assert_eq!(world.turn(), [(ip("192.0.2.7"), lan_is_down())]);
    // The way is not believed before the neighbour has answered again.
    world.routes.insert(ip("192.0.2.7"), on_link(LAN));
    world.hear(Event::NeighbourGone(key(LAN, "192.0.2.7")));
    world.hear(Event::Link(link(LAN)));
    let pending = unresolved(Reason::NeighbourPending);
    assert_eq!(world.turn(), [(ip("192.0.2.7"), pending)]);
    assert_eq!(world.probes(), [key(LAN, "192.0.2.7")]);
}

#[test]
fn another_route_takes_over_in_one_change() {
    let mut world = resolved();
    world.neighbour(key(WAN, "198.51.100.1"), Entry::Fresh(OTHER_MAC));
    world
        .routes
        .insert(ip("192.0.2.7"), via(WAN, "198.51.100.1"));
    world.hear(Event::Link(down_link(LAN)));
    assert_eq!(world.turn(), [(ip("192.0.2.7"), hop(WAN, OTHER_MAC))]);
    world.hear(Event::LinkGone(WAN));
    world.routes.clear();
    assert_eq!(
        world.turn(),
        [(ip("192.0.2.7"), unresolved(Reason::NoRoute))]
    );
}

#[test]
fn a_failed_neighbour_is_told_of_once_it_has_stood() {
    let mut world = resolved();
    world.neighbour(key(LAN, "192.0.2.7"), Entry::Failed);
    let failed = unresolved(Reason::NeighbourFailed);
    assert_eq!(world.turn(), [(ip("192.0.2.7"), failed)]);
}

#[test]
fn a_gateway_serves_many_with_one_probe_and_no_look_up() {
    let names: Vec<_> = (1..=200).map(|n| format!("198.51.100.{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let routes: Vec<_> = names
        .iter()
        .map(|n| (*n, via(LAN, "192.0.2.254")))
        .collect();
    let mut world = World::new(&routes);
    world.watch(&names);
    assert_eq!(world.turn().len(), 200);
    assert_eq!(world.lookups, 200);
    assert_eq!(world.probes(), [key(LAN, "192.0.2.254")]);
    world.neighbour(key(LAN, "192.0.2.254"), Entry::Fresh(MAC));
    assert_eq!(world.turn().len(), 200);
    world.neighbour(key(LAN, "192.0.2.254"), Entry::Fresh(OTHER_MAC));
    assert_eq!(world.turn().len(), 200);
    assert_eq!(world.lookups, 200);
}

#[test]
fn a_route_event_looks_up_what_it_is_about() {
    let mut world = World::new(&[("192.0.2.7", on_link(LAN)), ("198.51.100.7", on_link(WAN))]);
    world.watch(&["192.0.2.7", "198.51.100.7"]);
    world.turn();
    world.hear(Event::Routing((ip("192.0.2.0"), ip("192.0.2.255"))));
    world.hear(Event::Routing((ip("192.0.2.7"), ip("192.0.2.7"))));
    world.turn();
    assert_eq!(world.lookups, 3);
    world.hear(Event::Routing(all_of_v6()));
    world.turn();
    assert_eq!(world.lookups, 3);
}

#[test]
fn an_address_without_a_route_is_looked_up_again_ever_more_rarely() {
    let mut world = World::new(&[]);
    world.watch(&["203.0.113.1"]);
    for _ in 0..(120_000 / 25) {
        world.turn();
    }
    assert!((5..=12).contains(&world.lookups), "{}", world.lookups);
    world.routes.insert(ip("203.0.113.1"), on_link(LAN));
    world.table.want(ip("203.0.113.1"), world.now);
    world.now += 1000 * MS;
    let pending = unresolved(Reason::NeighbourPending);
    assert_eq!(world.turn(), [(ip("203.0.113.1"), pending)]);
}

#[test]
fn changes_that_cancel_out_before_they_are_told_are_not() {
    let mut world = resolved();
    for mac in [OTHER_MAC, MAC] {
        world.neighbour(key(LAN, "192.0.2.7"), Entry::Fresh(mac));
        world.table.settle(world.now, Duration::ZERO);
    }
    assert_eq!(world.turn(), []);
}

#[test]
fn what_is_not_watched_any_more_is_neither_told_nor_probed_but_news_when_back() {
    let mut world = resolved();
    world.watch(&[]);
    world.neighbour(key(LAN, "192.0.2.7"), Entry::Fresh(OTHER_MAC));
    world.hear(Event::NeighbourGone(key(LAN, "192.0.2.7")));
    assert_eq!(world.turn(), []);
    assert_eq!(world.probes(), []);
    assert_eq!(world.table.deadline(), None);
    world.neighbour(key(LAN, "192.0.2.7"), Entry::Fresh(MAC));
    world.watch(&["192.0.2.7"]);
    assert_eq!(world.turn(), [(ip("192.0.2.7"), hop(LAN, MAC))]);
}

#[test]
fn a_resync_finds_what_events_did_not_tell() {
    let mut world = resolved();
    let entries = vec![(key(LAN, "192.0.2.7"), Entry::Fresh(OTHER_MAC))];
    world.table.resync(vec![link(LAN)], entries, world.now);
    assert_eq!(world.turn(), [(ip("192.0.2.7"), hop(LAN, OTHER_MAC))]);
    world.routes.clear();
    world.table.resync(vec![], vec![], world.now);
    assert_eq!(
        world.turn(),
        [(ip("192.0.2.7"), unresolved(Reason::NoRoute))]
    );
}

#[test]
fn a_route_by_a_vlan_interface_leaves_by_its_port_with_the_tag() {
    let mut world = World::new(&[("192.0.2.7", on_link(VLAN)), ("192.0.2.8", on_link(LAN))]);
    world.watch(&["192.0.2.7", "192.0.2.8"]);
    world.neighbour(key(LAN, "192.0.2.8"), Entry::Fresh(MAC));
    // Neighbours belong to the VLAN interface: the port has others.
    world.neighbour(key(VLAN, "192.0.2.7"), Entry::Fresh(OTHER_MAC));
    let (on_vlan, on_port) = (ip("192.0.2.7"), ip("192.0.2.8"));
    let no_route = unresolved(Reason::NoRoute);
    let told = [(on_vlan, no_route), (on_port, hop(LAN, MAC))];
    assert_eq!(world.turn(), told);

    world.hear(Event::Link(vlan_link(100)));
    let told = [
        (on_vlan, tagged_hop(100, OTHER_MAC)),
        (on_port, hop_by(LAN, MAC, vlan::UNTAGGED)),
    ];
    assert_eq!(world.turn(), told);

    world.hear(Event::Link(vlan_link(101)));
    assert_eq!(world.turn(), [(on_vlan, tagged_hop(101, OTHER_MAC))]);

    world.hear(Event::LinkGone(VLAN));
    world.routes.remove(&on_vlan);
    let told = [
        (on_vlan, unresolved(Reason::NoRoute)),
        (on_port, hop(LAN, MAC)),
    ];
    assert_eq!(world.turn(), told);
}

#[test]
fn the_port_of_a_vlan_interface_is_named_when_it_is_down() {
    let mut world = World::new(&[("192.0.2.7", on_link(VLAN))]);
    world.hear(Event::Link(vlan_link(100)));
    world.watch(&["192.0.2.7"]);
    world.neighbour(key(VLAN, "192.0.2.7"), Entry::Fresh(MAC));
    assert_eq!(world.turn(), [(ip("192.0.2.7"), tagged_hop(100, MAC))]);
    world.hear(Event::Link(down_link(LAN)));
    assert_eq!(world.turn(), [(ip("192.0.2.7"), lan_is_down())]);
    world.hear(Event::Link(link(LAN)));
    assert_eq!(world.turn(), [(ip("192.0.2.7"), tagged_hop(100, MAC))]);
}

#[test]
fn vlan_interfaces_three_deep_are_told_as_that() {
    let nested = |index: u32, port: u32| Link {
        vlan: Some(Vlan {
            port: Some(port),
            tag: tag(7),
        }),
        ..link(index)
    };
    let mut world = World::new(&[("192.0.2.7", on_link(6))]);
    for link in [vlan_link(100), nested(5, VLAN), nested(6, 5)] {
        world.hear(Event::Link(link));
    }
    world.watch(&["192.0.2.7"]);
    let name = "eth6".into();
    let told = unresolved(Reason::TooManyTags { name });
    assert_eq!(world.turn(), [(ip("192.0.2.7"), told)]);
}

#[test]
fn ipv6_has_an_mtu_of_its_own() {
    let mut world = World::new(&[("192.0.2.7", on_link(LAN)), ("2001:db8::7", on_link(LAN))]);
    world.hear(Event::Link(Link {
        mtu_v6: Some(1400),
        ..link(LAN)
    }));
    world.watch(&["192.0.2.7", "2001:db8::7"]);
    world.neighbour(key(LAN, "192.0.2.7"), Entry::Fresh(MAC));
    world.neighbour(key(LAN, "2001:db8::7"), Entry::Fresh(MAC));
    let told = world.turn();
    let mtus: Vec<_> = told.iter().map(|(_, r)| r.hop().unwrap().mtu).collect();
    assert_eq!(mtus, [1500, 1400]);
}

#[test]
fn interfaces_are_told_of_together_and_once() {
    let mut world = World::new(&[]);
    assert_eq!(world.table.take_links(world.now), None);
    world.turn();
    let links = world.links.take().unwrap();
    assert!(links.get(LAN).is_some() && links.get(WAN).is_some());
    world.hear(Event::LinkGone(WAN));
    world.hear(Event::Link(down_link(LAN)));
    world.turn();
    let links = world.links.take().unwrap();
    assert_eq!(links.get(WAN), None);
    assert!(!links.get(LAN).unwrap().running);
    world.hear(Event::Link(down_link(LAN)));
    world.turn();
    assert_eq!(world.links, None);
}
