use lb_common::scheduler::Scheduler;
use proptest::prelude::*;

use super::*;
use crate::simulate::{
    chance::Population,
    event::Event,
    lifetime::Lifetime,
    real::Named,
    scenario::{Arrivals, Builder},
};

fn arrivals() -> Arrivals {
    let all = |members| Population {
        members,
        is_zipf: false,
    };
    Arrivals {
        connections: 10_000,
        rate: 1000,
        is_even: false,
        lifetime: Lifetime::Exponential(Duration::from_secs(1)),
        linger: Duration::from_secs(120),
        clients: all(10_000),
        destinations: all(1000),
        seed: 1,
    }
}

fn scenario(scheduler: Scheduler, reals: &str, events: &[&str], arrivals: Arrivals) -> Scenario {
    let reals: Vec<Named> = reals.split(',').map(|real| real.parse().unwrap()).collect();
    let events: Vec<Event> = events.iter().map(|event| event.parse().unwrap()).collect();
    let builder = Builder::new(scheduler);
    let expiry = Duration::from_hours(24);
    builder
        .build(arrivals, expiry, &reals, events, &[])
        .unwrap()
}

fn simulate(scheduler: Scheduler, reals: &str, events: &[&str]) -> Report {
    run(&scenario(scheduler, reals, events, arrivals())).unwrap()
}

#[test]
fn shares_are_as_the_weights_say() {
    for (scheduler, within) in [
        (Scheduler::Wrr, 0.001),
        (Scheduler::Wlc, 0.02),
        (Scheduler::Sed, 0.02),
        (Scheduler::Twos, 0.05),
        (Scheduler::Sh, 0.08),
        (Scheduler::Mh, 0.02),
    ] {
        // sh has a bucket also for a real of weight 0, and so clients that get none.
        let reals = match scheduler {
            Scheduler::Sh => "a:10,b:20,c:30",
            _ => "a:10,b:20,c:30,d:0",
        };
        let report = simulate(scheduler, reals, &[]);
        for (real, expected) in report.reals.iter().zip([1.0 / 6.0, 1.0 / 3.0, 0.5, 0.0]) {
            let off = (real.share - expected).abs();
            assert!(off <= within, "{}: {real:?}", report.scheduler);
            assert!((real.share_by_weight - expected).abs() < 1e-3, "{real:?}");
        }
        assert_eq!(report.refused, 0);
    }
}

#[test]
fn wlc_levels_what_takes_long() {
    let spread = |scheduler| {
        let pareto = Lifetime::Pareto(Duration::from_secs(2));
        let arrivals = Arrivals {
            lifetime: pareto,
            linger: Duration::ZERO,
            ..arrivals()
        };
        let mut scenario = scenario(scheduler, "a,b,c", &[], arrivals);
        scenario.reals[2].speed = 0.5;
        let report = run(&scenario).unwrap();
        let means = report.reals.iter().map(|real| real.mean_active);
        means.clone().fold(0.0, f64::max) / means.fold(f64::MAX, f64::min)
    };
    let (wrr, wlc) = (spread(Scheduler::Wrr), spread(Scheduler::Wlc));
    assert!(wlc < 1.02 && wrr > 1.3, "wlc {wlc}, wrr {wrr}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for scheduler in Scheduler::ALL {
        let of = |seed| {
            let arrivals = Arrivals { seed, ..arrivals() };
            let events = ["2s:down:b", "5s:up:b"];
            run(&scenario(*scheduler, "a:1,b:2,c:3", &events, arrivals)).unwrap()
        };
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }
}

/// A hash moves the clients of the real that goes, and hardly any other.
#[test]
fn who_moves_at_an_event() {
    let moves = |scheduler| {
        let events = ["5s:down:b"];
        let report = simulate(scheduler, "a,b,c,d", &events);
        let Counts {
            returning,
            related,
            unrelated,
        } = report.moves;
        let part = |number| number as f64 / returning as f64;
        (part(related), part(unrelated))
    };
    let (related, unrelated) = moves(Scheduler::Mh);
    assert!((0.1..0.3).contains(&related), "{related}");
    assert!(unrelated < 0.05, "{unrelated}");
    // sh fills its buckets anew, in turn.
    let (_, unrelated) = moves(Scheduler::Sh);
    assert!(unrelated > 0.2, "{unrelated}");
    let steady = simulate(Scheduler::Mh, "a,b,c,d", &[]).moves;
    assert_eq!((steady.related, steady.unrelated), (0, 0));
}

