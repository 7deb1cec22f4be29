//! Every kind of tunnel, of either family in either, to `lbd decap` on the real.

use std::collections::BTreeSet;

use lb_tests::capture::Capture;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Method, PORT, Spec, TUNNEL_SOURCES};

use crate::site::{Site, drops};

const BYTES: u64 = 2 << 20;

/// A kind of tunnel: the real's line, and the bytes beside the outer IP header.
pub const KINDS: [(&str, usize); 5] = [
    (r#"tunnel = { type = "ipip" }"#, 0),
    (r#"tunnel = { type = "gue" }"#, 8 + 4),
    (
        r#"tunnel = { type = "gue", port = 6081, checksum = true }"#,
        8 + 4,
    ),
    (r#"tunnel = { type = "gre" }"#, 4),
    (r#"tunnel = { type = "gre", checksum = true }"#, 4 + 4),
];

/// What tshark must see of them between director and real, each packet with right
/// checksums where it has some. A GUE packet's source port is of the dynamic ones.
fn seen(kind: usize, service: Family, real: Family) -> String {
    let outer = match real {
        Family::V4 => "ip.proto",
        Family::V6 => "ipv6.nxt",
    };
    let protocol = match service {
        Family::V4 => 4,
        Family::V6 => 41,
    };
    let ether_type = match service {
        Family::V4 => "0x0800",
        Family::V6 => "0x86dd",
    };
    let inner = format!("{outer} == {protocol}");
    match kind {
        0 => inner,
        1 => format!(
            "udp.dstport == 6080 && udp.checksum == 0 && udp.srcport >= 49152 \
                      && udp.payload[0:4] == 00:{protocol:02x}:00:00"
        ),
        2 => format!(
            "udp.dstport == 6081 && udp.checksum.status == 1 && udp.srcport >= 49152 \
                      && udp.payload[0:4] == 00:{protocol:02x}:00:00"
        ),
        3 => format!("gre.proto == {ether_type} && gre.flags_and_version == 0"),
        _ => format!("gre.proto == {ether_type} && gre.checksum.status == 1"),
    }
}

/// A tunnel header that the decapsulator does not know, a length in it that is wrong,
/// or an inner packet that was touched shows as a transfer that does not end; a kind
/// that is not the one that was asked for as a capture without it.
fn each_kind(service: Family, real: Family) {
    let Some(site) = Site::create(&Spec {
        method: Method::Tun,
        native: true,
        reals: 1,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let file = site.payload(BYTES);
    let config = |line: &str| {
        let web = Service::new("web", "tcp", network.vip_in(service), PORT, "tun");
        site.configuration(&[web.real(network.reals[0].address_in(real), line)])
    };
    let mut daemon = site.start_with(&config(KINDS[0].0));
    for (kind, (line, overhead)) in KINDS.iter().enumerate() {
        daemon.reload(&config(line)).unwrap();
        network.clients[0].forget_path_mtus().unwrap();
        let answered = drops(&daemon, "fragmentation_needed");
        let [mut client, mut wire, mut real_side] = [
            (&network.switch, "client1"),
            (&network.switch, "real1"),
            (&*network.reals[0], "eth0"),
        ]
        .map(|(host, device)| Capture::start(host, device, "", network.directory()).unwrap());
        site.transfer(service, &file);

        for capture in [&mut client, &mut wire, &mut real_side] {
            capture.stop().unwrap();
            let wrong = capture.wrong().unwrap();
            assert!(wrong.is_empty(), "{line}: {wrong:#?}");
        }
        let packets = wire.packets(&seen(kind, service, real)).unwrap();
        // An upload of 2 MiB has more than 1400 full segments.
        assert!(packets.len() > 1400, "{line}: {} packets", packets.len());
        // As the real's stack gets them, and nothing but them.
        let unwrapped = real_side.packets("tcp.dstport == 80 && tcp.checksum.status == 1");
        assert!(unwrapped.unwrap().len() > 1400, "{line}");
        let mtu = (1500 - real.header_bytes() - overhead).to_string();
        let field = match service {
            Family::V4 => "icmp.mtu",
            Family::V6 => "icmpv6.mtu",
        };
        let told = client.field(field, field).unwrap();
        assert!(
            !told.is_empty() && told.iter().all(|told| *told == mtu),
            "{line}: {told:?}"
        );
        assert!(drops(&daemon, "fragmentation_needed") > answered);
    }
}

#[test]
fn v4_in_v4() {
    each_kind(Family::V4, Family::V4);
}

#[test]
fn v6_in_v6() {
    each_kind(Family::V6, Family::V6);
}

#[test]
fn v4_in_v6() {
    each_kind(Family::V4, Family::V6);
}

#[test]
fn v6_in_v4() {
    each_kind(Family::V6, Family::V4);
}

/// Reals of both families and of all kinds behind one service take their turns.
#[test]
fn mixed_behind_one_service() {
    let Some(site) = Site::create(&Spec {
        method: Method::Tun,
        native: true,
        reals: 5,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let services = Family::BOTH.map(|family| {
        let name = format!("{family:?}").to_lowercase();
        let web = Service::new(&name, "tcp", network.vip_in(family), PORT, "tun");
        let families = Family::BOTH.iter().cycle();
        let reals = network.reals.iter().zip(families).zip(KINDS);
        reals.fold(web, |web, ((real, &family), (line, _))| {
            web.real(real.address_in(family), line)
        })
    });
    let _daemon = site.start_services(&services);
    for family in Family::BOTH {
        site.expect_in(family, &[4; 5]);
    }
}

/// With `tunnel_sources` each connection has a sender of its own, by which the real's
/// network card spreads them over its queues, and keeps it.
#[test]
fn spread_by_sender() {
    const CONNECTIONS: usize = 20;
    let Some(site) = Site::create(&Spec {
        method: Method::Tun,
        native: true,
        reals: 1,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let config = site
        .configuration(&Family::BOTH.map(|family| site.web(family)))
        .replace(
            "[options]",
            &format!("[options]\ntunnel_sources = {TUNNEL_SOURCES:?}"),
        );
    let _daemon = site.start_with(&config);
    for (family, tunnel, source, start) in [
        (Family::V4, "ip.proto == 4", "ip.src", "100.64."),
        (Family::V6, "ipv6.nxt == 41", "ipv6.src", "2001:db8:f::"),
    ] {
        let mut wire = Capture::start(&network.switch, "real1", "", network.directory()).unwrap();
        site.expect_in(family, &[CONNECTIONS]);
        let last = format!("{tunnel} && tcp.flags.fin == 1");
        wire.wait_for(&last, CONNECTIONS).unwrap();
        wire.stop().unwrap();
        let senders = wire.field(source, &last).unwrap();
        assert!(
            senders.iter().all(|sender| sender.starts_with(start)),
            "{senders:?}"
        );
        let of_all: BTreeSet<_> = wire.field(source, tunnel).unwrap().into_iter().collect();
        let of_ends: BTreeSet<_> = senders.into_iter().collect();
        assert_eq!(of_all, of_ends);
        assert!(of_all.len() > CONNECTIONS / 2, "{of_all:?}");
    }
}
