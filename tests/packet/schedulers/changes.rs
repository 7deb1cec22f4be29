//! A change of scheduler, weight or membership: established connections stay, the
//! next new one goes by it, no packet sees half of it, and the live counts
//! outlive it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::{
    packet::ACK,
    rig::{Rig, Shared},
};
use lb_common::abi::program;
use lb_tests::privilege;

fn connect(rig: &mut Shared, port: u16, service: &Service) -> Option<RealId> {
    let director = rig.programs.xdp(program::DIRECTOR).unwrap();
    pick(director, &TCP_SYN.port(port), &service.reals)
}

/// From every scheduler to every other.
#[test]
fn of_scheduler() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for from in Scheduler::ALL {
        rig.clear();
        let service = web(*from, &[10, 20, 30]);
        rig.serve(&service);
        let first = connect(&mut rig, 1, &service);
        for (port, to) in (2..).zip(Scheduler::ALL) {
            let changed = web(*to, &[10, 20, 30]);
            rig.serve(&changed);
            assert!(
                connect(&mut rig, port, &changed).is_some(),
                "{from:?} {to:?}"
            );
            let director = rig.programs.xdp(program::DIRECTOR).unwrap();
            let segment = TCP_SYN.port(1).with(ACK);
            let stays = pick(director, &segment, &service.reals);
            assert_eq!(stays, first, "{from:?} {to:?}");
        }
        let active: u32 = service
            .reals
            .iter()
            .map(|real| rig.counts(&service, real.id.address).0)
            .sum();
        assert_eq!(active, 1 + Scheduler::ALL.len() as u32, "{from:?}");
    }
}

/// The next connection goes by the new weights.
#[test]
fn of_weight_and_membership() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in Scheduler::ALL {
        rig.clear();
        rig.serve(&web(*scheduler, &[1, 1, 1]));
        for (port, weights) in (1..).zip([[1, 0, 0], [0, 1, 0], [0, 0, 1]]) {
            let flags = scheduler.layout().flags().iter();
            let service = Service {
                // Who is led to a quiesced real goes elsewhere.
                scheduler_flags: flags.fold(0, |all, (_, flag)| all | flag),
                ..web(*scheduler, &weights)
            };
            rig.serve(&service);
            let only = weights.iter().position(|weight| *weight > 0).unwrap();
            let picked = connect(&mut rig, port, &service);
            if *scheduler == Scheduler::Dh && picked.is_none() {
                continue;
            }
            assert_eq!(picked, Some(service.reals[only].id), "{scheduler:?}");
        }
        // One alone is left, and then another alone.
        for (port, member) in (11..).zip([0, 2]) {
            let mut service = web(*scheduler, &[1, 1, 1]);
            service.reals = vec![service.reals.swap_remove(member)];
            rig.serve(&service);
            let picked = connect(&mut rig, port, &service);
            assert_eq!(picked, Some(service.reals[0].id), "{scheduler:?}");
        }
    }
}

/// Least connections count what was there before the plan.
#[test]
fn the_live_counts_outlive_it() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let service = web(Scheduler::Rr, &[1, 0]);
    rig.serve(&service);
    for port in 1..=5 {
        assert_eq!(connect(&mut rig, port, &service), Some(service.reals[0].id));
    }
    for scheduler in [Scheduler::Lc, Scheduler::Wlc, Scheduler::Sed, Scheduler::Nq] {
        let service = web(scheduler, &[1, 1]);
        rig.serve(&service);
        assert_eq!(rig.counts(&service, service.reals[0].id.address), (5, 0));
        let port = 100 + scheduler as u16;
        let picked = connect(&mut rig, port, &service);
        assert_eq!(picked, Some(service.reals[1].id), "{scheduler:?}");
    }
}

/// wrr whose reals come all at once begins at the top of its sequence, also in
/// the place of another service.
#[test]
fn wrr_loaded_whole_begins_at_the_top() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for _ in 0..2 {
        rig.clear();
        let service = web(Scheduler::Wrr, &[4, 3, 2]);
        rig.serve(&service);
        let picks: Vec<_> = (1..=9)
            .map(|port| connect(&mut rig, port, &service))
            .collect();
        let expected = [0, 0, 1, 0, 1, 2, 0, 1, 2].map(|at| Some(service.reals[at].id));
        assert_eq!(picks, expected);
    }
}

/// While the plan changes between two sets of reals that have none in common,
/// every connection finds one of them: half a plan would find nobody, or a real
/// that no plan has a weight for.
#[test]
fn no_packet_sees_half_of_it() {
    if !privilege::bpf() {
        return;
    }
    for scheduler in Scheduler::ALL {
        let mut rig = Rig::shared();
        // Two layouts of unequal length, in reals that both have.
        let weights = |is_even: bool| -> Vec<u32> {
            let weight =
                |number: u32| u32::from(number.is_multiple_of(2) == is_even) * (2001 + number % 3);
            (0..if is_even { 40 } else { 20 }).map(weight).collect()
        };
        let flags = scheduler.layout().flags().iter();
        let flags = flags.fold(0, |all, (_, flag)| all | flag);
        let plans = [true, false].map(|is_even| Service {
            scheduler_flags: flags,
            ..web(*scheduler, &weights(is_even))
        });
        rig.serve(&plans[0]);
        rig.serve(&plans[1]);
        let all = plans[0].reals.clone();
        let is_done = AtomicBool::new(false);
        let rig = &mut *rig;
        let director = &*rig.programs.xdp(program::DIRECTOR).unwrap();
        let reconciler = &mut rig.reconciler;
        let refused = std::thread::scope(|scope| {
            let picker = scope.spawn(|| {
                let mut refused = 0;
                for port in 1..=2000 {
                    refused += u32::from(pick(director, &TCP_SYN.port(port), &all).is_none());
                }
                is_done.store(true, Relaxed);
                refused
            });
            while !is_done.load(Relaxed) {
                for plan in &plans {
                    reconciler.set_service(plan).unwrap();
                }
            }
            picker.join().unwrap()
        });
        // The bucket of a quiesced real refuses, and it is dh's whole answer.
        assert!(
            refused == 0 || *scheduler == Scheduler::Dh,
            "{scheduler:?}: {refused}"
        );
    }
}
