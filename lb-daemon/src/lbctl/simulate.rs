//! `lbctl simulate`: a scheduler at work, without a network and without a
//! daemon. [`crate::simulate`] does it; here are the flags and the page.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Result, bail};
use clap::{Args as Flags, ValueEnum};

use super::{
    args::schedulers,
    columns::{Align, aligned},
    commands::write_some,
};
use crate::{
    config::{model::Scheduler, scheduling, vocabulary},
    simulate::{
        self, Report,
        chance::Population,
        event::Event,
        lifetime::{self, Lifetime},
        real::Named,
        scenario::{Arrivals, Builder},
    },
};

/// Most connections: all of them may be there at once.
const MOST_CONNECTIONS: i64 = 10_000_000;
const MOST_A_SECOND: i64 = 10_000_000;

/// What is asked for cannot be simulated.
#[derive(Debug, thiserror::Error)]
#[error("simulate: {0}")]
pub(super) struct Unusable(String);

/// `lbctl simulate`.
#[derive(Debug, Flags)]
#[command(after_help = AFTER_HELP)]
pub struct SimulateArgs {
    #[arg(help = schedulers(""), short, long, value_name = "SCHED", default_value = "wlc", value_parser = vocabulary::scheduler)]
    scheduler: Scheduler,
    /// The scheduler's flags: sh-port, sh-fallback, mh-port, mh-fallback
    #[arg(short = 'b', long, value_name = "FLAG,…", value_delimiter = ',')]
    scheduler_flags: Vec<String>,
    /// mh: places of its table, a prime
    #[arg(long, value_name = "N")]
    mh_table_size: Option<u32>,
    /// How long a real that comes up takes to its whole share; default: it has it at once
    #[arg(long, value_name = "TIME", value_parser = lifetime::time)]
    slow_start: Option<Duration>,
    /// lblcr: when a set that stays the same loses a member
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = lifetime::time)]
    lblc_expiry: Duration,
    /// The reals: a name or an address, a weight (default 1), thresholds (default none)
    #[arg(
        short,
        long,
        required = true,
        value_name = "NAME[:WEIGHT[:UPPER[:LOWER]]],…",
        value_delimiter = ','
    )]
    reals: Vec<Named>,
    /// How fast a real answers: its connections take their time divided by this
    #[arg(long, value_name = "NAME=FACTOR,…", value_delimiter = ',', value_parser = speed)]
    speed: Vec<(String, f64)>,
    /// What happens to a real, and when; may be given several times
    #[arg(short, long, value_name = "TIME:WHAT:REAL")]
    event: Vec<Event>,
    /// How many connections come
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=MOST_CONNECTIONS))]
    connections: u32,
    /// How many come in a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=MOST_A_SECOND))]
    rate: u32,
    /// How they come: at random, or at even distances
    #[arg(long, value_name = "HOW", default_value = "poisson")]
    arrivals: Pace,
    /// How long a connection is active
    #[arg(short, long, value_name = "TIMES", default_value = "exp:2s")]
    duration: Lifetime,
    /// How long it counts as inactive then, as in FIN_WAIT and TIME_WAIT; 0s: not at all
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = lifetime::time)]
    linger: Duration,
    /// Clients' addresses: 1000 that come alike, or zipf:1000
    #[arg(long, value_name = "N", default_value = "10000")]
    clients: Population,
    /// dh, lblc, lblcr: addresses that clients want, as --clients
    #[arg(long, value_name = "N", default_value = "1000")]
    destinations: Population,
    /// The same seed: the same chances
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

const AFTER_HELP: &str = "\
TIMES:  2s (all the same), uniform:1s-3s, exp:2s (mean), pareto:2s (mean; most short, few very long)
WHAT:   down (failed its check, or maint), drain, up, weight (5s:weight:b:3),
        add (5s:add:d:2, a weight and thresholds as in --reals), remove
Connections of a real that is down, drained or removed go on to their end.
A move is a client (dh, lblc, lblcr: a destination) whose new connection goes to another real than
its last one did. It is related if an event since then was about one of the two.

lbctl simulate -s wlc --reals a:1,b:2 --connections 10000 --duration exp:2s --event 5s:down:b";

