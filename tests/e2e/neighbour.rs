//! The director forgets its reals' link-layer addresses in the middle of a
//! transfer, and nobody notices.

use lb_tests::capture::Capture;
use lb_tests::conversation::Conversation;
use lb_tests::topology::{Method, PORT, Spec};
use lb_tests::trickle::{self, Trickle};

use crate::site::Site;

/// The packets of a connection whose next hop is unknown for a moment must not
/// reach the director's own stack, which has the VIP and no such connection: it
/// would answer with RST, seen on the wire, and the download would end.
fn forgotten(method: Method, native: bool) {
    let Some(site) = Site::create(&Spec {
        method,
        native,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let (client, director) = (&network.clients[0], &network.director);
    trickle::publish(network, &site.servers).unwrap();
    let daemon = site.start("rr", &[1, 1]);
    let resets = "tcp[tcpflags] & tcp-rst != 0";
    let mut capture = Capture::start(client, "eth0", resets, network.directory()).unwrap();

    let download = Trickle::start(network, client).unwrap();
    download.check().unwrap();
    for real in &network.reals {
        let address = real.address();
        director
            .ip(&format!("neighbour delete {address} dev eth1\n"))
            .unwrap();
    }
    download.check().unwrap();
    for _ in 0..3 {
        for device in ["eth0", "eth1"] {
            director
                .ip(&format!("neighbour flush dev {device}\n"))
                .unwrap();
        }
        download.check().unwrap();
    }
    site.expect(&[2, 2]);
    download.finish().unwrap();
    let unreachable = daemon.log().contains("cannot be reached");
    assert!(!unreachable, "{}", daemon.log());

    // A reset that there must be shows that the capture would have seen others:
    // nobody listens on that port.
    let closed = Conversation::open(client, director.address(), PORT);
    assert!(closed.is_err());
    capture.wait_for("tcp.flags.reset == 1", 1).unwrap();
    capture.stop().unwrap();
    let seen = capture.packets("tcp.flags.reset == 1").unwrap();
    assert_eq!(seen.len(), 1, "{seen:#?}");
}

#[test]
fn dr() {
    forgotten(Method::Dr, true);
}

#[test]
fn nat() {
    forgotten(Method::Nat, true);
}

#[test]
fn nat_generic() {
    forgotten(Method::Nat, false);
}

#[test]
fn tun() {
    forgotten(Method::Tun, true);
}
