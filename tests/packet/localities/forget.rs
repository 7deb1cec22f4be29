//! What is void goes at once, and what nobody asks for after a while.

use lb_common::scheduler::locality::MOST_DESTINATIONS;
use lb_daemon::config::model::{
    ForwardingMethod::Dr,
    Options, Real, RealId,
    Scheduler::{Lblc, Lblcr, Rr},
};
use lb_tests::privilege;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use super::{FAMILIES, Site, in_both_families};
use crate::{
    packet::Ip,
    rig::{DEFENCELESS, LOOPBACK, OPTIONS, Rig},
    sweep::ago_ns,
};

const EXPIRY_S: u32 = 60;

/// Whoever gets a deleted real's slot is not taken for it.
#[test]
fn a_freed_slot_is_forgotten() {
    in_both_families(Lblc, &[4, 4], |site| {
        let name = site.family.name;
        assert_eq!([1, 2].map(|to| site.connect(to)), [0, 1], "{name}");
        let slot = site.slot_of(0);
        site.delete_first();
        assert_eq!(site.members(1), [slot], "{name}: it may come back");
        site.free_retired();
        assert!(site.set(1).is_none(), "{name}");
        assert_eq!(site.members(2), [site.slot_of(1)], "{name}");
        assert_eq!(site.count(), 1, "{name}");
        let third = site.family.reals[2];
        add(site, third);
        assert_eq!(site.slot_of(2), slot, "{name}: the slot is used again");
        assert!(site.set(1).is_none(), "{name}");
    });
}

/// Of a set one member goes, and sets that it is not in are left as they are.
#[test]
fn a_freed_slot_leaves_its_sets() {
    in_both_families(Lblcr, &[2, 2], |site| {
        let name = site.family.name;
        assert_eq!(site.connect_all(1, 4), [0, 0, 0, 1], "{name}");
        assert_eq!(site.connect(2), 1, "{name}");
        let slots = [0, 1].map(|real| site.slot_of(real));
        assert_eq!(site.members(1), slots, "{name}");
        let other = site.set(2);
        site.delete_first();
        site.free_retired();
        assert_eq!(site.members(1), slots[1..], "{name}");
        assert_eq!(site.set(2), other, "{name}");
        assert_eq!(site.count(), 2, "{name}");
        let third = site.family.reals[2];
        add(site, third);
        assert_eq!(site.slot_of(2), slots[0], "{name}: the slot is used again");
        assert_eq!(site.connect(2), 1, "{name}: wlc would say the new one");
        assert_eq!(site.members(1), slots[1..], "{name}");
    });
}

/// Several at once.
#[test]
fn freed_slots_are_forgotten_together() {
    in_both_families(Lblcr, &[2, 2, 2], |site| {
        let name = site.family.name;
        let slots = [0, 1, 2].map(|real| site.slot_of(real));
        assert_eq!(site.connect_all(1, 7), [0, 0, 0, 1, 1, 1, 2], "{name}");
        assert_eq!(site.connect(2), 2, "{name}");
        site.delete_first();
        site.delete_first();
        assert_eq!(site.members(1), slots, "{name}: they may come back");
        site.free_retired();
        assert_eq!(site.members(1), slots[2..], "{name}");
        assert_eq!(site.members(2), slots[2..], "{name}");
        assert_eq!(site.count(), 2, "{name}");
    });
}

#[test]
fn a_removed_service_is_forgotten() {
    in_both_families(Lblc, &[4, 4], |site| {
        for destination in 1..=20 {
            site.connect(destination);
        }
        assert_eq!((site.count(), site.rig.localities().len()), (20, 20));
        site.rig.reconciler.remove_service(site.service.id).unwrap();
        assert_eq!((site.count(), site.rig.localities().len()), (0, 0));
    });
}

