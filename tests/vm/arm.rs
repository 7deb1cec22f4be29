//! Replacing the director's arms: other devices between it and the switch, with the
//! addresses that its eth0 and eth1 have by default.

use lb_tests::namespace::Namespace;
use lb_tests::topology::Topology;

/// Takes the arms away, with their addresses.
pub fn remove(network: &Topology, devices: &[&str]) {
    for device in devices {
        network
            .director
            .ip(&format!("link delete {device}\n"))
            .unwrap();
    }
}

/// A pair of veths, each of which puts on the wire what a wire would carry: checksums
/// and tags in the frame, segments of the MTU.
pub fn wire(network: &Topology, device: &str, port: &str) {
    let (director, switch) = (&network.director, &network.switch);
    director
        .ip(&format!(
            "link add {device} type veth peer name {port} netns {}\n",
            switch.name()
        ))
        .unwrap();
    let ends: [(&Namespace, &str); 2] = [(director, device), (switch, port)];
    for (namespace, end) in ends {
        let features = ["tx", "off", "gro", "off", "txvlan", "off", "rxvlan", "off"];
        let features = [&["-K", end], &features[..]].concat();
        namespace.run("ethtool", &features).unwrap();
        // txvlan is of 802.1Q alone.
        let _ = namespace.run("ethtool", &["-K", end, "tx-vlan-stag-hw-insert", "off"]);
    }
}

/// The addresses of the arm towards the clients (network 1) or the reals (2).
pub fn address(network: &Topology, device: &str, number: u8) {
    network
        .director
        .ip(&format!(
            "link set {device} up\n\
             address add 10.0.{number}.1/24 dev {device}\n\
             address add 2001:db8:{number}::1/64 dev {device} nodad\n"
        ))
        .unwrap();
}
