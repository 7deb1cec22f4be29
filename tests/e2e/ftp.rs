//! Passive FTP: the control port and the passive ports under one firewall
//! mark, with persistence, so that both connections of a session go to one real.

use std::fs;

use lb_tests::daemon;
use lb_tests::ftpserver::{CONTROL_PORT, FtpServer, INCOMING, PASSIVE_PORTS};
use lb_tests::http;
use lb_tests::process;
use lb_tests::service::{self, Service};
use lb_tests::topology::{Family, Host, Method, Spec};

use crate::site::{Site, json};

const BYTES: u64 = 3 << 20;

/// How a client asks for a data connection.
#[derive(Debug, Clone, Copy)]
enum Passive {
    /// EPSV (RFC 2428): the answer is a port.
    Port,
    /// PASV (RFC 959): the answer is an address, too, which the client goes by.
    Address,
}

impl Passive {
    /// curl's options, which `--next` forgets.
    fn options(self) -> Vec<&'static str> {
        let mut options = vec!["--silent", "--show-error", "--noproxy", "*"];
        options.extend(["--max-time", "20", "--ftp-pasv"]);
        if let Self::Address = self {
            options.extend(["--disable-epsv", "--no-ftp-skip-pasv-ip"]);
        }
        options
    }
}

/// A data connection to another real than the control connection's shows as one that
/// is refused, one that goes past the director as counts that are too low.
fn passive(method: Method) {
    let Some(site) = Site::create(&Spec {
        method,
        native: true,
        clients: 4,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let start = |family| {
        let serve = |real: &Host| {
            let address = match method {
                Method::Nat => real.address_in(family),
                Method::Dr | Method::Tun => network.vip_in(family),
            };
            FtpServer::start(real, address, network.vip(), network.directory()).unwrap()
        };
        network.reals.iter().map(serve).collect::<Vec<_>>()
    };
    let (servers, servers_v6) = (start(Family::V4), start(Family::V6));
    let payload = http::random_file(network.directory(), "payload", BYTES).unwrap();
    for server in servers.iter().chain(&servers_v6) {
        server.publish("payload", &payload).unwrap();
    }
    let (first, last) = (PASSIVE_PORTS.start(), PASSIVE_PORTS.end());
    let ports = format!("{CONTROL_PORT}, \"{first}-{last}\"");
    let mut tables = String::new();
    for (name, family, mark) in [("ftp", Family::V4, 21), ("ftp6", Family::V6, 22)] {
        tables += &service::firewall_mark(mark, network.vip_in(family), &ports);
        tables += &Service::marked(name, mark, family, method.name())
            .with("persistence = { timeout = \"300s\" }")
            .reals(&network.reals, family, method)
            .to_string();
    }
    let config = daemon::configuration(network, &tables).unwrap();
    let daemon = site.start_with(&config);

    let mut sessions = 0;
    let bytes = fs::read(&payload).unwrap();
    for round in 0..3 {
        for (number, client) in network.clients.iter().enumerate() {
            let real = number % 2;
            let passive = [Passive::Port, Passive::Address][round % 2];
            let name = format!("{}-{round}", client.name());
            download_and_upload(&site, Family::V4, client, passive, &name);
            assert!(fs::read(servers[real].uploaded(&name)).unwrap() == bytes);
            sessions += 1;
        }
    }
    for client in &network.clients {
        let name = format!("{}-lftp", client.name());
        session_of_lftp(&site, client, &name);
        let places = servers.iter().map(|server| server.uploaded(&name));
        let uploaded: Vec<_> = places.filter_map(|place| fs::read(place).ok()).collect();
        assert!(uploaded == [bytes.clone()], "{name}");
        sessions += 1;
    }
    // Each session: one control connection, a download and an upload.
    let per_real = sessions / 2;
    let reals = json(&daemon, &["list"])[0]["reals"].clone();
    for (number, server) in servers.iter().enumerate() {
        let control = server.logged(&["CONNECT: Client \"10.0.1."]);
        let data = ["OK DOWNLOAD", "OK UPLOAD"].map(|what| server.logged(&[what]));
        assert_eq!(
            (control, data),
            (per_real, [per_real; 2]),
            "real{}",
            number + 1
        );
        let connections = reals[number]["stats"]["connections"].clone();
        assert_eq!(connections, 3 * per_real, "{reals}");
    }

    for client in &network.clients {
        let name = format!("{}-v6", client.name());
        download_and_upload(&site, Family::V6, client, Passive::Port, &name);
    }
    for server in &servers_v6 {
        let clients = server.logged(&["OK UPLOAD", "\"2001:db8:1::"]);
        assert_eq!(clients, network.clients.len() / 2);
    }
}

#[test]
fn passive_dr() {
    passive(Method::Dr);
}

#[test]
fn passive_nat() {
    passive(Method::Nat);
}

/// One session of curl's: the file comes down and goes up as `name`.
#[track_caller]
fn download_and_upload(site: &Site, family: Family, client: &Host, passive: Passive, name: &str) {
    let network = &site.network;
    let (payload, received) = (
        network.directory().join("payload"),
        network.directory().join(format!("{name}-received")),
    );
    let vip = match family {
        Family::V4 => network.vip_in(family).to_string(),
        Family::V6 => format!("[{}]", network.vip_in(family)),
    };
    let mut command = client.command("curl");
    command.arg("--disable").args(passive.options());
    command.arg("--output").arg(&received);
    command.arg(format!("ftp://{vip}/payload"));
    command.arg("--next").args(passive.options());
    command.arg("--upload-file").arg(&payload);
    command.arg(format!("ftp://{vip}/{INCOMING}/{name}"));
    process::output(&mut command).unwrap();
    assert!(
        fs::read(received).unwrap() == fs::read(payload).unwrap(),
        "{name}"
    );
}

/// The same of lftp's, which goes by the address in the answer to PASV.
#[track_caller]
fn session_of_lftp(site: &Site, client: &Host, name: &str) {
    let network = &site.network;
    let directory = network.directory();
    let (payload, received) = (
        directory.join("payload"),
        directory.join(format!("{name}-received")),
    );
    let script = format!(
        "set net:max-retries 1; set net:timeout 10; set cmd:fail-exit yes; \
         set ftp:passive-mode yes; set ftp:prefer-epsv no; set ftp:ssl-allow no; \
         set ftp:fix-pasv-address no; set ftp:sync-mode yes; \
         open {}; get payload -o {}; put {} -o {INCOMING}/{name}; bye",
        network.vip(),
        received.display(),
        payload.display(),
    );
    let mut command = client.command("lftp");
    command
        .args(["--norc", "-c", &script])
        .env("HOME", directory);
    process::output(&mut command).unwrap();
    assert!(
        fs::read(received).unwrap() == fs::read(payload).unwrap(),
        "{name}"
    );
}