/// Another scheduler remembers anew, and the others' memory is their own.
#[test]
fn a_change_of_scheduler_forgets() {
    in_both_families(Lblc, &[8, 8], |site| {
        for (before, after) in [(Lblc, Lblcr), (Lblcr, Lblc), (Lblc, Rr), (Rr, Lblc)] {
            let what = format!("{} from {before:?} to {after:?}", site.family.name);
            site.connect_all(1, 2);
            assert_eq!(site.count(), u32::from(before != Rr), "{what}");
            site.service.scheduler = after;
            site.rig.serve(&site.service);
            assert!(site.rig.localities().is_empty(), "{what}");
            assert_eq!(site.count(), 0, "{what}");
        }
    });
}

/// The daemon's thread forgets what has been idle for `lblc_expiry`.
#[test]
fn idle_destinations_are_swept() {
    if !privilege::bpf() {
        return;
    }
    for family in &FAMILIES {
        let mut rig = Rig::shared();
        let mut site = Site::new(&mut rig, family, Lblcr, &[8, 8]);
        let name = family.name;
        let options = Options {
            lblc_expiry_s: EXPIRY_S,
            ..OPTIONS
        };
        site.rig.set_policy(&options, &DEFENCELESS);
        for destination in 1..=100 {
            site.connect(destination);
        }
        for destination in 1..=90 {
            site.change(destination, |set| set.used_ns = ago_ns(EXPIRY_S + 1));
        }
        for destination in 91..=95 {
            site.change(destination, |set| set.used_ns = ago_ns(EXPIRY_S - 20));
        }
        // Used again in the last moment.
        site.connect(50);
        let kept = [50, 91, 95, 96, 100].map(|to| site.members(to));
        sweep(&mut site);
        assert_eq!(site.rig.localities().len(), 11, "{name}");
        assert_eq!(site.count(), 11, "{name}");
        assert_eq!([50, 91, 95, 96, 100].map(|to| site.members(to)), kept);
    }
}

/// A count that has gone astray is made right, where nothing is idle too.
#[test]
fn counts_are_corrected() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let mut site = Site::new(&mut rig, &FAMILIES[0], Lblc, &[8, 8]);
    for destination in 1..=7 {
        site.connect(destination);
    }
    site.pretend_count(400);
    sweep(&mut site);
    assert_eq!((site.count(), site.rig.localities().len()), (7, 7));
}

/// A full service gives its destinations 6 minutes.
#[test]
fn a_full_service_is_swept_sooner() {
    if !privilege::bpf() {
        return;
    }
    let minutes = |number: u32| number * 60;
    let up = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().tv_sec();
    if up < minutes(8).into() {
        eprintln!("not run: nothing can have been idle for 6 minutes on a machine up for {up} s");
        return;
    }
    let mut rig = Rig::shared();
    let mut site = Site::new(&mut rig, &FAMILIES[0], Lblc, &[8, 8]);
    for destination in 1..=4 {
        site.connect(destination);
    }
    site.change(1, |set| set.used_ns = ago_ns(minutes(7)));
    site.change(2, |set| set.used_ns = ago_ns(minutes(6) + 1));
    site.change(3, |set| set.used_ns = ago_ns(minutes(5)));
    site.pretend_count(MOST_DESTINATIONS);
    sweep(&mut site);
    assert!(site.set(1).is_none() && site.set(2).is_none());
    assert!(site.set(3).is_some() && site.set(4).is_some());
    assert_eq!(site.count(), 2);
    // There is room again.
    site.connect(5);
    assert_eq!((site.count(), site.rig.localities().len()), (3, 3));
}

/// A new first real for the service; its place is the next.
fn add(site: &mut Site, address: Ip) {
    site.reals.push(address);
    let real = Real::new(RealId { address, port: 0 }, Dr);
    // The first one gets the lowest slot.
    site.service.reals.insert(0, real);
    site.rig.serve(&site.service);
    site.rig.resolve(address, LOOPBACK, 1500);
}

/// The first look of the daemon's thread, which comes before its first walk.
fn sweep(site: &mut Site) {
    let (sender, mut reports) = mpsc::channel(4);
    let _sweeper = site.rig.start_sweeper(sender);
    reports.blocking_recv().unwrap();
}