#[test]
fn who_is_gone_gets_nobody_and_its_connections_end() {
    let events = [
        "1s:drain:a",
        "2s:down:b",
        "3s:remove:c",
        "4s:add:d",
        "5s:weight:d:0",
    ];
    let report = simulate(Scheduler::Rr, "a,b,c", &events);
    let states: Vec<_> = report.reals.iter().map(|real| real.state).collect();
    assert_eq!(states, ["drain", "down", "removed", "ready"]);
    let came = |from: u32, parts: u32| from + 1000 / parts;
    let expected = [came(0, 3), came(333, 2), came(833, 1), 1000];
    for (real, expected) in report.reals.iter().zip(expected) {
        assert!(real.connections.abs_diff(expected) < 100, "{real:?}");
    }
    // Between 3 s and 4 s, and from 5 s on, there is nobody.
    assert!(report.refused.abs_diff(6000) < 200, "{}", report.refused);
    assert_eq!(report.events_after_end, 0);
}

#[test]
fn thresholds_count_those_that_linger() {
    let report = simulate(Scheduler::Wlc, "a:1:100,b:1:200:150", &[]);
    assert_eq!(report.refused, 10_000 - 300);
    let linger = Duration::ZERO;
    let arrivals = Arrivals {
        linger,
        ..arrivals()
    };
    let report = run(&scenario(
        Scheduler::Wlc,
        "a:1:100,b:1:200:150",
        &[],
        arrivals,
    ))
    .unwrap();
    assert!(report.refused < 8000, "{}", report.refused);
    let peaks: Vec<_> = report.reals.iter().map(|real| real.peak_active).collect();
    assert_eq!(peaks, [100, 200]);
}

#[test]
fn a_real_that_comes_up_starts_slowly() {
    let share = |slow_start: Option<u64>| {
        let mut scenario = scenario(Scheduler::Wrr, "a:10", &["5s:add:b:10"], arrivals());
        let slow_start = slow_start.map(Duration::from_secs);
        scenario.service.slow_start = slow_start;
        scenario.turns[0].service.slow_start = slow_start;
        run(&scenario).unwrap().reals[1].connections
    };
    // Half of 5000; while it grows over all the time, about a third.
    assert!(share(None).abs_diff(2500) < 100);
    let slow = share(Some(5));
    assert!((1300..1800).contains(&slow), "{slow}");
}

use crate::simulate::moves::Counts;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens, every connection is somewhere, and nobody picks a real
    /// that is not there.
    #[test]
    fn nothing_is_lost(
        number in 0..Scheduler::ALL.len(),
        weights in prop::collection::vec(0u32..4, 1..5),
        events in prop::collection::vec((0u64..1000, 0usize..5, 0usize..5), 0..8),
        upper in prop::option::of(1u32..50),
        seed: u64,
    ) {
        let scheduler = Scheduler::ALL[number];
        let upper = upper.unwrap_or(0);
        let reals = weights.iter().zip('a'..).map(|(weight, name)| format!("{name}:{weight}:{upper}"));
        let reals = reals.collect::<Vec<_>>().join(",");
        let events: Vec<_> = events.iter().map(|(at, real, what)| {
            let name = ('a'..).nth(real % weights.len()).unwrap();
            let what = ["down", "drain", "up", "weight", "up"][*what];
            let value = if what == "weight" { ":2" } else { "" };
            format!("{at}ms:{what}:{name}{value}")
        }).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let arrivals = Arrivals { connections: 1000, seed, ..arrivals() };
        let scenario = scenario(scheduler, &reals, &events, arrivals);
        let report = run(&scenario).unwrap();
        let served: u32 = report.reals.iter().map(|real| real.connections).sum();
        prop_assert_eq!(served + report.refused, 1000);
        prop_assert!(report.peak_active <= served);
        let Counts { returning, related, unrelated } = report.moves;
        prop_assert!(related + unrelated <= returning);
        for (real, weight) in report.reals.iter().zip(&weights) {
            let is_ever = *weight > 0 || events.iter().any(|event| event.contains("weight"));
            prop_assert!(is_ever || real.connections == 0);
        }
    }
}
