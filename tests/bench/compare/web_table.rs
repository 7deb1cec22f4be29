//! Part 2's tables.

use super::figures::{Figures, PLAIN};
use super::nftables::Pick;
use super::web::{Contender, ROUNDS};
use super::wrk::{Load, SECONDS};

/// A load's cases, as the JSON has them.
pub(crate) struct Cases {
    pub rate: &'static str,
    pub cpu: &'static str,
    pub p50: &'static str,
    pub p99: &'static str,
    pub errors: &'static str,
}

pub(crate) fn cases(load: Load) -> Cases {
    match load {
        Load::Connections => Cases {
            rate: "http_new_connections",
            cpu: "http_new_connections_cpu",
            p50: "http_new_connections_p50",
            p99: "http_new_connections_p99",
            errors: "http_new_connections_errors",
        },
        Load::KeepAlive => Cases {
            rate: "http_keep_alive",
            cpu: "http_keep_alive_cpu",
            p50: "http_keep_alive_p50",
            p99: "http_keep_alive_p99",
            errors: "http_keep_alive_errors",
        },
    }
}

pub(crate) fn print(figures: &Figures) {
    println!(
        "\nHTTP: nginx on two reals, wrk on the client; medians of {ROUNDS} rounds of {SECONDS} s (quartiles).\n\
         CPU is that of all of it: wrk, nginx, the kernel for them, and who stands between;\n\
         ratios of CPU to plain forwarding's and to nftables numgen's"
    );
    for load in Load::ALL {
        let what = match load {
            Load::Connections => "a new connection for each request",
            Load::KeepAlive => "keep-alive",
        };
        println!("\n{what}, {} at once", load.concurrency());
        print_load(figures, &cases(load));
    }
}

fn print_load(figures: &Figures, cases: &Cases) {
    println!(
        "{:<17} {:>21} {:>16} {:>5} {:>5} {:>17} {:>19} {:>6}",
        "contender", "requests/s", "CPU us/request", "plain", "nft", "p50 ms", "p99 ms", "errors"
    );
    let nft = Pick::Numgen.name();
    for name in Contender::all().map(Contender::name) {
        let spread = |case, digits| figures.spread(case, &name, 1.0, digits);
        println!(
            "{name:<17} {:>21} {:>16} {:>5} {:>5} {:>17} {:>19} {:>6}",
            spread(cases.rate, 0),
            spread(cases.cpu, 0),
            figures.ratio_text(cases.cpu, &name, PLAIN),
            figures.ratio_text(cases.cpu, &name, &nft),
            spread(cases.p50, 2),
            spread(cases.p99, 2),
            figures.sum(cases.errors, &name),
        );
    }
}
