//! What a packet costs in the data plane, by `BPF_PROG_TEST_RUN`: a wrapper
//! program restores the packet before each run and varies the client, then
//! tail-calls the program under test. Figures are nanoseconds a packet, the
//! least of several runs, and net of the wrapped `XDP_TX`. What comes out is
//! compared byte for byte before and after each run.
//!
//! ```text
//! cargo xtask bench [--runs 7] [--repeat 1000000] [--scattered] [--json FILE] [--svg FILE] [NAME …]
//! cargo xtask bench flood [--unshielded]
//! cargo xtask bench compare [--json FILE]
//! cargo xtask bench scale
//! cargo xtask bench checks
//! ```
//!
//! ```text
//! options    what is asked for
//! cases      the paths through the data plane, and their names
//! packets    what comes in, made by frames; expected, what has to come out
//! fixture    a director in a network, and wrapper, by which packets are sent
//! measure    one figure; report and plot, all of them
//! schedulers, large, walk, flood, compare, scale, checks   groups of their own
//! ```
//!
//! docs/performance.md says what the cases are. `reference` is the least that an
//! established packet costs, and the unit of the ratios.

mod cases;
mod checks;
mod compare;
mod expected;
mod fixture;
mod flood;
mod frames;
mod large;
mod measure;
mod network;
mod options;
mod packets;
mod plot;
mod report;
mod scale;
mod schedulers;
mod walk;
mod wrapper;

use anyhow::Result;

use cases::Case;
use fixture::Bench;
use options::Options;
use report::Report;

/// Room in the tables, as configured where nothing is said: the most flows that
/// are measured fill them. Cases with two entries a flow have twice as much.
const CONNECTIONS: u32 = 1 << 20;
/// Numbers of flows of the reference program.
const REFERENCES: [u32; 4] = [1, 1 << 12, 1 << 16, 1 << 20];

fn main() -> Result<()> {
    let options = Options::from_args()?;
    if !lb_tests::privilege::bpf() {
        return Ok(());
    }
    if options.wants_packets() {
        measure_packets(&options)?;
    }
    if options.wants("flood") && lb_tests::privilege::network() {
        flood::run(options.is_unshielded)?;
    }
    if options.wants("compare") && lb_tests::privilege::network() {
        compare::run(options.json.as_deref())?;
    }
    if options.wants("scale") && lb_tests::privilege::network() {
        scale::run()?;
    }
    if options.wants("checks") && lb_tests::privilege::network() {
        checks::run()?;
    }
    Ok(())
}

/// All that is measured by `BPF_PROG_TEST_RUN`, and the sweep.
fn measure_packets(options: &Options) -> Result<()> {
    let mut bench = Bench::open(CONNECTIONS)?;
    let references = REFERENCES
        .iter()
        .map(|flows| measure::reference(&mut bench, *flows, options))
        .collect::<Result<_>>()?;
    let mut report = Report::new(options.runs, references);
    measure_cases(&mut bench, 1, &mut report, options)?;
    let by_scheduler = schedulers::measure(&mut bench, options)?;
    let walk = options
        .wants("walk")
        .then(|| walk::measure(&mut bench, CONNECTIONS))
        .transpose()?;
    let instructions = bench.verified_instructions();
    drop(bench);
    measure_cases(&mut Bench::open(2 * CONNECTIONS)?, 2, &mut report, options)?;
    let growth = if options.wants("large") {
        large::measure(options)?
    } else {
        Vec::new()
    };
    report.print();
    if !growth.is_empty() {
        large::print(&growth);
    }
    if !by_scheduler.is_empty() {
        schedulers::print(&by_scheduler);
    }
    if let Some(walk) = walk {
        walk.print();
    }
    report::print_instructions(&instructions);
    if let Some(path) = &options.svg {
        plot::write(&report, path)?;
    }
    report.extend(by_scheduler);
    report.extend(growth.into_iter().map(|growth| growth.many).collect());
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    Ok(())
}

/// The cases with so many entries a flow.
fn measure_cases(
    bench: &mut Bench,
    entries: u32,
    report: &mut Report,
    options: &Options,
) -> Result<()> {
    for case in Case::all() {
        if case.entries() == entries && options.wants_case(&case) {
            for flows in case.flows() {
                report.push(measure::case(bench, &case, *flows, options)?);
            }
        }
    }
    Ok(())
}
