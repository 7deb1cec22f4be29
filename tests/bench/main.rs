//! What a packet costs in the data plane, by `BPF_PROG_TEST_RUN`: a wrapper
//! program restores the packet before each run and varies the client, then
//! tail-calls the program under test. Figures are nanoseconds a packet, the
//! least of several runs, and net of the wrapped `XDP_TX`.
//!
//! ```text
//! cargo xtask bench [--runs 7] [--repeat 1000000] [--json FILE] [--unshielded] [CASE …]
//! ```
//!
//! Cases: `{dr,nat,tun}_established_v4`, `nat_back_v4` (from the real to the
//! client), `{dr,nat,tun}_new_rr_v4` (the table fills from empty), and
//! `not_ours_v4`, each at 1 to 2^20 flows (new ones from 2^16: one is no measure); `reference` is the least that an
//! established packet costs, and the unit of the ratios. `schedulers` are
//! `dr_new_SCHEDULER_REALS_reals_v4`, 2^16 new connections by each scheduler with 4, 64
//! and 1,024 reals. `walk` is the sweep over
//! 2^20 connections. `flood` is another thing: what speed downloads through lbd keep
//! under floods, in a network of namespaces. So is `compare`, which runs only if it is
//! named: lbd beside plain forwarding, nftables and HAProxy.

mod compare;
mod fixture;
mod flood;
mod packets;
mod report;
mod schedulers;
mod walk;

use anyhow::{Context as _, Result};
use lb_daemon::config::model::{ForwardingMethod, Scheduler};

use fixture::{Bench, Expect};
use packets::Kind;
use report::{Line, Report};

/// Numbers of flows, each a power of two.
const FLOWS: [u32; 3] = [1, 1 << 16, 1 << 20];

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
    if options.names("compare") && lb_tests::privilege::network() {
        compare::run(options.json.as_deref())?;
    }
    Ok(())
}

/// All that is measured by `BPF_PROG_TEST_RUN`, and the sweep.
fn measure_packets(options: &Options) -> Result<()> {
    let bench = Bench::open()?;
    let mut report = Report::new(options.runs);
    let base = bench.transmit(options)?;
    let reference = bench.reference(options)?;
    report.push(Line {
        case: "transmit".into(),
        flows: 1,
        ns: base,
        ns_net: 0.0,
    });
    report.push(Line {
        case: "reference".into(),
        flows: 1,
        ns: reference,
        ns_net: reference - base,
    });
    for case in CASES.iter().filter(|case| options.wants(case.name)) {
        for flows in FLOWS
            .into_iter()
            .filter(|flows| !case.from_empty || *flows > 1)
        {
            let ns = case
                .measure(&bench, flows, options)
                .with_context(|| format!("{}, {flows} flows", case.name))?;
            report.push(Line {
                case: case.name.into(),
                flows,
                ns,
                ns_net: ns - base,
            });
        }
    }
    report.print(reference - base, &bench.verified_instructions());
    let new = schedulers::measure(&bench, options, base)?;
    if !new.is_empty() {
        schedulers::print(&new);
        report.extend(new);
    }
    if options.wants("walk") {
        bench.walk()?.print();
    }
    if let Some(path) = &options.json {
        report.write_json(path, reference - base)?;
    }
    Ok(())
}

/// A path through the data plane.
struct Case {
    name: &'static str,
    method: ForwardingMethod,
    kind: Kind,
    expect: Expect,
    /// The table is empty before each run.
    from_empty: bool,
}

const CASES: [Case; 8] = [
    Case::established("dr_established_v4", ForwardingMethod::Dr, 64),
    Case::established("tun_established_v4", ForwardingMethod::Tun, 84),
    Case::established("nat_established_v4", ForwardingMethod::Nat, 64),
    Case {
        name: "nat_back_v4",
        method: ForwardingMethod::Nat,
        kind: Kind::Back,
        expect: Expect {
            verdict: fixture::XDP_REDIRECT,
            bytes: 64,
        },
        from_empty: false,
    },
    Case::new("dr_new_rr_v4", ForwardingMethod::Dr, 64),
    Case::new("tun_new_rr_v4", ForwardingMethod::Tun, 84),
    Case::new("nat_new_rr_v4", ForwardingMethod::Nat, 64),
    Case {
        name: "not_ours_v4",
        method: ForwardingMethod::Dr,
        kind: Kind::Foreign,
        expect: Expect {
            verdict: fixture::XDP_PASS,
            bytes: 64,
        },
        from_empty: false,
    },
];

