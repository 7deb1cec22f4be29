//! A bond as the director's arm towards the clients: its driver runs the program
//! natively, on the ports, and sends by one of them what the program redirects to it.

use lb_tests::xdp_pass::XdpPass;

use crate::arm;
use crate::pair::{self, Pair};
use lb_tests::modules;

/// Two wires to the switch and a bond of them on the director's side, in place of eth0.
fn bonded(mode: &str) -> Pair {
    let pair = Pair::create();
    let network = &pair.network;
    arm::remove(network, &["eth0"]);
    network
        .director
        .ip(&format!(
            "link add bond0 type bond mode {mode} miimon 100\n"
        ))
        .unwrap();
    for wire in ["1", "2"] {
        arm::wire(
            network,
            &format!("port{wire}"),
            &format!("director0.{wire}"),
        );
        network
            .director
            .ip(&format!("link set port{wire} master bond0\n"))
            .unwrap();
    }
    arm::address(network, "bond0", 1);
    pair
}

/// Also after the active port has gone; and a bond of devices whose drivers know no XDP
/// gets the program in generic mode, which is said.
#[test]
fn active_backup() {
    if !modules::are_there(&["bonding", "dummy"]) {
        return;
    }
    let pair = bonded("active-backup");
    let (director, switch) = (&pair.network.director, &pair.network.switch);
    let ports = ["director0.1", "director0.2", "director1"];
    for port in &ports[..2] {
        switch
            .ip(&format!("link set {port} master front up\n"))
            .unwrap();
    }
    let _passes = ports.map(|port| XdpPass::attach(switch, port).unwrap());
    director
        .ip("link add blunt type dummy\n\
             link add bond1 type bond mode active-backup\n\
             link set blunt master bond1\n\
             link set bond1 up\n")
        .unwrap();
    let daemon = pair.start(&["bond0", "eth1", "bond1"], "auto");
    assert_eq!(pair::mode(&daemon, "bond0"), "native");
    pair::expect_generic(&daemon, "bond1");
    pair.expect_both(&daemon);
    director.ip("link set port1 down\n").unwrap();
    pair.expect_both(&daemon);
}

/// A static group, which the switch has a bond for as well.
#[test]
fn balance_xor() {
    if !modules::are_there(&["bonding"]) {
        return;
    }
    let pair = bonded("balance-xor");
    let switch = &pair.network.switch;
    switch
        .ip("link add bond0 type bond mode balance-xor miimon 100\n\
             link set director0.1 master bond0\n\
             link set director0.2 master bond0\n\
             link set bond0 master front up\n")
        .unwrap();
    let _passes = ["bond0", "director1"].map(|port| XdpPass::attach(switch, port).unwrap());
    let daemon = pair.start(&["bond0", "eth1"], "auto");
    assert_eq!(pair::mode(&daemon, "bond0"), "native");
    pair.expect_both(&daemon);
}
