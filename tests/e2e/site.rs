//! Where most tests begin: a network with web servers on its reals, and lbd to
//! be started on its director.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use lb_tests::daemon::{self, Binaries, Daemon};
use lb_tests::http::{self, Tally};
use lb_tests::privilege;
use lb_tests::process;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Method, PORT, Spec, Topology};
use lb_tests::wait;
use lb_tests::webserver::WebServer;
use serde_json::Value;

/// The network; fields are dropped in order, servers first.
pub struct Site {
    pub servers: Vec<WebServer>,
    pub network: Topology,
    pub binaries: Binaries,
}

impl Site {
    /// Makes it; none where tests are to be skipped.
    pub fn create(spec: &Spec) -> Option<Self> {
        let mut site = Self::bare(spec)?;
        site.servers = site.network.start_web_servers().unwrap();
        Some(site)
    }

    /// As [`Self::create`], with no server on any real.
    pub fn bare(spec: &Spec) -> Option<Self> {
        if !privilege::network() {
            return None;
        }
        let binaries = Binaries::locate().unwrap();
        let mut network = Topology::create(spec).unwrap();
        network.start_decapsulators(&binaries).unwrap();
        Some(Self {
            servers: Vec::new(),
            network,
            binaries,
        })
    }

    /// With two reals and one client, in native mode.
    pub fn small(method: Method) -> Option<Self> {
        Self::create(&small(method))
    }

    /// As [`Self::small`], with no server on any real.
    pub fn small_bare(method: Method) -> Option<Self> {
        Self::bare(&small(method))
    }

    /// A configuration with one service.
    pub fn config(&self, scheduler: &str, weights: &[u32]) -> String {
        let services = daemon::service(&self.network, scheduler, weights);
        daemon::configuration(&self.network, &services).unwrap()
    }

    /// lbd with that configuration.
    pub fn start(&self, scheduler: &str, weights: &[u32]) -> Daemon<'_> {
        self.start_with(&self.config(scheduler, weights))
    }

    /// lbd with any configuration.
    pub fn start_with(&self, config: &str) -> Daemon<'_> {
        Daemon::start(&self.network, &self.binaries, config).unwrap()
    }

    /// The web service of one family, with all reals by the network's method.
    pub fn web(&self, family: Family) -> Service {
        let name = match family {
            Family::V4 => "web",
            Family::V6 => "web6",
        };
        self.service(name, "tcp", family, PORT)
    }

    /// A service of one family, with all reals by the network's method.
    pub fn service(&self, name: &str, protocol: &str, family: Family, port: u16) -> Service {
        let (vip, method) = (self.network.vip_in(family), self.network.spec().method);
        Service::new(name, protocol, vip, port, method.name()).reals(
            &self.network.reals,
            family,
            method,
        )
    }

    /// A configuration with these services.
    pub fn configuration(&self, services: &[Service]) -> String {
        let services: String = services.iter().map(Service::to_string).collect();
        daemon::configuration(&self.network, &services).unwrap()
    }

    /// lbd with these services.
    pub fn start_services(&self, services: &[Service]) -> Daemon<'_> {
        self.start_with(&self.configuration(services))
    }

    /// So many requests of the first client, each over a connection of its own.
    pub fn ask(&self, times: usize) -> Tally {
        self.ask_in(Family::V4, times)
    }

    /// As [`Self::ask`], of either family.
    pub fn ask_in(&self, family: Family, times: usize) -> Tally {
        let url = self.network.url_in(family, "");
        http::get_many(&self.network.clients[0], &url, times).unwrap()
    }

    /// Asks so often and demands this spread over the reals.
    #[track_caller]
    pub fn expect(&self, spread: &[usize]) {
        self.expect_in(Family::V4, spread);
    }

    /// As [`Self::expect`], of either family.
    #[track_caller]
    pub fn expect_in(&self, family: Family, spread: &[usize]) {
        let tally = self.ask_in(family, spread.iter().sum());
        assert_eq!(tally.by_real(spread.len()), spread, "{family:?}: {tally}");
    }

    /// Downloads `file` from the VIP and uploads it, to whichever real, each intact.
    #[track_caller]
    pub fn transfer(&self, family: Family, file: &Path) {
        let (client, directory) = (&self.network.clients[0], self.network.directory());
        let name = file.file_name().and_then(OsStr::to_str).unwrap();
        let digest = http::sha256(file).unwrap();
        let received = directory.join("received");
        let url = self.network.url_in(family, &format!("files/{name}"));
        let mut download = http::download(client, &url, &received, None).unwrap();
        download.wait_success(http::TRANSFER_LIMIT).unwrap();
        assert_eq!(http::sha256(&received).unwrap(), digest, "downloaded");
        let url = self.network.url_in(family, &format!("upload/{name}"));
        let mut upload = http::upload(client, file, &url, None).unwrap();
        upload.wait_success(http::TRANSFER_LIMIT).unwrap();
        let mut places = self.servers.iter().map(|server| server.uploaded(name));
        let uploaded = places.find(|place| place.exists()).unwrap();
        assert_eq!(http::sha256(&uploaded).unwrap(), digest, "uploaded");
        fs::remove_file(uploaded).unwrap();
    }

    /// Makes a file for [`Self::transfer`].
    pub fn payload(&self, bytes: u64) -> PathBuf {
        let file = http::random_file(self.network.directory(), "payload", bytes).unwrap();
        for server in &self.servers {
            server.publish("payload", &file).unwrap();
        }
        file
    }

    /// The XDP programs on the director's interfaces and what is pinned: all
    /// that is left of a data plane when no daemon runs.
    pub fn data_plane(&self) -> String {
        let links = self.network.director.run("ip", &["-details", "link"]);
        let programs: String = links
            .unwrap()
            .lines()
            .filter(|line| line.contains("prog/xdp"))
            .map(|line| format!("{}\n", line.trim()))
            .collect();
        let pins = self.network.scratch().bpffs().unwrap();
        let mut find = std::process::Command::new("find");
        let pins = process::output(find.arg(pins).arg("-mindepth").arg("1")).unwrap();
        let mut pins: Vec<_> = pins.lines().collect();
        pins.sort_unstable();
        format!("{programs}{}\n", pins.join("\n"))
    }
}

