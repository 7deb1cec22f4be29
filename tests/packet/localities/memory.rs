//! lblc: a destination keeps its real, as `ip_vs_lblc.c` would have it.

use lb_common::{abi::program, addr::Addr, scheduler::locality::MOST_DESTINATIONS};
use lb_daemon::config::model::{
    ForwardingMethod::Dr,
    Scheduler::{Lblc, Lblcr},
};
use lb_tests::privilege;

use super::{FAMILIES, Site, in_both_families};
use crate::{
    cpus,
    kernel::{self, Verdict},
    rig::{LOOPBACK, Rig, service},
    world::{OTHER_REAL, PORT, REAL, TCP_SYN, VIP},
};

#[test]
fn a_destination_keeps_its_real() {
    in_both_families(Lblc, &[2, 2], |site| {
        let name = site.family.name;
        let firsts = [1, 2, 3].map(|destination| site.connect(destination));
        assert_eq!(firsts, [0, 1, 0], "{name}: wlc's picks");
        // wlc would say 1.
        assert_eq!(site.connect(1), 0, "{name}");
        // 3 is more than the weight, but nobody has less than half of his own.
        assert_eq!(site.connect(1), 0, "{name}");
        assert_eq!(site.members(1), [site.slot_of(0)], "{name}");
        assert_eq!(site.members(2), [site.slot_of(1)], "{name}");
        assert_eq!(site.members(3), [site.slot_of(0)], "{name}");
        assert_eq!(
            (site.count(), site.rig.localities().len()),
            (3, 3),
            "{name}"
        );
    });
}

/// More connections than the weight, while another real has less than half of
/// its own: the destination moves, and stays there.
#[test]
fn an_overwhelmed_real_loses_the_destination() {
    in_both_families(Lblc, &[2, 2], |site| {
        let name = site.family.name;
        assert_eq!(site.connect_all(1, 6), [0, 0, 0, 1, 1, 1], "{name}");
        assert_eq!(site.members(1), [site.slot_of(1)], "{name}");
        assert_eq!(site.count(), 1, "{name}");
    });
}

/// A change of weights makes a new plan and leaves the memory. Whoever is
/// eligible again gets back what nobody has asked for meanwhile.
#[test]
fn a_drained_real_comes_back_as_in_ipvs() {
    in_both_families(Lblc, &[4, 4], |site| {
        let name = site.family.name;
        assert_eq!(site.connect(1), 0, "{name}");
        site.weigh(&[0, 4]);
        site.weigh(&[4, 4]);
        // wlc would say 1.
        assert_eq!(site.connect(1), 0, "{name}: nobody asked meanwhile");
        site.weigh(&[0, 4]);
        assert_eq!(site.connect_all(1, 3), [1, 1, 1], "{name}");
        site.weigh(&[4, 4]);
        // wlc would say 0: 2/4 is less than 3/4.
        assert_eq!(site.connect(1), 1, "{name}: IPVS has forgotten the first");
        assert_eq!(site.count(), 1, "{name}");
    });
}

/// One more real, and one less: those who stay are remembered.
#[test]
fn a_change_of_membership_keeps_the_memory() {
    in_both_families(Lblc, &[8, 8, 8], |site| {
        let name = site.family.name;
        let firsts = [1, 2, 3].map(|destination| site.connect(destination));
        assert_eq!(firsts, [0, 1, 2], "{name}");
        let mut whole = site.service.clone();
        site.service.reals.pop();
        site.rig.serve(&site.service);
        assert_eq!([1, 2].map(|destination| site.connect(destination)), [0, 1]);
        std::mem::swap(&mut site.service, &mut whole);
        site.rig.serve(&site.service);
        // It was retired, its slot is the same, and nobody has asked.
        assert_eq!(site.connect_all(3, 2), [2, 2], "{name}: added again");
        assert_eq!([1, 2].map(|destination| site.connect(destination)), [0, 1]);
        assert_eq!(site.count(), 3, "{name}");
    });
}

/// By its thresholds.
#[test]
fn an_overloaded_real_is_passed_over() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in [Lblc, Lblcr] {
        let mut site = Site::new(&mut rig, &FAMILIES[0], scheduler, &[100, 100]);
        site.service.reals[0].upper_threshold = 2;
        site.rig.serve(&site.service);
        assert_eq!(site.connect_all(1, 4), [0, 0, 1, 1], "{scheduler:?}");
        let expected = match scheduler {
            Lblc => vec![site.slot_of(1)],
            _ => vec![site.slot_of(0), site.slot_of(1)],
        };
        assert_eq!(site.members(1), expected, "{scheduler:?}");
    }
}

