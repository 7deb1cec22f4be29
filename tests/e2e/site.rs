//! Where most tests begin: a network with web servers on its reals, and lbd to
//! be started on its director.

use lb_tests::daemon::{self, Binaries, Daemon};
use lb_tests::http::{self, Tally};
use lb_tests::privilege;
use lb_tests::process;
use lb_tests::topology::{Method, Spec, Topology};
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
        if !privilege::network() {
            return None;
        }
        let binaries = Binaries::locate().unwrap();
        let mut network = Topology::create(spec).unwrap();
        network.start_decapsulators(&binaries).unwrap();
        let servers = network.start_web_servers().unwrap();
        Some(Self {
            servers,
            network,
            binaries,
        })
    }

    /// With two reals and one client, in native mode.
    pub fn small(method: Method) -> Option<Self> {
        Self::create(&Spec {
            method,
            native: true,
            reals: 2,
            ..Spec::default()
        })
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

    /// So many requests of the first client, each over a connection of its own.
    pub fn ask(&self, times: usize) -> Tally {
        http::get_many(&self.network.clients[0], &self.network.url(""), times).unwrap()
    }

    /// Asks so often and demands this spread over the reals.
    #[track_caller]
    pub fn expect(&self, spread: &[usize]) {
        let tally = self.ask(spread.iter().sum());
        assert_eq!(tally.by_real(spread.len()), spread, "{tally}");
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