/// `--arrivals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pace {
    Poisson,
    Even,
}

fn speed(text: &str) -> Result<(String, f64), String> {
    let parts = text.split_once('=').and_then(|(name, factor)| {
        let factor = factor.parse().ok();
        let factor = factor.filter(|factor| (0.001..=1000.0).contains(factor))?;
        Some((name.to_owned(), factor))
    });
    parts.ok_or_else(|| format!("{text:?}: expected NAME=FACTOR, a factor from 0.001 to 1000"))
}

pub(super) fn run(args: SimulateArgs, json: bool) -> Result<()> {
    let report = report(args)?;
    if report.events_after_end > 0 {
        let (events, end) = (report.events_after_end, report.duration_s);
        eprintln!(
            "lbctl: warning: the last connection comes at {end:.1} s: events after it: {events}"
        );
    }
    let text = if json {
        format!("{}\n", serde_json::to_string(&report)?)
    } else {
        page(&report)
    };
    write_some(&text).map(drop)
}

fn report(args: SimulateArgs) -> Result<Report> {
    let mut builder = Builder::new(args.scheduler);
    let flags = scheduling::flags(args.scheduler, &args.scheduler_flags).map_err(Unusable)?;
    let service = builder.service();
    service.scheduler_flags = flags;
    service.slow_start = args.slow_start;
    if let Some(size) = args.mh_table_size {
        service.mh_table_size = size;
    }
    let arrivals = Arrivals {
        connections: args.connections,
        rate: args.rate,
        is_even: args.arrivals == Pace::Even,
        lifetime: args.duration,
        linger: args.linger,
        clients: args.clients,
        destinations: args.destinations,
        seed: args.seed,
    };
    let scenario = builder.build(
        arrivals,
        args.lblc_expiry,
        &args.reals,
        args.event,
        &args.speed,
    );
    match scenario {
        Ok(scenario) => Ok(simulate::run(&scenario)?),
        Err(problem) => bail!(Unusable(problem)),
    }
}

fn page(report: &Report) -> String {
    let mut text = report.scheduler.to_owned();
    for flag in &report.scheduler_flags {
        let _ = write!(text, " {flag}");
    }
    let Report {
        connections,
        refused,
        duration_s,
        ..
    } = report;
    let _ = writeln!(
        text,
        ": {connections} connections in {duration_s:.1} s, {refused} refused"
    );
    text += &table(report);
    let (of, moves) = (report.moves_of, &report.moves);
    let percent = |number: u64| percent(number as f64 / moves.returning.max(1) as f64);
    let (related, unrelated) = (moves.related, moves.unrelated);
    let _ = writeln!(
        text,
        "{of} that came again: {}, to another real: {related} ({}) related to an event, {unrelated} ({}) not",
        moves.returning,
        percent(related),
        percent(unrelated)
    );
    text
}

fn table(report: &Report) -> String {
    use Align::{Left, Right};

    // A column that says "ready" throughout says nothing.
    let has_states = report.reals.iter().any(|real| real.state != "ready");
    let head = [
        "REAL",
        "STATE",
        "WEIGHT",
        "CONNS",
        "SHARE",
        "BY WEIGHT",
        "PEAK",
        "MEAN",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for real in &report.reals {
        let weight = real.weight.map(|weight| weight.to_string());
        rows.push(vec![
            real.real.clone(),
            real.state.to_owned(),
            weight.unwrap_or_else(|| "-".to_owned()),
            real.connections.to_string(),
            percent(real.share),
            percent(real.share_by_weight),
            real.peak_active.to_string(),
            format!("{:.1}", real.mean_active),
        ]);
    }
    let nothing = String::new;
    rows.push(vec![
        "all".to_owned(),
        nothing(),
        nothing(),
        (report.connections - report.refused).to_string(),
        nothing(),
        nothing(),
        report.peak_active.to_string(),
        format!("{:.1}", report.mean_active),
    ]);
    let mut aligns = vec![Left, Left, Right, Right, Right, Right, Right, Right];
    if !has_states {
        aligns.remove(1);
        for row in &mut rows {
            row.remove(1);
        }
    }
    aligned(2, &aligns, &rows)
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

#[cfg(test)]
mod tests;
