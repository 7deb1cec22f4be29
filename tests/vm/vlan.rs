//! A director on a trunk: clients and reals in different VLANs of one port. The switch
//! takes the tags off, so that nobody but the director sees them.

use lb_tests::xdp_pass::XdpPass;

use crate::arm;
use crate::pair::{self, Pair};
use lb_tests::modules;

/// Makes the trunk: VLAN 10 is the clients', VLAN 20 the reals'. `lower` is the device
/// on both sides that the VLANs are on, `eth0` and `trunk` or VLANs on them.
fn split(pair: &Pair, director_lower: &str, switch_lower: &str) {
    let network = &pair.network;
    for (number, tag, bridge) in [(1, 10, "front"), (2, 20, "back")] {
        network
            .switch
            .ip(&format!(
                "link add link {switch_lower} name port.{tag} type vlan id {tag}\n\
                 link set port.{tag} master {bridge} up\n"
            ))
            .unwrap();
        let device = format!("vlan.{tag}");
        network
            .director
            .ip(&format!(
                "link add link {director_lower} name {device} type vlan id {tag}\n"
            ))
            .unwrap();
        arm::address(network, &device, number);
    }
}

/// The trunk's wire.
fn trunk() -> Pair {
    let pair = Pair::create();
    arm::remove(&pair.network, &["eth0", "eth1"]);
    arm::wire(&pair.network, "eth0", "trunk");
    pair.network.director.ip("link set eth0 up\n").unwrap();
    pair.network.switch.ip("link set trunk up\n").unwrap();
    pair
}

/// A frame with the tag of the VLAN that it came from, or with none, comes to nobody:
/// requests without an answer.
fn serves(pair: &Pair) {
    let _pass = XdpPass::attach(&pair.network.switch, "trunk").unwrap();
    let daemon = pair.start(&["eth0"], "native");
    assert_eq!(pair::mode(&daemon, "eth0"), "native");
    pair.expect_both(&daemon);
}

#[test]
fn one_tag() {
    if !modules::are_there(&["8021q"]) {
        return;
    }
    let pair = trunk();
    split(&pair, "eth0", "trunk");
    serves(&pair);
}

#[test]
fn two_tags() {
    if !modules::are_there(&["8021q"]) {
        return;
    }
    let pair = trunk();
    let outer = |lower| {
        format!(
            "link add link {lower} name outer type vlan protocol 802.1ad id 100\nlink set outer up\n"
        )
    };
    pair.network.director.ip(&outer("eth0")).unwrap();
    pair.network.switch.ip(&outer("trunk")).unwrap();
    split(&pair, "outer", "outer");
    serves(&pair);
}
