//! lblcr: a destination has several reals, as `ip_vs_lblcr.c` would have it.

use lb_common::scheduler::locality::MEMBERS;
use lb_daemon::config::model::{Options, Scheduler::Lblcr};
use lb_tests::privilege;

use super::{FAMILIES, Site, in_both_families};
use crate::{
    packet::Ip,
    rig::{DEFENCELESS, OPTIONS, Rig},
    sweep::ago_ns,
    world::v4,
};

const EXPIRY_S: u32 = 60;

/// Whoever is overwhelmed gets help, and of those who have as much to do the
/// one who came last is asked.
#[test]
fn a_set_grows_when_overwhelmed() {
    in_both_families(Lblcr, &[2, 2, 2], |site| {
        let name = site.family.name;
        let slots = [0, 1, 2].map(|real| site.slot_of(real));
        assert_eq!(site.connect_all(1, 3), [0, 0, 0], "{name}");
        assert_eq!(site.members(1), slots[..1], "{name}");
        assert_eq!(site.connect_all(1, 3), [1, 1, 1], "{name}: joins");
        assert_eq!(site.members(1), slots[..2], "{name}");
        // Three each: the newest is asked, and is overwhelmed.
        assert_eq!(site.connect_all(1, 3), [2, 2, 2], "{name}: joins");
        assert_eq!(site.members(1), slots, "{name}");
        // Nobody has less than half of his weight: they go on, newest first.
        assert_eq!(site.connect_all(1, 3), [2, 1, 0], "{name}");
        assert_eq!(site.connect_all(1, 3), [2, 1, 0], "{name}");
        assert_eq!(site.members(1), slots, "{name}");
        assert_eq!(site.count(), 1, "{name}");
    });
}

/// A member that is drained stays one, and is asked again when it is back.
#[test]
fn a_drained_member_comes_back() {
    in_both_families(Lblcr, &[4, 4, 4], |site| {
        let name = site.family.name;
        assert_eq!(site.connect(1), 0, "{name}");
        site.weigh(&[0, 4, 4]);
        assert_eq!(site.connect(1), 1, "{name}: joins");
        assert_eq!(
            site.members(1),
            [site.slot_of(0), site.slot_of(1)],
            "{name}"
        );
        site.weigh(&[4, 4, 4]);
        // One each; wlc would say 2.
        assert_eq!(site.connect_all(1, 2), [1, 0], "{name}");
        assert_eq!(site.count(), 1, "{name}");
    });
}

/// A set that has been the same for `lblc_expiry` loses its most loaded member,
/// but never the last.
#[test]
fn an_old_set_is_trimmed() {
    in_both_families(Lblcr, &[2, 2, 2], |site| {
        let name = site.family.name;
        let options = Options {
            lblc_expiry_s: EXPIRY_S,
            ..OPTIONS
        };
        site.rig.set_policy(&options, &DEFENCELESS);
        let slots = [0, 1, 2].map(|real| site.slot_of(real));
        assert_eq!(site.connect_all(1, 7), [0, 0, 0, 1, 1, 1, 2], "{name}");
        assert_eq!(site.members(1), slots, "{name}");

        site.change(1, |set| set.changed_ns = ago_ns(EXPIRY_S - 2));
        assert_eq!(site.connect(1), 2, "{name}");
        assert_eq!(site.members(1), slots, "{name}: too early");

        // Three, three and two: of the most loaded the newest goes.
        site.change(1, |set| set.changed_ns = ago_ns(EXPIRY_S + 1));
        assert_eq!(site.connect(1), 2, "{name}");
        assert_eq!(site.members(1), [slots[0], slots[2]], "{name}");
        // That was a change: the next one has time.
        assert_eq!(site.connect(1), 2, "{name}");
        assert_eq!(site.members(1), [slots[0], slots[2]], "{name}");

        site.change(1, |set| set.changed_ns = ago_ns(EXPIRY_S + 1));
        assert_eq!(site.connect(1), 0, "{name}: three, not four");
        assert_eq!(site.members(1), slots[..1], "{name}");

        site.change(1, |set| set.changed_ns = ago_ns(EXPIRY_S + 1));
        assert_eq!(site.connect(1), 0, "{name}");
        assert_eq!(site.members(1), slots[..1], "{name}: the last stays");
    });
}

/// A set has room for 32: the oldest makes room.
#[test]
fn the_oldest_member_makes_room() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let family = &FAMILIES[0];
    let reals: Vec<Ip> = (0..MEMBERS as u8 + 3)
        .map(|host| v4(203, 0, 113, 100 + host))
        .collect();
    let weights = vec![1; reals.len()];
    let mut site = Site::with_reals(&mut rig, family, Lblcr, reals, &weights);
    for real in 0..MEMBERS + 3 {
        // Two are more than the weight.
        assert_eq!(site.connect_all(1, 2), [real, real]);
        let oldest = (real + 1).saturating_sub(MEMBERS);
        let expected: Vec<_> = (oldest..=real).map(|real| site.slot_of(real)).collect();
        assert_eq!(site.members(1), expected, "after {real} joined");
    }
    assert_eq!((site.members(1).len(), site.count()), (MEMBERS, 1));
}
