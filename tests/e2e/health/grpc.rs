//! `grpc` checks of real gRPC servers, whose services have a health of their own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use lb_tests::namespace::Namespace;
use lb_tests::process::{self, Process};
use lb_tests::topology::{Family, Host, Method};
use lb_tests::{privilege, python, wait};
use nix::sys::signal::Signal;

use super::{SOON, await_first};
use crate::site::Site;

const PORT: u16 = 50_051;

/// grpc.health.v1.HealthCheckResponse.ServingStatus
const UNKNOWN: u8 = 0;
const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;

/// A running server; its healthy services are the one without a name, and `shop`.
struct GrpcServer {
    process: Process,
    health: PathBuf,
}

impl GrpcServer {
    fn start(real: &Host, scratch: &Path) -> Self {
        let health = scratch.join(format!("{}-grpc", real.name()));
        fs::create_dir_all(&health).unwrap();
        let server = Self::launch(real, scratch, health);
        server.set("", SERVING);
        server.set("shop", SERVING);
        server
    }

    /// As one whose author has forgotten the health service.
    fn start_without_health(real: &Host, scratch: &Path) -> Self {
        Self::launch(real, scratch, scratch.join("nowhere"))
    }

    fn launch(real: &Host, scratch: &Path, health: PathBuf) -> Self {
        let (name, port) = (real.name(), PORT.to_string());
        let mut command = program(real, scratch);
        command.args(["serve", name, &port]).arg(&health);
        let log = scratch.join(format!("{name}-grpc.log"));
        let what = format!("the grpc server on {name}");
        let mut process = Process::spawn(&what, &mut command, &log).unwrap();
        wait::try_until(&format!("{what} to listen"), wait::START_LIMIT, || {
            process.check_running()?;
            real.enter(|| TcpStream::connect((real.address(), PORT)).is_ok())
        })
        .unwrap();
        Self { process, health }
    }

    /// Sets a service's status.
    fn set(&self, service: &str, status: u8) {
        fs::write(self.file(service), status.to_string()).unwrap();
    }

    /// It does not know this service any more.
    fn forget(&self, service: &str) {
        fs::remove_file(self.file(service)).unwrap();
    }

    fn file(&self, service: &str) -> PathBuf {
        self.health.join(format!("health.{service}"))
    }
}

fn program(namespace: &Namespace, scratch: &Path) -> Command {
    let file = scratch.join("grpc_server.py");
    fs::write(&file, include_str!("grpc_server.py")).unwrap();
    let mut command = namespace.command(python::PROGRAM);
    command.arg(file);
    command
}

/// Requests of a gRPC client come to each real so often.
#[track_caller]
fn expect(site: &Site, spread: [usize; 2]) {
    let network = &site.network;
    let times: usize = spread.iter().sum();
    let mut command = program(&network.clients[0], network.directory());
    command.args(["ask", &format!("{}:{PORT}", network.vip())]);
    let names = process::output(command.arg(times.to_string())).unwrap();
    let came = ["real1", "real2"].map(|name| names.lines().filter(|line| *line == name).count());
    assert_eq!(came, spread, "{names}");
}

/// A real is up while the server is well, and the one of its services that it is for.
#[test]
fn services_and_their_server() {
    let Some(site) = Site::small_bare(Method::Nat) else {
        return;
    };
    if !privilege::python("grpc") {
        return;
    }
    let network = &site.network;
    let scratch = network.directory();
    let [real, other] = &network.reals[..] else {
        panic!("two reals");
    };
    let server = GrpcServer::start(real, scratch);
    let _other = GrpcServer::start(other, scratch);
    let checks = format!(
        "health = [{{ type = 'grpc', {SOON} }}, {{ type = 'grpc', service = 'shop', {SOON} }}]"
    );
    let service = site.service("shop", "tcp", Family::V4, PORT);
    let daemon = site.start_services(&[service.set(&checks)]);
    let is_up = || {
        await_first(&daemon, "shop", "up", &["", ""]);
        expect(&site, [2, 2]);
    };
    let is_down = |reasons: [&str; 2]| {
        await_first(&daemon, "shop", "down", &reasons);
        expect(&site, [0, 4]);
    };
    is_up();

    // The service, and the server as a whole.
    server.set("shop", NOT_SERVING);
    is_down(["", "service is not serving"]);
    server.set("shop", SERVING);
    is_up();
    server.forget("shop");
    is_down(["", "service is unknown to the real"]);
    server.set("shop", SERVING);
    is_up();
    server.set("", UNKNOWN);
    is_down(["service's state is unknown", ""]);
    server.set("", SERVING);
    is_up();

    // It hangs.
    server.process.signal(Signal::SIGSTOP).unwrap();
    is_down(["timed out"; 2]);
    server.process.signal(Signal::SIGCONT).unwrap();
    is_up();

    // It is killed, and comes back without a health service, and with it.
    drop(server);
    is_down(["connection refused"; 2]);
    let server = GrpcServer::start_without_health(real, scratch);
    is_down(["real has no grpc.health.v1.Health"; 2]);
    drop(server);
    let _server = GrpcServer::start(real, scratch);
    is_up();
}
