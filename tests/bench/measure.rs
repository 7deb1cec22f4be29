//! One figure: prepares a case, checks its packets, and measures.

use anyhow::{Context as _, Result, ensure};
use lb_daemon::config::model::{IpFamily, Protocol};

use crate::{
    cases::{Case, Path},
    fixture::Bench,
    options::Options,
    packets::{Kind, Packet},
    report::{Figures, Line},
    wrapper::Flows,
};

/// The case with so many flows.
pub(crate) fn case(bench: &mut Bench, case: &Case, flows: u32, options: &Options) -> Result<Line> {
    let name = case.name();
    let line = try_case(bench, case, flows, options);
    line.with_context(|| format!("{name}, {flows} flows"))
}

fn try_case(bench: &mut Bench, case: &Case, flows: u32, options: &Options) -> Result<Line> {
    let packet = case.packet();
    let base = base(bench, &packet, flows, options)?;
    bench.set_denying(case.path == Path::Dropped)?;
    bench.serve_anew(&case.service())?;
    let dropped_before = bench.drops("denied")?;
    let mut figures = Vec::new();
    let mut sent = 0;
    if case.is_of_new() {
        // Each of these two is alone in the table.
        for one in [Flows::in_order(1), Flows::any(flows)] {
            bench.run(case.method, &packet, one, 1)?;
            bench.serve_anew(&case.service())?;
        }
        for _ in 0..options.runs {
            bench.serve_anew(&case.service())?;
            let all = Flows::in_order(flows);
            figures.push(bench.run(case.method, &packet, all, flows)?);
        }
    } else {
        connect(bench, case, flows)?;
        bench.run(case.method, &packet, Flows::any(flows), 1)?;
        for _ in 0..options.runs {
            // Every flow has its turn, however many there are.
            let (all, repeat) = (options.turns(flows), options.repeat.max(flows));
            figures.push(bench.run(case.method, &packet, all, repeat)?);
            sent += u64::from(repeat);
        }
        sent += 1;
    }
    if case.path == Path::Dropped {
        let dropped = bench.drops("denied")? - dropped_before;
        ensure!(
            dropped == sent,
            "{dropped} of {sent} were counted as denied"
        );
    }
    // Here, where what it finds is this case's.
    bench.clear()?;
    Ok(Line {
        case: case.name(),
        flows,
        figures: Figures::of(figures),
        base,
    })
}

/// Establishes a connection of each flow.
pub(crate) fn connect(bench: &mut Bench, case: &Case, flows: u32) -> Result<()> {
    for kind in [Kind::Beginning, Kind::Established] {
        let packet = case.packet().of_kind(kind);
        bench.run(case.method, &packet, Flows::in_order(flows), flows)?;
    }
    Ok(())
}

/// The wrapper's own share in the case's figure: what the same packets cost by a
/// program that sends them at once. It leaves out what cutting a tunnel's headers off
/// again costs.
pub(crate) fn base(
    bench: &mut Bench,
    packet: &Packet,
    flows: u32,
    options: &Options,
) -> Result<f64> {
    bench.transmit(packet, Flows::any(flows), 1)?;
    let mut least = f64::INFINITY;
    for _ in 0..options.runs {
        least = least.min(bench.transmit(packet, options.turns(flows), options.repeat)?);
    }
    Ok(least)
}

/// The reference program with so many flows.
pub(crate) fn reference(bench: &mut Bench, flows: u32, options: &Options) -> Result<Line> {
    let packet = Packet::new(Kind::Established, IpFamily::V4, Protocol::Tcp);
    let base = base(bench, &packet, flows, options)?;
    bench.reference(&packet, Flows::in_order(flows), flows)?;
    let mut figures = Vec::new();
    for _ in 0..options.runs {
        let (all, repeat) = (options.turns(flows), options.repeat.max(flows));
        figures.push(bench.reference(&packet, all, repeat)?);
    }
    Ok(Line {
        case: "reference".into(),
        flows,
        figures: Figures::of(figures),
        base,
    })
}
