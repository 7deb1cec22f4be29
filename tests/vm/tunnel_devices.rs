//! A tun real that unwraps with the kernel's own devices: what the program wraps is
//! what Linux takes, of every kind, either family in either, with checksums too.

use lb_tests::daemon::{self, Binaries, Daemon};
use lb_tests::http;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Host, Method, PORT, Spec, Topology};

use lb_tests::modules;

/// A kind of tunnel: the real's line, and the device for it, if it is one that has to
/// be made for this very kind. A gre device takes packets with a checksum only if it
/// is told to, and then no others (`ip_tunnel_rcv` in net/ipv4/ip_tunnel.c).
const KINDS: [(&str, Option<&str>); 5] = [
    (r#"tunnel = { type = "ipip" }"#, None),
    (r#"tunnel = { type = "gue" }"#, None),
    (r#"tunnel = { type = "gue", checksum = true }"#, None),
    (r#"tunnel = { type = "gre" }"#, Some("noicsum")),
    (
        r#"tunnel = { type = "gre", checksum = true }"#,
        Some("icsum"),
    ),
];

/// What the real's sums of an upload are compared over.
const BYTES: u64 = 200_000;

/// The devices that stay: plain ones, which also take what comes out of GUE.
fn prepare(real: &Host, outer: Family) {
    // The kernel loads the others when a device is made.
    let fou = match outer {
        Family::V4 => "fou",
        Family::V6 => "fou6",
    };
    real.run("modprobe", &[fou]).unwrap();
    let ends = ends(real, outer);
    let devices = match outer {
        Family::V4 => format!(
            "link add inner4 type ipip {ends}\n\
             link set inner4 up\n\
             link add inner6 type sit {ends}\n\
             link set inner6 up\n\
             fou add port 6080 gue\n"
        ),
        Family::V6 => format!(
            "link add inner type ip6tnl mode any {ends} encaplimit none\n\
             link set inner up\n"
        ),
    };
    real.ip(&devices).unwrap();
    if outer == Family::V6 {
        real.run("ip", &["-6", "fou", "add", "port", "6080", "gue"])
            .unwrap();
    }
}

/// The gre device for packets with a checksum, or without.
fn prepare_gre(real: &Host, outer: Family, checksum: &str) {
    let kind = match outer {
        Family::V4 => "gre",
        Family::V6 => "ip6gre",
    };
    let _ = real.run("ip", &["link", "delete", "wrapped"]);
    let ends = ends(real, outer);
    real.ip(&format!(
        "link add wrapped type {kind} {ends} {checksum}\nlink set wrapped up\n"
    ))
    .unwrap();
}

/// The director's address and the real's.
fn ends(real: &Host, outer: Family) -> String {
    let director = match outer {
        Family::V4 => "10.0.2.1",
        Family::V6 => "2001:db8:2::1",
    };
    format!("local {} remote {director}", real.address_in(outer))
}

/// Requests of both families, by each kind. A header that Linux does not take shows as
/// a request without an answer; a length that is wrong as an upload that never ends.
fn each_kind(outer: Family) {
    let modules = match outer {
        Family::V4 => ["ipip", "sit", "ip_gre", "fou"],
        Family::V6 => ["ip6_tunnel", "ip6_gre", "fou", "fou6"],
    };
    if !modules::are_there(&modules) {
        return;
    }
    let network = Topology::create(&Spec {
        method: Method::Tun,
        native: true,
        reals: 1,
        ..Spec::default()
    })
    .unwrap();
    let servers = network.start_web_servers().unwrap();
    let (real, client) = (&network.reals[0], &network.clients[0]);
    prepare(real, outer);
    let config = |line: &str| {
        let services: String = Family::BOTH
            .iter()
            .map(|&inner| {
                let (name, vip) = (format!("web{inner:?}"), network.vip_in(inner));
                let service = Service::new(&name, "tcp", vip, PORT, "tun");
                service.real(real.address_in(outer), line).to_string()
            })
            .collect();
        daemon::configuration(&network, &services).unwrap()
    };
    let binaries = Binaries::locate().unwrap();
    let mut daemon = Daemon::start(&network, &binaries, &config(KINDS[0].0)).unwrap();
    let file = http::random_file(network.directory(), "payload", BYTES).unwrap();
    let sent = http::sha256(&file).unwrap();
    for (line, checksum) in KINDS {
        if let Some(checksum) = checksum {
            prepare_gre(real, outer, checksum);
        }
        daemon.reload(&config(line)).unwrap();
        client.forget_path_mtus().unwrap();
        for inner in Family::BOTH {
            let what = || format!("{line}, {inner:?} in {outer:?}");
            let page = http::get(client, &network.url_in(inner, ""));
            let page = page.unwrap_or_else(|error| panic!("{}: {error:#}", what()));
            assert_eq!(page, "real1");
            let url = network.url_in(inner, "upload/payload");
            let mut upload = http::upload(client, &file, &url, None).unwrap();
            upload
                .wait_success(http::TRANSFER_LIMIT)
                .unwrap_or_else(|error| panic!("{}: {error:#}", what()));
            let received = http::sha256(&servers[0].uploaded("payload")).unwrap();
            assert_eq!(received, sent, "{}", what());
        }
    }
}

#[test]
fn by_ipv4() {
    each_kind(Family::V4);
}

#[test]
fn by_ipv6() {
    each_kind(Family::V6);
}
