use super::*;
use crate::config::{
    mark,
    model::{MarkRule, Protocol, Scheduler, Service},
};

fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

fn list(addresses: &[&str]) -> Vec<IpAddr> {
    set(addresses).into_iter().collect()
}

#[test]
fn what_is_missing_is_added_and_only_lbds_own_goes() {
    let wanted = set(&["192.0.2.10", "192.0.2.11", "2001:db8::10"]);
    let present = set(&["127.0.0.1", "192.0.2.11", "192.0.2.12", "192.0.2.13"]);
    // 11 was there before; 13 and 14 are over, and 14 has gone by itself.
    let owned = set(&["2001:db8::10", "192.0.2.13", "192.0.2.14"]);
    let expected = Plan {
        add: list(&["192.0.2.10", "2001:db8::10"]),
        remove: list(&["192.0.2.13"]),
        forget: list(&["192.0.2.14"]),
    };
    assert_eq!(Plan::new(&wanted, &present, &owned), expected);
}

#[test]
fn nothing_is_to_be_done_twice() {
    let wanted = set(&["192.0.2.10"]);
    let present = set(&["127.0.0.1", "192.0.2.10"]);
    for owned in [set(&[]), wanted.clone()] {
        assert_eq!(Plan::new(&wanted, &present, &owned), Plan::default());
    }
}

#[test]
fn marks_stand_for_single_addresses() {
    let service = |id: &str| Service::new(id.parse().unwrap(), Scheduler::Rr);
    let rule = |mark, to: &str| MarkRule {
        mark,
        protocol: Protocol::Tcp,
        destination: mark::destination(to).unwrap(),
        ports: Vec::new(),
    };
    let services = [
        service("tcp:192.0.2.10:80"),
        service("udp:192.0.2.10:53"),
        service("tcp:[2001:db8::10]:80"),
        service("fwmark:1"),
        service("fwmark6:2"),
    ];
    let marks = [
        rule(1, "192.0.2.20"),
        rule(1, "192.0.2.64/26"),
        // Of the other family, and of no service.
        rule(1, "2001:db8::20"),
        rule(3, "192.0.2.30"),
        rule(2, "2001:db8::30/128"),
    ];
    let (desired, _) = Desired::merge(&services, &marks, &Desired::default(), true);
    let expected = set(&["192.0.2.10", "2001:db8::10", "192.0.2.20", "2001:db8::30"]);
    assert_eq!(virtual_addresses(&desired, &BTreeSet::new()), expected);
}

/// An address that is added for a deleted service, or not kept for one that has
/// connections, shows.
#[test]
fn what_deleted_services_need_stays_if_it_is_lbds() {
    let services = [Service::new(
        "tcp:192.0.2.10:80".parse().unwrap(),
        Scheduler::Rr,
    )];
    let (desired, _) = Desired::merge(&services, &[], &Desired::default(), true);
    let ids = ["tcp:192.0.2.20:80", "tcp:192.0.2.30:80"].map(|id| id.parse().unwrap());
    let owned = set(&["192.0.2.20", "192.0.2.40"]);
    assert_eq!(
        with_lingering(&desired, &BTreeSet::from(ids), &owned),
        set(&["192.0.2.10", "192.0.2.20"])
    );
    assert_eq!(
        with_lingering(&desired, &BTreeSet::new(), &owned),
        set(&["192.0.2.10"])
    );
}

#[test]
fn problems_of_one_kind_are_one_line() {
    let mut problems = Problems::default();
    for address in ["192.0.2.10", "192.0.2.11", "192.0.2.12"] {
        let none = NetError::NoAnswer {
            doing: "add an address",
        };
        problems.note("added to", "lo", Some(address.parse().unwrap()), &none);
    }
    assert_eq!(
        problems.into_lines(),
        [
            "virtual address 192.0.2.10 and 2 more cannot be added to lo: netlink: cannot add an address: no answer"
        ]
    );
}

#[test]
fn all_interfaces_hear_of_an_address_that_is_on_none_of_them() {
    let link = |index: u32, name: &str| Link {
        index,
        name: name.into(),
        mac: Some([2, 0, 0, 0, 0, index as u8]),
        up: true,
        running: true,
        ..Link::default()
    };
    let lo = Link {
        mac: None,
        ..link(1, "lo")
    };
    let down = Link {
        running: false,
        ..link(4, "eth2")
    };
    let links: Links = [lo, link(2, "eth0"), link(3, "eth1"), down, link(5, "eth3")]
        .into_iter()
        .collect();
    let indices = |vip_interface: &str| {
        let director = model::Director {
            interfaces: ["eth0", "eth1", "eth2"].map(String::from).into(),
            vip_interface: vip_interface.into(),
            xdp_mode: model::XdpMode::Auto,
            pin_dir: "/".into(),
            state_dir: "/".into(),
            socket: "/".into(),
            socket_group: None,
            manage_addresses: true,
            detach_on_exit: false,
        };
        let ports = ports(&director, &links).into_iter();
        ports.map(|port| port.index).collect::<Vec<_>>()
    };
    assert_eq!(indices("lo"), [2, 3]);
    assert_eq!(indices("eth3"), [2, 3]);
    assert_eq!(indices("eth1"), [3]);
    assert!(indices("eth2").is_empty());
}
