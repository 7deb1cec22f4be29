//! 100 MB up and 100 MB down arrive intact, by each method and in each mode.

use std::fs;

use lb_tests::http;
use lb_tests::topology::{Method, Spec};

use crate::site::{Site, json};

const BYTES: u64 = 100 << 20;

/// A wrong checksum, a lost or a cut segment shows as a transfer that fails or
/// takes too long, or as another digest. By tun full segments of the upload do
/// not fit the tunnel: without "fragmentation needed" the upload hangs.
fn intact(method: Method, native: bool) {
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
    let daemon = site.start("rr", &[1]);
    let sent = http::random_file(network.directory(), "payload", BYTES).unwrap();
    site.servers[0].publish("payload", &sent).unwrap();
    let digest = http::sha256(&sent).unwrap();

    let received = network.directory().join("received");
    let mut download =
        http::download(client, &network.url("files/payload"), &received, None).unwrap();
    download.wait_success(http::TRANSFER_LIMIT).unwrap();
    assert_eq!(http::sha256(&received).unwrap(), digest);
    fs::remove_file(received).unwrap();

    let mut upload = http::upload(client, &sent, &network.url("upload/payload"), None).unwrap();
    upload.wait_success(http::TRANSFER_LIMIT).unwrap();
    assert_eq!(
        http::sha256(&site.servers[0].uploaded("payload")).unwrap(),
        digest
    );

    let drops = json(&daemon, &["status"])["drops"].clone();
    let answered = drops["fragmentation_needed"].as_u64().unwrap_or(0);
    assert_eq!(answered > 0, method == Method::Tun, "{drops}");
    if method == Method::Tun {
        // 1500 less the outer header: the client has learned it.
        let route = ["route", "get", &network.vip().to_string()];
        let route = client.run("ip", &route).unwrap();
        assert!(route.contains("mtu 1480"), "{route}");
    }
}

#[test]
fn dr_generic() {
    intact(Method::Dr, false);
}

#[test]
fn dr_native() {
    intact(Method::Dr, true);
}

#[test]
fn nat_generic() {
    intact(Method::Nat, false);
}

#[test]
fn nat_native() {
    intact(Method::Nat, true);
}

#[test]
fn tun_generic() {
    intact(Method::Tun, false);
}

#[test]
fn tun_native() {
    intact(Method::Tun, true);
}
