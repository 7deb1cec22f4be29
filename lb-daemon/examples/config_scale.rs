//! How long a large configuration takes to be read: 10,000 services with 10
//! reals each, or as many as the arguments say.
//!
//! `cargo run --release -p lb-daemon --example config_scale [SERVICES] [REALS]`

use std::{fmt::Write as _, time::Duration};

use lb_daemon::config::file;
use nix::time::{ClockId, clock_gettime};

const RUNS: usize = 9;

fn main() {
    let mut counts = std::env::args().skip(1).map(|count| count.parse().unwrap());
    let services = counts.next().unwrap_or(10_000);
    let reals = counts.next().unwrap_or(10);
    let text = configuration(services, reals);
    println!(
        "{services} services of {reals} reals, {} bytes, {} lines",
        text.len(),
        text.lines().count()
    );
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let began = cpu_time();
            let config = file::parse(&text, "scale.toml").unwrap();
            let took = cpu_time() - began;
            assert_eq!(config.services.len(), services);
            took
        })
        .collect();
    times.sort();
    println!(
        "parsed and validated in {:.1?} of CPU time (median of {RUNS}; {:.1?} to {:.1?})",
        times[RUNS / 2],
        times[0],
        times[RUNS - 1]
    );
}

/// This thread's: what else the machine does is left out.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Every service has an address of 10.0.0.0/8, every real one of
/// 172.16.0.0/12; nothing is left to a default that people would write out.
fn configuration(services: usize, reals: usize) -> String {
    let mut text = format!(
        "[director]\ninterfaces = [\"eth0\"]\n[capacity]\nservices = {services}\nreals = {}\n",
        (services * reals).max(1)
    );
    for service in 0..services {
        let (high, low) = (service / 250, service % 250 + 1);
        write!(
            text,
            "\n[[service]]\nname = \"service-{service}\"\nprotocol = \"tcp\"\naddress = \"10.0.{high}.{low}\"\n\
             port = 80\nscheduler = \"wlc\"\nforward = \"dr\"\n"
        )
        .unwrap();
        for real in 0..reals {
            let real = (service * reals + real) % 1_000_000;
            let (high, middle, low) = (16 + real / 62_500, real / 250 % 250, real % 250 + 1);
            write!(
                text,
                "\n[[service.real]]\naddress = \"172.{high}.{middle}.{low}\"\nweight = 1\n"
            )
            .unwrap();
        }
    }
    text
}
