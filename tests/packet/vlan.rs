//! VLAN tags on the way out: kept on the interface that the frame came by, or
//! as the next hop's way wants them.

use std::collections::HashMap;

use lb_common::{
    addr::Be16,
    real::{Egress, VlanTag, vlan},
};
use lb_daemon::config::model::Protocol;
use lb_tests::{modules, privilege};
use nix::net::if_::if_nametoindex;

use crate::{
    packet::{Header, Packet, Tag},
    rig::{LOOPBACK, Rig},
    row::{
        Expect::{Answered, Redirected, Transmitted},
        TIME_EXCEEDED, fragmentation_needed,
    },
    ways::{GUE, IPIP, Method, Way, tun},
    wires::with_wires,
    world::v4,
};

/// An interface other than the ingress.
const ELSEWHERE: u32 = 4711;

/// What frames arrive with: nothing, priority 5 in VLAN 7, priority 3 in a
/// provider's.
const ARRIVING: [[Option<Tag>; 2]; 3] = [
    [None, None],
    [tag(0x8100, 0xa007), None],
    [tag(0x88a8, 0x6009), tag(0x8100, 0x2007)],
];

const fn tag(protocol: u16, control: u16) -> Option<Tag> {
    Some(Tag { protocol, control })
}

/// The tags of an egress, and what they become after a frame of this priority.
const CUSTOMER: (u16, u16) = (0x8100, 100);
const PROVIDER: (u16, u16) = (0x88a8, 200);

fn egress(ifindex: u32, mode: u8) -> Egress {
    let tag = |(protocol, control)| VlanTag {
        protocol: Be16::new(protocol),
        tci: Be16::new(control),
    };
    let tags = match mode {
        vlan::ONE_TAG => [tag(CUSTOMER), VlanTag::default()],
        vlan::TWO_TAGS => [tag(PROVIDER), tag(CUSTOMER)],
        _ => [VlanTag::default(); 2],
    };
    Egress {
        ifindex,
        tags,
        vlan: mode,
        ..Egress::default()
    }
}

/// The tags that a frame leaves with. The priority is that of the outer tag
/// that it came with.
fn leaving(arriving: [Option<Tag>; 2], mode: u8, stays: bool) -> [Option<Tag>; 2] {
    let priority = arriving[0].map_or(0, |tag| tag.control & 0xe000);
    let new = |(protocol, control)| tag(protocol, control | priority);
    match mode {
        vlan::KEEP if stays => arriving,
        vlan::ONE_TAG => [new(CUSTOMER), None],
        vlan::TWO_TAGS => [new(PROVIDER), new(CUSTOMER)],
        _ => [None, None],
    }
}

#[test]
fn each_egress() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let methods = [Method::Dr, Method::Nat, tun(IPIP, false), tun(GUE, true)];
    for method in methods {
        for is_ipv6 in [false, true] {
            let mut way = Way::new(method, is_ipv6, Protocol::Tcp);
            rig.clear();
            rig.serve(&way.service());
            way.connect(&mut rig);
            for (ifindex, stays) in [(LOOPBACK, true), (ELSEWHERE, false)] {
                for mode in [vlan::KEEP, vlan::UNTAGGED, vlan::ONE_TAG, vlan::TWO_TAGS] {
                    rig.resolve_by(way.real(), egress(ifindex, mode), 1500);
                    for tags in ARRIVING {
                        check(&mut rig, &way, tags, mode, stays);
                    }
                }
            }
        }
    }
}

#[track_caller]
fn check(rig: &mut Rig, way: &Way, tags: [Option<Tag>; 2], mode: u8, stays: bool) {
    let what = format!("{way:?}: from {tags:?} to mode {mode}, back: {stays}");
    let fits = way.fits(1500);
    for packet in [
        way.established(),
        way.established().payload(777),
        way.established().filling(usize::from(fits)),
    ] {
        let packet = Packet { tags, ..packet };
        let out = Packet {
            tags: leaving(tags, mode, stays),
            ..way.there(packet)
        };
        let expect = if stays {
            Transmitted(out)
        } else {
            Redirected(out)
        };
        rig.check_one(LOOPBACK, &what, &packet, &expect);
    }
    // What is said to the sender goes back as its packet came.
    let packet = Packet {
        tags,
        ..way.established()
    };
    let expired = packet.ttl(1);
    rig.check_one(LOOPBACK, &what, &expired, &Answered(TIME_EXCEEDED));
    let long = packet.filling(usize::from(fits) + 1);
    let expect = Answered(fragmentation_needed(fits));
    rig.check_one(LOOPBACK, &what, &long, &expect);
}

/// A real's frame that leaves for the client by another interface loses its
/// tags.
#[test]
fn replies_by_another_interface() {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        for is_ipv6 in [false, true] {
            let mut way = Way::new(Method::Nat, is_ipv6, Protocol::Tcp);
            rig.clear();
            rig.serve(&way.service());
            way.connect(&mut rig);
            for tags in ARRIVING {
                let packet = Packet {
                    tags,
                    ..way.first_reply()
                };
                let out = Packet {
                    tags: [None; 2],
                    ..way.back(packet)
                };
                let what = format!("{way:?}: from {tags:?}");
                rig.check_one(wires.inside, &what, &packet, &Redirected(out));
            }
        }
    });
}

/// A client behind a VLAN interface: the frame leaves by the port under it.
#[test]
fn replies_by_a_vlan_interface() {
    if !modules::are_there(&["8021q"]) || !privilege::bpf() {
        return;
    }
    with_wires(|namespace, wires| {
        namespace
            .ip("link add link outside name outside.100 type vlan id 100\n\
                 link set outside.100 up\n\
                 address add 198.51.101.1/24 dev outside.100\n\
                 neighbour add 198.51.101.7 lladdr 02:00:00:00:00:77 nud permanent dev outside.100\n")
            .unwrap();
        let index = if_nametoindex("outside.100").unwrap();
        let mut rig = Rig::shared();
        let way = Way::new(Method::Nat, false, Protocol::Tcp);
        rig.serve(&way.service());
        let ports = HashMap::from([(index, egress(wires.outside, vlan::ONE_TAG))]);
        rig.reconciler.tables_mut().set_ports(&ports).unwrap();
        let client = Packet {
            ip: Header {
                source: v4(198, 51, 101, 7),
                ..way.first().ip
            },
            ..way.first()
        };
        rig.run(&client.frame());
        let plain = way.reply(client);
        for tags in ARRIVING {
            let reply = Packet { tags, ..plain };
            let out = Packet {
                tags: leaving(tags, vlan::ONE_TAG, false),
                ..way.back(reply)
            };
            let what = format!("from {tags:?}");
            rig.check_one(wires.inside, &what, &reply, &Redirected(out));
            rig.check_one(wires.outside, &what, &reply, &Transmitted(out));
        }
    });
}
