//! What speed downloads keep while a flood goes to their service: a ratio to the speed
//! that they have while the same flood goes, by the same wire, to an address beside the
//! service. Moments of both take turns, in pairs; every pair counts.
//!
//! A flood costs its sender, here one of the director's own processors, and costs the
//! director's driver and interrupts, wherever it goes. The address beside the service
//! has a blackhole route: the director's stack drops at once what lbd passes on to it.
//! Without that route a director that forwards, by nat, would look whether each sender
//! may have an ICMP error (`ip_error` in net/ipv4/route.c), which costs more than lbd
//! does and would flatter it.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_tests::flood::attacker::Flood;
use lb_tests::flood::others::{self, Answers};
use lb_tests::flood::segment::Segment;
use lb_tests::flood::shield;
use lb_tests::flood::site::{self, Pace, Site};
use lb_tests::topology::Method;

/// Segments a second while speeds are compared, and while others want to get in.
const RATE: u32 = 100_000;
const FULL_RATE: u32 = 250_000;

/// What of its speed a download keeps, at least, %.
const TARGET: f64 = 80.0;
/// Pairs of moments for each method and segment: always as many.
const PAIRS: u32 = 30;
/// Before a moment: until the flood and the downloads go with each other.
const SETTLE: Duration = Duration::from_millis(80);
const MOMENT: Duration = Duration::from_millis(220);
/// Until a flood at full rate has filled the table.
const FILLING: Duration = Duration::from_millis(300);

/// Where a flood goes, addresses from the service's.
const SERVICE: u32 = 0;
const BESIDE: u32 = 1;

/// A line of the table.
struct Line {
    method: Method,
    segment: Segment,
    pairs: Vec<[Moment; 2]>,
    /// Requests of others that were answered at the full rate, and that rate.
    others: Answers,
    others_rate: f64,
}

/// Downloads' speed, and the flood's at the same time.
struct Moment {
    mb_s: f64,
    rate: f64,
}

/// Prints the table; an error if a ratio is below the target, or if the machine
/// could not send the flood.
pub(crate) fn run(is_unshielded: bool) -> Result<()> {
    print_header(is_unshielded);
    let mut misses = String::new();
    for method in Method::ALL {
        let lines = site::run(method, Pace::Full, |site| {
            let beside = address(site, BESIDE);
            let blackhole = format!("route add blackhole {beside}\n");
            site.network.director.ip(&blackhole)?;
            if !is_unshielded {
                shield::raise(site.network)?;
            }
            measure(site)
        })?;
        for line in lines {
            line.print();
            line.judge(&mut misses);
        }
    }
    ensure!(misses.is_empty(), "flood:{misses}");
    println!("all at {TARGET} % or above");
    Ok(())
}

fn measure(site: &Site<'_>) -> Result<Vec<Line>> {
    let compare = |segment| -> Result<_> {
        let pairs: Result<Vec<_>> = (0..PAIRS)
            .map(|pair| compare(site, segment, pair))
            .collect();
        Ok((segment, pairs?))
    };
    let compared: Vec<_> = Segment::ALL
        .into_iter()
        .map(compare)
        .collect::<Result<_>>()?;
    site.downloads.slow_down();
    let finish = |(segment, pairs)| {
        let (others, others_rate) = let_others_in(site, segment)?;
        Ok(Line {
            method: site.network.spec().method,
            segment,
            pairs,
            others,
            others_rate,
        })
    };
    compared.into_iter().map(finish).collect()
}

/// A moment with the flood beside the service, and one with it at the service; which
/// of them is first takes turns as well.
fn compare(site: &Site<'_>, segment: Segment, pair: u32) -> Result<[Moment; 2]> {
    let at = |offset| moment(site, segment, offset);
    if pair.is_multiple_of(2) {
        return Ok([at(BESIDE)?, at(SERVICE)?]);
    }
    let service = at(SERVICE)?;
    Ok([at(BESIDE)?, service])
}

/// The address that is so far from the service's.
fn address(site: &Site<'_>, offset: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(site.network.vip().to_bits() + offset)
}

