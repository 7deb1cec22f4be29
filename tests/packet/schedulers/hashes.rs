//! dh, sh and mh: the hash is our own, so what holds is what can be said of any:
//! the same key has the same real, shares go by weight, who has no eligible real
//! is refused or goes elsewhere, and few move.

use std::collections::BTreeMap;

use super::*;
use crate::rig::{Rig, SIZES};
use lb_common::{abi::program, scheduler::flag};
use lb_daemon::dataplane::Sizes;
use lb_tests::privilege;

/// Clients.
const CLIENTS: u16 = 4000;

/// Where each client's connection would go; the table of connections is left
/// empty.
fn picks(rig: &mut Rig, service: &Service) -> BTreeMap<u16, Option<RealId>> {
    rig.serve(service);
    let mut picks = BTreeMap::new();
    for client in 0..CLIENTS {
        let [high, low] = client.to_be_bytes();
        let ip = Header {
            source: v4(100, 64, high, low),
            ..TCP_SYN.ip
        };
        let packet = Packet { ip, ..TCP_SYN };
        let director = rig.programs.xdp(program::DIRECTOR).unwrap();
        picks.insert(client, pick(director, &packet, &service.reals));
        if client % 1000 == 999 {
            rig.forget_connections();
        }
    }
    picks
}

fn share(picks: &BTreeMap<u16, Option<RealId>>, real: Option<RealId>) -> f64 {
    let of = picks.values().filter(|pick| **pick == real).count();
    of as f64 / f64::from(CLIENTS)
}

#[test]
fn shares_go_by_weight() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        rig.clear();
        let service = web(scheduler, &[1, 2, 5]);
        let picks = picks(&mut rig, &service);
        for (real, expected) in service.reals.iter().zip([0.125, 0.25, 0.625]) {
            let share = share(&picks, Some(real.id));
            assert!((share - expected).abs() < 0.03, "{scheduler:?}: {share}");
        }
    }
}

/// The same key has the same real, whichever port the client comes from; with
/// the flag ports are spread.
#[test]
fn ports_count_where_the_flag_says_so() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        for flags in [0, flag::PORT] {
            rig.clear();
            let service = Service {
                scheduler_flags: flags,
                ..web(scheduler, &[1; 8])
            };
            rig.serve(&service);
            let director = rig.programs.xdp(program::DIRECTOR).unwrap();
            let mut met = BTreeMap::new();
            for port in 1000..1100 {
                let real = pick(director, &TCP_SYN.port(port), &service.reals);
                *met.entry(real.unwrap()).or_insert(0) += 1;
            }
            let expected = if flags == 0 { 1..=1 } else { 7..=8 };
            assert!(expected.contains(&met.len()), "{scheduler:?}: {met:?}");
        }
    }
}

/// Who is led to a real of weight 0 is refused, and nobody else moves; with the
/// fallback he goes elsewhere, and the others stay.
#[test]
fn a_quiesced_real_keeps_its_places() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in [Scheduler::Dh, Scheduler::Sh, Scheduler::Mh] {
        let flags = scheduler.layout().flags();
        let has_fallback = flags.iter().any(|(_, bit)| *bit == flag::FALLBACK);
        for falls_back in [false, true].into_iter().filter(|it| !it || has_fallback) {
            rig.clear();
            let whole = Service {
                scheduler_flags: if falls_back { flag::FALLBACK } else { 0 },
                ..web(scheduler, &[1; 4])
            };
            let before = picks(&mut rig, &whole);
            let mut quiesced = whole.clone();
            quiesced.reals[1].weight = Weight::new(0).unwrap();
            let after = picks(&mut rig, &quiesced);
            let gone = Some(whole.reals[1].id);
            for (client, real) in &before {
                match after[client] {
                    now if *real != gone => assert_eq!(now, *real, "{scheduler:?} {client}"),
                    None => assert!(!falls_back, "{scheduler:?} {client}"),
                    Some(now) => {
                        assert!(falls_back && Some(now) != gone, "{scheduler:?} {client}");
                    }
                }
            }
            // Those who move under mh are spread over all the others.
            if falls_back && scheduler == Scheduler::Mh {
                for real in [0, 2, 3] {
                    let share = share(&after, Some(whole.reals[real].id));
                    assert!((share - 1.0 / 3.0).abs() < 0.04, "{real}: {share}");
                }
            }
        }
    }
}

/// An overloaded real is as a quiesced one.
#[test]
fn an_overloaded_real_refuses_or_passes_on() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for (scheduler, flags) in [
        (Scheduler::Dh, 0),
        (Scheduler::Sh, 0),
        (Scheduler::Sh, flag::FALLBACK),
        (Scheduler::Mh, 0),
        (Scheduler::Mh, flag::FALLBACK),
    ] {
        rig.clear();
        let mut service = Service {
            scheduler_flags: flags,
            ..web(scheduler, &[1, 1])
        };
        for real in &mut service.reals {
            real.upper_threshold = 1;
        }
        rig.serve(&service);
        let director = rig.programs.xdp(program::DIRECTOR).unwrap();
        let picks: Vec<_> = (1..=3)
            .map(|port| pick(director, &TCP_SYN.port(port), &service.reals))
            .collect();
        assert!(picks[0].is_some(), "{scheduler:?} {flags}");
        match flags {
            0 => assert_eq!(picks[1..], [None, None], "{scheduler:?}"),
            _ => {
                assert!(picks[1].is_some() && picks[1] != picks[0], "{scheduler:?}");
                assert_eq!(picks[2], None, "{scheduler:?}");
            }
        }
    }
}

/// When a real goes, hardly any other client of mh gets another real; the table's
/// own test has the bounds.
#[test]
fn few_move_when_a_real_of_mh_goes() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::with_sizes(Sizes {
        plan_words: 1 << 18,
        ..SIZES
    });
    for (table, most) in [(4093, 0.04), (65_537, 0.01)] {
        rig.clear();
        let whole = Service {
            mh_table_size: table,
            ..web(Scheduler::Mh, &[1; 50])
        };
        let before = picks(&mut rig, &whole);
        let mut less = whole.clone();
        less.reals.remove(20);
        let after = picks(&mut rig, &less);
        let gone = Some(whole.reals[20].id);
        let unrelated = before.iter().filter(|(_, real)| **real != gone);
        let moved = unrelated.filter(|(client, real)| after[client] != **real);
        let moved = moved.count() as f64 / f64::from(CLIENTS);
        assert!(moved <= most, "{table}: {moved}");
        assert!(after.values().all(|real| real.is_some() && *real != gone));
    }
}

/// Another director, which was told of the reals in another order and has had
/// others before, picks the same.
#[test]
fn every_director_has_the_same_mh_table() {
    let pick = |host: &Host, client: u16| {
        let [high, low] = client.to_be_bytes();
        let client = SocketAddr::new(IpAddr::from([100, 64, high, low]), 1);
        host.pick(client, VIP)
    };
    let new = || Host::new(1, std::time::Duration::from_hours(24));
    let service = web(Scheduler::Mh, &[3, 1, 2, 7, 1]);
    let (mut one, mut other) = (new(), new());
    one.set_service(&service).unwrap();
    let mut turned = service;
    turned.reals.reverse();
    let mut former = turned.clone();
    former.reals.remove(1);
    other.set_service(&former).unwrap();
    other.set_service(&turned).unwrap();
    for client in 0..CLIENTS {
        assert_eq!(pick(&one, client), pick(&other, client), "{client}");
    }
}
