//! What is done to the daemon, drawn from a seed before anything is done: which
//! operations there are does not hang on what became of the earlier ones.

use fastrand::Rng;
use lb_daemon::config::model::Scheduler;
use lb_tests::daemon;
use lb_tests::service::{self, Service};
use lb_tests::topology::{Family, Method, PORT};

use crate::site::{Site, with_section};

/// The port of the service by nat; by dr it is [`PORT`].
pub const NAT_PORT: u16 = 8080;

/// The services there may be, how packets go to their reals, and how many the reals
/// before theirs are. The first two, which clients use, are the file's at first.
const SERVICES: [(&str, Method, usize); 5] = [
    ("tcp:192.0.2.10:80", Method::Dr, 0),
    ("tcp:192.0.2.10:8080", Method::Nat, 2),
    ("tcp:192.0.2.10:8081", Method::Dr, 0),
    ("udp:192.0.2.10:53", Method::Nat, 2),
    ("fwmark:7", Method::Dr, 0),
];

/// Where marked packets would go: no client's business.
const MARKED: &str = "192.0.2.77";

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A line for lbctl.
    Command(String),
    /// A reload of this file.
    Reload(String),
    /// This file applied; killed and started again while that waits; then kept or not.
    Apply {
        file: String,
        kill: bool,
        confirm: bool,
    },
    /// This file in the place of all that runs.
    Restore(String),
    /// Saved, flushed, restored.
    SaveAndRestore,
    /// SIGKILL, or SIGTERM, and a start.
    Restart { kill: bool },
}

/// So many operations, and restarts among them at even distances, the last not at the
/// end: a start puts right what went wrong before.
pub fn draw(rng: &mut Rng, site: &Site, count: usize, restarts: usize) -> Vec<Operation> {
    let distance = count / restarts;
    let draw = |number: usize| match (number % distance == distance / 4, number / distance % 4) {
        (true, turn @ 0..3) => Operation::Restart {
            kill: turn % 2 == 0,
        },
        (true, _) => apply(rng, site, true),
        (false, _) => operation(rng, site),
    };
    (0..count).map(draw).collect()
}

fn operation(rng: &mut Rng, site: &Site) -> Operation {
    match rng.u32(0..100) {
        0..8 => Operation::Reload(file(rng, site)),
        8..13 => apply(rng, site, false),
        13..15 => Operation::Restore(file(rng, site)),
        15..17 => Operation::SaveAndRestore,
        _ => Operation::Command(command(rng)),
    }
}

fn apply(rng: &mut Rng, site: &Site, kill: bool) -> Operation {
    Operation::Apply {
        file: file(rng, site),
        kill,
        confirm: rng.bool(),
    }
}

fn one<'a, T: ?Sized>(rng: &mut Rng, of: &[&'a T]) -> &'a T {
    of[rng.usize(..of.len())]
}

fn scheduler(rng: &mut Rng) -> &'static str {
    Scheduler::ALL[rng.usize(..Scheduler::ALL.len())].name()
}

fn command(rng: &mut Rng) -> String {
    let (service, method, first) = SERVICES[rng.usize(..SERVICES.len())];
    let real = format!(
        "10.0.2.{}{}",
        11 + first + rng.usize(..2),
        real_port(method)
    );
    let weight = rng.u32(..6);
    match rng.u32(0..100) {
        // What is deleted comes back soon, or there would be nobody to be let in by.
        0..14 => format!(
            "service add {service} -s {} -f {}",
            scheduler(rng),
            method.name()
        ),
        14..18 => format!("service delete {service}"),
        18..26 => format!("service edit {service} -s {}", scheduler(rng)),
        26..34 => {
            let flag = one(
                rng,
                &[
                    "-p 60",
                    "-p off",
                    "-p off",
                    "--on-down reset",
                    "--on-down keep",
                    "--rate-limit 100000,200000",
                    "--rate-limit off",
                ],
            );
            format!("service edit {service} {flag}")
        }
        34..54 => format!("real add {service} {real} -w {weight}"),
        54..62 => format!("real edit {service} {real} -w {weight}"),
        62..65 => format!("real edit {service} {real} -x {weight}000 -y {weight}00"),
        65..73 => format!("real delete {service} {real}"),
        73..83 => {
            let state = one(rng, &["ready", "ready", "drain", "maint"]);
            format!("real state {service} {real} {state}")
        }
        83..92 => {
            let verb = one(rng, &["add", "add", "delete"]);
            let ports = one(rng, &["80", "443,8000-8100", "all"]);
            let protocol = one(rng, &["tcp", "udp"]);
            format!("mark {verb} 7 {protocol} {MARKED} {ports}")
        }
        92..95 => format!(
            "timeouts set --tcp {}00 --tcp-fin 6{weight} --udp 3{weight}",
            3 + weight
        ),
        95..97 => "zero".to_owned(),
        97..99 => format!("zero {service}"),
        _ => "flush --yes".to_owned(),
    }
}

fn real_port(method: Method) -> String {
    match method {
        Method::Nat => format!(":{PORT}"),
        Method::Dr | Method::Tun => String::new(),
    }
}

/// The file that the daemon begins with.
pub fn first_file(site: &Site) -> String {
    let services = [0, 1].map(|number| service(site, number, &[1, 1], "wrr").to_string());
    daemon::configuration(&site.network, &services.concat()).unwrap()
}

/// Another: services come and go, and their reals, weights, schedulers; marks, timeouts.
fn file(rng: &mut Rng, site: &Site) -> String {
    let mut tables = String::new();
    if rng.bool() {
        tables += &service::firewall_mark(7, MARKED.parse().unwrap(), "80, 443");
    }
    for number in 0..SERVICES.len() {
        let is_there = rng.u32(..4) > if number < 2 { 0 } else { 2 };
        let weights: Vec<u32> = (0..rng.usize(1..=2)).map(|_| rng.u32(..6)).collect();
        let scheduler = scheduler(rng);
        if is_there {
            tables += &service(site, number, &weights, scheduler).to_string();
        }
    }
    let config = daemon::configuration(&site.network, &tables).unwrap();
    match rng.bool() {
        true => with_section(&config, "[timeouts]\ntcp = \"10m\"\nudp = \"4m\""),
        false => config,
    }
}

fn service(site: &Site, number: usize, weights: &[u32], scheduler: &str) -> Service {
    let (id, method, first) = SERVICES[number];
    let mut parts = id.split(':');
    let name = format!("s{number}");
    let service = match (parts.next().unwrap(), parts.next(), parts.next()) {
        (protocol, Some(address), Some(port)) => {
            let (address, port) = (address.parse().unwrap(), port.parse().unwrap());
            Service::new(&name, protocol, address, port, method.name())
        }
        _ => Service::marked(&name, 7, Family::V4, method.name()),
    };
    let reals = site.network.reals[first..].iter().zip(weights);
    reals.fold(service.scheduled(scheduler), |service, (real, weight)| {
        let port = match method {
            Method::Nat => format!("port = {PORT}\n"),
            Method::Dr | Method::Tun => String::new(),
        };
        service.real(real.address().into(), &format!("{port}weight = {weight}"))
    })
}
