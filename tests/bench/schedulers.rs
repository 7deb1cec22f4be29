//! New connections by each scheduler, with few and with many reals.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use lb_daemon::config::model::{ForwardingMethod, Real, RealId, Scheduler, Service, Weight};

use crate::{
    Options,
    fixture::{Bench, Expect, XDP_TX},
    packets::{Kind, PORT},
    report::Line,
};

/// Numbers of reals.
pub(crate) const REALS: [u32; 3] = [4, 64, 1024];
/// New connections a run: all of them are alive at its end.
const FLOWS: u32 = 1 << 16;
/// Each real's address is this with its number behind it.
const FIRST_REAL: Ipv4Addr = Ipv4Addr::new(10, 0, 16, 0);

/// As the command line and the report name it.
pub(crate) fn case(scheduler: Scheduler, reals: u32) -> String {
    format!("dr_new_{}_{reals}_reals_v4", scheduler.name())
}

/// Measures the cases that are asked for; `base` is the wrapped `XDP_TX`.
pub(crate) fn measure(bench: &Bench, options: &Options, base: f64) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for scheduler in Scheduler::ALL {
        for reals in REALS {
            let case = case(*scheduler, reals);
            if !options.wants(&case) && !options.wants("schedulers") {
                continue;
            }
            let service = service(bench, *scheduler, reals);
            let expect = Expect {
                verdict: XDP_TX,
                bytes: 64,
            };
            let mut ns = f64::INFINITY;
            for _ in 0..options.runs {
                bench.clear()?;
                bench.serve_anew(&service)?;
                ns = ns.min(bench.run(Kind::Syn, FLOWS, FLOWS, expect)?);
            }
            eprintln!("{case}: {:.0} ns", ns - base);
            lines.push(Line {
                case,
                flows: FLOWS,
                ns,
                ns_net: ns - base,
            });
        }
    }
    Ok(lines)
}

/// Reals of unequal weights, so that wrr has several lists.
fn service(bench: &Bench, scheduler: Scheduler, reals: u32) -> Service {
    // ovf has nobody left where all have more than their weights.
    let least = if scheduler == Scheduler::Ovf {
        65_500
    } else {
        1
    };
    let real = |number: u32| {
        let address = IpAddr::V4((FIRST_REAL.to_bits() + number).into());
        Real {
            weight: Weight::new(least + number % 5).unwrap_or(Weight::ONE),
            ..Real::new(
                RealId {
                    address,
                    port: PORT,
                },
                ForwardingMethod::Dr,
            )
        }
    };
    Service {
        reals: (0..reals).map(real).collect(),
        ..Service::new(bench.id, scheduler)
    }
}

/// The table of new connections a second, and how they compare to rr's.
pub(crate) fn print(lines: &[Line]) {
    let ns = |scheduler: Scheduler, reals| {
        let case = case(scheduler, reals);
        Some(lines.iter().find(|line| line.case == case)?.ns_net)
    };
    println!(
        "\nthousands of new connections a second and CPU (ns; ratio to rr with as many reals)"
    );
    print!("{:<10}", "scheduler");
    for reals in REALS {
        print!(" {:>22}", format!("{reals} reals"));
    }
    println!();
    for scheduler in Scheduler::ALL {
        print!("{:<10}", scheduler.name());
        for reals in REALS {
            let figure = ns(*scheduler, reals).map_or_else(String::new, |own| {
                let ratio = ns(Scheduler::Rr, reals).map_or(f64::NAN, |rr| own / rr);
                format!("{:.0} ({own:.0}; {ratio:.2})", 1e6 / own)
            });
            print!(" {figure:>22}");
        }
        println!();
    }
}