/// Nobody is eligible: nothing is remembered, and what was stays.
#[test]
fn without_a_real_nothing_changes() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in [Lblc, Lblcr] {
        let mut site = Site::new(&mut rig, &FAMILIES[0], scheduler, &[4, 4]);
        assert_eq!(site.connect(1), 0);
        site.weigh(&[0, 0]);
        for destination in [1, 2] {
            let frame = site.syn(destination, 999).frame();
            let outcome = site.rig.run(&frame);
            assert_eq!(
                (outcome.verdict, outcome.frame[23]),
                (Verdict::Tx, 1),
                "ICMP"
            );
        }
        assert_eq!(site.members(1), [site.slot_of(0)], "{scheduler:?}");
        assert!(site.set(2).is_none(), "{scheduler:?}");
        assert_eq!(site.count(), 1, "{scheduler:?}");
    }
}

/// Beyond 16,384 destinations connections go by wlc and leave nothing.
#[test]
fn a_full_service_remembers_no_more() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for family in &FAMILIES {
        for scheduler in [Lblc, Lblcr] {
            let what = format!("{} {scheduler:?}", family.name);
            let mut site = Site::new(&mut rig, family, scheduler, &[8, 8]);
            assert_eq!(site.connect(1), 0, "{what}");
            site.pretend_count(MOST_DESTINATIONS - 1);
            assert_eq!(site.connect(2), 1, "{what}: the last");
            assert_eq!(site.count(), MOST_DESTINATIONS, "{what}");
            assert_eq!(site.connect_all(3, 4), [0, 1, 0, 1], "{what}: by wlc");
            assert!(site.set(3).is_none(), "{what}");
            assert_eq!(site.count(), MOST_DESTINATIONS, "{what}");
            // Known ones stay with their reals.
            assert_eq!(site.connect_all(1, 2), [0, 0], "{what}");
            assert_eq!(site.connect_all(2, 2), [1, 1], "{what}");
        }
    }
}

/// A service by address has one destination, whoever asks.
#[test]
fn one_address_is_one_destination() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in [Lblc, Lblcr] {
        rig.clear();
        let reals = [(REAL, 100), (OTHER_REAL, 100)];
        let web = service("tcp:192.0.2.10:80", scheduler, Dr, PORT, &reals);
        rig.serve(&web);
        for port in 1..=50 {
            rig.run(&TCP_SYN.port(port).frame());
        }
        assert_eq!(rig.counts(&web, REAL), (50, 0), "{scheduler:?}");
        let [(key, set)] = rig.localities()[..] else {
            panic!("{:?}", rig.localities());
        };
        assert_eq!(key.destination, Addr::from(VIP), "{scheduler:?}");
        assert_eq!((set.count, set.members[0]), (1, rig.slot(&web, REAL)));
        assert_eq!(rig.locality_counts().get(&key.service, 0).unwrap(), 1);
    }
}

/// The same new destination on two CPUs at once: one entry, counted once.
#[test]
fn the_same_destination_from_two_cpus() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for family in &FAMILIES {
        for scheduler in [Lblc, Lblcr] {
            let what = format!("{} {scheduler:?}", family.name);
            let site = Site::new(&mut rig, family, scheduler, &[60_000, 60_000]);
            let frames = |port| -> Vec<_> {
                (1..=200)
                    .map(|destination| site.syn(destination, port).frame())
                    .collect()
            };
            let (left, right) = (frames(1), frames(2));
            let director = &*site.rig.programs.xdp(program::DIRECTOR).unwrap();
            let send = |frames: Vec<Vec<u8>>| {
                for frame in frames {
                    let outcome = kernel::run(director, LOOPBACK, &frame);
                    assert_eq!(outcome.verdict, Verdict::Tx);
                }
            };
            cpus::on_two(|| send(left), || send(right));
            assert_eq!(site.rig.localities().len(), 200, "{what}");
            assert_eq!(site.count(), 200, "{what}");
            for (key, set) in site.rig.localities() {
                assert_eq!(set.count, 1, "{what}: {key:?}");
            }
        }
    }
}
