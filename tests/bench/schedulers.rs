//! New connections by each scheduler, with few and with many reals.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};
use lb_daemon::config::model::{
    ForwardingMethod, IpFamily, Protocol, Real, RealId, Scheduler, Service, Weight,
};

use crate::{
    cases::{Method, service_id},
    fixture::Bench,
    measure,
    options::Options,
    packets::{Kind, PORT, Packet},
    report::{self, Figures, Line},
    wrapper::Flows,
};

/// Numbers of reals.
const REALS: [u32; 3] = [4, 64, 1024];
/// New connections a run: all of them are alive at its end.
const FLOWS: u32 = 1 << 16;
/// Each real's address is this with its number behind it.
const FIRST_REAL: Ipv4Addr = Ipv4Addr::new(10, 0, 16, 0);

/// As the command line and the report name it.
fn case(scheduler: Scheduler, reals: u32) -> String {
    format!("dr_new_{}_{reals}_reals_v4", scheduler.name())
}

/// The names of all.
pub(crate) fn cases() -> impl Iterator<Item = String> {
    let of = |scheduler: &Scheduler| {
        let scheduler = *scheduler;
        REALS.into_iter().map(move |reals| case(scheduler, reals))
    };
    Scheduler::ALL.iter().flat_map(of)
}

/// Measures the cases that are asked for.
pub(crate) fn measure(bench: &mut Bench, options: &Options) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for scheduler in Scheduler::ALL {
        for reals in REALS {
            let case = case(*scheduler, reals);
            if options.wants_of_schedulers(&case) {
                let line = one(bench, &service(*scheduler, reals), &case, options);
                let line = line.with_context(|| case)?;
                line.announce();
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

fn one(bench: &mut Bench, service: &Service, case: &str, options: &Options) -> Result<Line> {
    let packet = Packet::new(Kind::Beginning, IpFamily::V4, Protocol::Tcp);
    let base = measure::base(bench, &packet, FLOWS, options)?;
    let mut figures = Vec::new();
    for _ in 0..options.runs {
        bench.serve_anew(service)?;
        figures.push(bench.run(Method::Dr, &packet, Flows::in_order(FLOWS), FLOWS)?);
    }
    bench.clear()?;
    Ok(Line {
        case: case.to_owned(),
        flows: FLOWS,
        figures: Figures::of(figures),
        base,
    })
}

/// Reals of unequal weights, so that wrr has several lists.
fn service(scheduler: Scheduler, reals: u32) -> Service {
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
        ..Service::new(service_id(IpFamily::V4, Protocol::Tcp), scheduler)
    }
}

/// The table of new connections a second, and how they compare to rr's.
pub(crate) fn print(lines: &[Line]) {
    let ns = |scheduler: Scheduler, reals| {
        let case = case(scheduler, reals);
        Some(lines.iter().find(|line| line.case == case)?.net())
    };
    println!(
        "\nthousands of new connections a second and CPU (ns; ratio to rr with as many reals)\n"
    );
    let heads = REALS.map(|reals| format!(" {} reals |", report::grouped(reals)));
    println!("| scheduler |{}", heads.concat());
    println!("| --- |{}", " --- |".repeat(REALS.len()));
    for scheduler in Scheduler::ALL {
        if REALS.iter().all(|reals| ns(*scheduler, *reals).is_none()) {
            continue;
        }
        let cell = |reals| {
            let figure = ns(*scheduler, reals).map_or_else(String::new, |own| {
                let ratio = ns(Scheduler::Rr, reals).map(|rr| format!("; {:.2}", own / rr));
                format!("{:.0} ({own:.0}{})", 1e6 / own, ratio.unwrap_or_default())
            });
            format!(" {figure} |")
        };
        println!("| `{}` |{}", scheduler.name(), REALS.map(cell).concat());
    }
}