fn small(method: Method) -> Spec {
    Spec {
        method,
        native: true,
        reals: 2,
        ..Spec::default()
    }
}

/// A configuration with another section.
pub fn with_section(config: &str, section: &str) -> String {
    config.replace("[capacity]", &format!("{section}\n\n[capacity]"))
}

/// A configuration with another line in `[options]`.
pub fn with_option(config: &str, line: &str) -> String {
    config.replace("[options]", &format!("[options]\n{line}"))
}

/// Waits until all reals can be reached: lbd does not wait for neighbours that are slow
/// to answer, and a datagram is not sent again.
#[track_caller]
pub fn await_reals(daemon: &Daemon<'_>) {
    wait::until("next hops", wait::START_LIMIT, || {
        json(daemon, &["status"])["unresolved"] == serde_json::json!([])
    })
    .unwrap();
}

/// lbctl with the words of `line`.
#[track_caller]
pub fn run(daemon: &Daemon<'_>, line: &str) -> String {
    daemon.lbctl(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

/// What lbctl prints with `--json`.
#[track_caller]
pub fn json(daemon: &Daemon<'_>, arguments: &[&str]) -> Value {
    let text = daemon.lbctl(&[arguments, &["--json"]].concat()).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A real of the first service, as `lbctl list --json` has it.
#[track_caller]
pub fn real(daemon: &Daemon<'_>, number: usize) -> Value {
    json(daemon, &["list"])[0]["reals"][number - 1].clone()
}

/// A lbctl command that must fail: its exit code and its one line on stderr.
#[track_caller]
pub fn refused(daemon: &Daemon<'_>, arguments: &[&str]) -> (i32, String) {
    let output = process::capture(daemon.lbctl_command().args(arguments)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), said)
}

/// How often lbd has dropped a packet for this reason.
#[track_caller]
pub fn drops(daemon: &Daemon<'_>, reason: &str) -> u64 {
    let status = json(daemon, &["status"]);
    status["drops"][reason].as_u64().unwrap_or(0)
}
