//! Bridges as the director's arms. Their driver knows no XDP, so that the program runs
//! in generic mode, which is said. Both arms are bridges: what comes in natively could
//! not leave by one.

use crate::arm;
use crate::pair::{self, Pair};
use lb_tests::modules;

#[test]
fn two_bridges() {
    if !modules::are_there(&[]) {
        return;
    }
    let pair = Pair::create();
    let network = &pair.network;
    arm::remove(network, &["eth0", "eth1"]);
    for (number, bridge) in [(1, "front"), (2, "back")] {
        let (port, far_end) = (format!("port{number}"), format!("far{number}"));
        arm::wire(network, &port, &far_end);
        network
            .switch
            .ip(&format!("link set {far_end} master {bridge} up\n"))
            .unwrap();
        let device = format!("br{number}");
        network
            .director
            .ip(&format!(
                "link add {device} type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n\
                 link set {port} master {device} up\n"
            ))
            .unwrap();
        arm::address(network, &device, number);
    }
    let daemon = pair.start(&["br1", "br2"], "auto");
    for device in ["br1", "br2"] {
        pair::expect_generic(&daemon, device);
    }
    pair.expect_both(&daemon);
}
