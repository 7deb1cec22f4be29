//! An independent judge, tshark, verifies the checksums of all packets of a
//! transfer by nat and by tun, on both sides of the director.

use lb_tests::capture::Capture;
use lb_tests::http;
use lb_tests::topology::{Method, Spec};

use crate::site::Site;

/// An incremental update that is off by one carry shows in about one of 65,536
/// packets' sums, a forgotten one in all.
fn right(method: Method, native: bool) {
    let Some(site) = Site::create(&Spec {
        method,
        native,
        reals: 1,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let client = &network.clients[0];
    let _daemon = site.start("rr", &[1]);
    let sent = http::random_file(network.directory(), "payload", 1 << 20).unwrap();
    site.servers[0].publish("payload", &sent).unwrap();
    // At the switch: what the client gets, and what the real gets.
    let mut captures = ["client1", "real1"]
        .map(|port| Capture::start(&network.switch, port, "ip", network.directory()).unwrap());

    let received = network.directory().join("received");
    let mut download =
        http::download(client, &network.url("files/payload"), &received, None).unwrap();
    download.wait_success(http::TRANSFER_LIMIT).unwrap();
    let url = network.url("upload/payload");
    let mut upload = http::upload(client, &sent, &url, None).unwrap();
    upload.wait_success(http::TRANSFER_LIMIT).unwrap();

    for capture in &mut captures {
        // 1 MiB each way is as many full segments.
        let good = "ip.checksum.status == 1 && tcp.checksum.status == 1";
        capture.wait_for(good, 1400).unwrap();
        capture.stop().unwrap();
        // What an ICMP error quotes is cut short, and its TCP checksum with it.
        let bad = "ip.checksum.status == 0 || icmp.checksum.status == 0 \
                   || (tcp.checksum.status == 0 && !tcp.checksum.ffff && !icmp) || tcp.flags.reset == 1";
        let bad = capture.packets(bad).unwrap();
        assert!(bad.is_empty(), "{bad:#?}");
    }
    let too_big = "icmp.type == 3 && icmp.code == 4";
    let told = captures[0].packets(too_big).unwrap();
    assert_eq!(told.is_empty(), method == Method::Nat, "{told:#?}");
}

#[test]
fn nat_native() {
    right(Method::Nat, true);
}

#[test]
fn tun_native() {
    right(Method::Tun, true);
}