/// With the flood at the address that is so far from the service's.
fn moment(site: &Site<'_>, segment: Segment, offset: u32) -> Result<Moment> {
    let flood = Flood {
        segment,
        address: address(site, offset),
        rate: RATE,
    };
    site.attacker.during(&flood, |progress| {
        thread::sleep(SETTLE);
        let (before, began) = (progress.sent(), Instant::now());
        let mb_s = site.downloads.speed(MOMENT);
        let sent = progress.sent() - before;
        let rate = f64::from(sent) / began.elapsed().as_secs_f64();
        Moment { mb_s, rate }
    })
}

fn let_others_in(site: &Site<'_>, segment: Segment) -> Result<(Answers, f64)> {
    let flood = Flood {
        segment,
        address: site.network.vip(),
        rate: FULL_RATE,
    };
    site.attacker.during(&flood, |progress| {
        let began = Instant::now();
        thread::sleep(FILLING);
        let answers = others::ask(site.network)?;
        let rate = f64::from(progress.sent()) / began.elapsed().as_secs_f64();
        Ok((answers, rate))
    })?
}

fn print_header(is_unshielded: bool) {
    println!(
        "flood: downloads while {RATE} segments/s from as many senders go to their service, and\n\
         while they go to an address beside it; medians of {PAIRS} pairs of moments of {} ms\n\
         (quartiles of the pairs' ratios); target: {TARGET} %. Others: {} requests over new\n\
         connections while {FULL_RATE} segments/s go to the service.",
        MOMENT.as_millis(),
        Answers::ASKED
    );
    let reals = if is_unshielded {
        "The reals take the attack's segments, at the cost of the director's processors,\n\
         which are theirs too.\n"
    } else {
        "The reals drop the attack's segments as they come in (reverse path filtering): they\n\
         have the director's processors, and what an attack costs them is not to be measured.\n"
    };
    println!("{reals}");
    println!(
        "{:<14} {:>18} {:>18} {:>39}\n\
         {:<6} {:<7} {:>11} {:>6} {:>11} {:>6} {:>6} {:>11} {:>8} {:>10}",
        "",
        "beside the service",
        "at the service",
        "others",
        "method",
        "segment",
        "segments/s",
        "MB/s",
        "segments/s",
        "MB/s",
        "ratio",
        "quartiles",
        "answered",
        "segments/s"
    );
}

impl Line {
    fn median_of(&self, which: usize, what: impl Fn(&Moment) -> f64) -> f64 {
        let values = self.pairs.iter().map(|pair| what(&pair[which]));
        quantile(values.collect(), 0.5)
    }

    /// Of the speeds of the pairs, %.
    fn ratios(&self, share: f64) -> f64 {
        let ratios = self
            .pairs
            .iter()
            .map(|[beside, service]| service.mb_s / beside.mb_s);
        100.0 * quantile(ratios.collect(), share)
    }

    fn print(&self) {
        let quartiles = format!("{:.0}-{:.0} %", self.ratios(0.25), self.ratios(0.75));
        println!(
            "{:<6} {:<7} {:>11.0} {:>6.0} {:>11.0} {:>6.0} {:>4.0} % {quartiles:>11} {:>6.1} % {:>10.0}",
            self.method.name(),
            self.segment.name(),
            self.median_of(0, |moment| moment.rate),
            self.median_of(0, |moment| moment.mb_s),
            self.median_of(1, |moment| moment.rate),
            self.median_of(1, |moment| moment.mb_s),
            self.ratios(0.5),
            self.others.percent(),
            self.others_rate,
        );
    }

    /// Adds what is wrong with it.
    fn judge(&self, misses: &mut String) {
        let name = format!("{} {}", self.method.name(), self.segment.name());
        let ratio = self.ratios(0.5);
        // Writing to a String cannot fail.
        if ratio < TARGET {
            let _ = write!(misses, "\n{name}: {ratio:.1} % is below {TARGET} %");
        }
        for (which, to) in ["beside the service", "to the service"].iter().enumerate() {
            let rate = self.median_of(which, |moment| moment.rate);
            if rate < 0.9 * f64::from(RATE) {
                let _ = write!(
                    misses,
                    "\n{name}: no measure: {rate:.0} segments/s {to}, not {RATE}"
                );
            }
        }
    }
}

/// The value that this share of them is below, between two of them if need be.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    values[low] + (values[high] - values[low]) * place.fract()
}
