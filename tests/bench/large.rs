//! Eight times as many connections: what they cost, by the figures of a million.

use anyhow::Result;
use lb_daemon::config::model::{IpFamily, Protocol};

use crate::{
    cases::{Case, Method, Path},
    fixture::Bench,
    measure,
    options::Options,
    report::{Line, Report, grouped},
};

/// They fill the tables, as the fewer do theirs.
const FLOWS: u32 = 1 << 23;
/// What they are compared with.
const FEWER: u32 = 1 << 20;
/// What a packet may cost, at most, of what it costs with fewer.
const TARGET: f64 = 1.3;

fn cases() -> [Case; 4] {
    let of = |method, family| Case {
        method,
        path: Path::Established,
        family,
        protocol: Protocol::Tcp,
    };
    [
        of(Method::Dr, IpFamily::V4),
        of(Method::Tun, IpFamily::V4),
        of(Method::Nat, IpFamily::V4),
        of(Method::Dr, IpFamily::V6),
    ]
}

/// The figures that there are not yet of the fewer connections, of cases with so many
/// entries a flow.
pub(crate) fn measure_fewer(
    bench: &mut Bench,
    entries: u32,
    report: &mut Report,
    options: &Options,
) -> Result<()> {
    for case in cases() {
        if case.entries() == entries && report.find(&case.name(), FEWER).is_none() {
            report.push(measure::case(bench, &case, FEWER, options)?);
        }
    }
    Ok(())
}

/// Those of the many, with tables of their own.
pub(crate) fn measure(report: &mut Report, options: &Options) -> Result<()> {
    for entries in [1, 2] {
        let mut bench = Bench::open(FLOWS * entries)?;
        for case in cases() {
            if case.entries() == entries {
                report.push(measure::case(&mut bench, &case, FLOWS, options)?);
            }
        }
    }
    Ok(())
}

/// How the many compare with the fewer.
pub(crate) fn print(report: &Report) {
    let (many, fewer) = (grouped(FLOWS), grouped(FEWER));
    println!("\nns net with {many} connections, ratio to {fewer} (target: at most {TARGET})\n");
    println!("| case | {fewer} | {many} | ratio |");
    println!("| --- | --- | --- | --- |");
    for case in cases() {
        let name = case.name();
        let net = |flows| report.find(&name, flows).map_or(f64::NAN, Line::net);
        let (fewer, many) = (net(FEWER), net(FLOWS));
        println!(
            "| `{name}` | {fewer:.0} | {many:.0} | {:.2} |",
            many / fewer
        );
    }
}