impl Case {
    const fn established(name: &'static str, method: ForwardingMethod, bytes: usize) -> Self {
        let expect = Expect {
            verdict: fixture::XDP_TX,
            bytes,
        };
        Self {
            name,
            method,
            kind: Kind::Established,
            expect,
            from_empty: false,
        }
    }

    const fn new(name: &'static str, method: ForwardingMethod, bytes: usize) -> Self {
        let expect = Expect {
            verdict: fixture::XDP_TX,
            bytes,
        };
        Self {
            name,
            method,
            kind: Kind::Syn,
            expect,
            from_empty: true,
        }
    }

    fn measure(&self, bench: &Bench, flows: u32, options: &Options) -> Result<f64> {
        bench.set_method(self.method)?;
        let mut least = f64::INFINITY;
        for run in 0..options.runs {
            if self.from_empty {
                bench.clear()?;
                // One packet a flow, however many repeats were asked for.
                least = least.min(bench.run(self.kind, flows, flows, self.expect)?);
                continue;
            }
            if run == 0 {
                bench.clear()?;
                bench.run(Kind::Syn, flows, flows, self.expect.any())?;
                bench.run(Kind::Established, flows, flows, self.expect.any())?;
            }
            least = least.min(bench.run(self.kind, flows, options.repeat, self.expect)?);
        }
        Ok(least)
    }
}

/// The command line.
pub(crate) struct Options {
    runs: u32,
    repeat: u32,
    json: Option<std::path::PathBuf>,
    /// Of `flood`: the reals take the attack.
    is_unshielded: bool,
    cases: Vec<String>,
}

impl Options {
    fn from_args() -> Result<Self> {
        let mut options = Self {
            runs: 7,
            repeat: 1_000_000,
            json: None,
            is_unshielded: false,
            cases: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} takes a value"));
            match arg.as_str() {
                "--runs" => options.runs = value()?.parse().context("--runs")?,
                "--repeat" => options.repeat = value()?.parse().context("--repeat")?,
                "--json" => options.json = Some(value()?.into()),
                "--unshielded" => options.is_unshielded = true,
                // cargo's own.
                "--bench" => {}
                _ => options.cases.push(arg),
            }
        }
        for name in &options.cases {
            let is_of = |scheduler| {
                schedulers::REALS
                    .map(|reals| schedulers::case(scheduler, reals))
                    .contains(name)
            };
            let known = ["walk", "flood", "compare", "schedulers"].contains(&name.as_str())
                || CASES.iter().any(|case| case.name == name)
                || Scheduler::ALL.iter().copied().any(is_of);
            anyhow::ensure!(
                known,
                "no case {name}; cases: walk flood compare schedulers dr_new_SCHEDULER_{{4,64,1024}}_reals_v4 {}",
                CASES.map(|case| case.name).join(" ")
            );
        }
        anyhow::ensure!(
            options.json.is_none() || !options.names("compare") || !options.wants_packets(),
            "--json has the figures of compare or those of other cases, not both"
        );
        Ok(options)
    }

    /// Anything but the networks' cases.
    fn wants_packets(&self) -> bool {
        let is_of_packets = |name: &String| !["flood", "compare"].contains(&name.as_str());
        self.cases.is_empty() || self.cases.iter().any(is_of_packets)
    }

    fn wants(&self, case: &str) -> bool {
        self.cases.is_empty() || self.names(case)
    }

    fn names(&self, case: &str) -> bool {
        self.cases.iter().any(|name| name == case)
    }
}
