//! Eight times as many connections: what they cost, by the figures of a million.

use anyhow::Result;
use lb_daemon::config::model::{IpFamily, Protocol};

use crate::{
    cases::{Case, Method, Path},
    fixture::Bench,
    measure,
    options::Options,
    report::{Line, grouped},
};

/// They fill the tables.
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

/// The many and the fewer of a case, in one table.
pub(crate) struct Growth {
    fewer: Line,
    pub(crate) many: Line,
}

/// In tables with room for the many: nothing else differs.
pub(crate) fn measure(options: &Options) -> Result<Vec<Growth>> {
    let mut all = Vec::new();
    for entries in [1, 2] {
        let mut bench = Bench::open(FLOWS * entries)?;
        for case in cases() {
            if case.entries() == entries {
                let mut one = |flows| {
                    let line = measure::case(&mut bench, &case, flows, options)?;
                    line.announce();
                    Ok::<_, anyhow::Error>(line)
                };
                all.push(Growth {
                    fewer: one(FEWER)?,
                    many: one(FLOWS)?,
                });
            }
        }
    }
    Ok(all)
}

pub(crate) fn print(all: &[Growth]) {
    let (many, fewer) = (grouped(FLOWS), grouped(FEWER));
    println!(
        "\nns net with {many} connections, ratio to {fewer} in the same table (target: at most {TARGET})\n"
    );
    println!("| case | {fewer} | {many} | ratio |");
    println!("| --- | --- | --- | --- |");
    for Growth { fewer, many } in all {
        let (few, net) = (fewer.net(), many.net());
        println!(
            "| `{}` | {few:.0} | {net:.0} | {:.2} |",
            many.case,
            net / few
        );
    }
}
