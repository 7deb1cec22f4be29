//! Orders of writes, slots and turns.

use std::time::Duration;

use lb_common::scheduler::Scheduler;

use super::*;
use crate::{
    config::model::{Capacity, ForwardingMethod, Protocol, RealState, Tunnel, TunnelKind, Weight},
    dataplane::Sizes,
    reconcile::{
        image::{PLAN_REST, nat_role},
        retire::free_retired,
    },
};

pub(super) fn image() -> Image {
    Image::empty(&Sizes::from(Capacity {
        services: 4,
        reals: 8,
        connections: 64,
        persistence: 64,
    }))
}

pub(super) fn web(scheduler: Scheduler, weights: &[(u8, u32)]) -> Service {
    let real = |&(host, weight): &(u8, u32)| {
        let id = RealId {
            address: IpAddr::from([10, 0, 0, host]),
            port: 80,
        };
        Real {
            weight: Weight::new(weight).unwrap(),
            ..Real::new(id, ForwardingMethod::Dr)
        }
    };
    Service {
        reals: weights.iter().map(real).collect(),
        ..Service::new("tcp:192.0.2.10:80".parse().unwrap(), scheduler)
    }
}

#[test]
fn reals_come_before_the_plan_and_the_service_last() {
    let ops = service(
        &mut image(),
        &web(Scheduler::Rr, &[(2, 1)]),
        None,
        Instant::now(),
    )
    .unwrap();
    let kinds: Vec<_> = ops.iter().map(std::mem::discriminant).collect();
    let position = |op: &Op| {
        kinds
            .iter()
            .position(|kind| *kind == std::mem::discriminant(op))
            .unwrap()
    };
    let real = position(&Op::SetReal {
        slot: 0,
        real: RealServer::default(),
    });
    let plan = position(&Op::SetPlan {
        slot: 0,
        plan: Plan::default(),
    });
    let current = position(&Op::SetCurrent {
        service: 0,
        plan: 0,
    });
    let bind = position(&Op::Bind {
        key: ServiceKey::default(),
        service: 0,
    });
    assert!(real < plan && plan < current && current < bind, "{ops:?}");
    assert_eq!(bind, ops.len() - 1);
}

/// [`web`], its reals under nat with a pool.
/// Packets remember by the old scheduler until the new plan is in force.
#[test]
fn what_a_scheduler_remembers_goes_when_it_has_gone() {
    let mut image = image();
    let now = Instant::now();
    let mut web = web(Scheduler::Lblc, &[(2, 1)]);
    service(&mut image, &web, None, now).unwrap();
    web.scheduler = Scheduler::Rr;
    let ops = service(&mut image, &web, Some(0), now).unwrap();
    let current = position(&ops, |op| matches!(op, Op::SetCurrent { .. }));
    let forgotten = position(&ops, |op| matches!(op, Op::ForgetLocalities { .. }));
    assert!(current < forgotten, "{ops:?}");
    // A change of weight is not a change of scheduler.
    web.reals[0].weight = Weight::new(5).unwrap();
    let ops = service(&mut image, &web, Some(0), now).unwrap();
    let forgets = |op: &Op| matches!(op, Op::ForgetLocalities { .. });
    assert!(!ops.iter().any(forgets), "{ops:?}");
}

fn masquerading(hosts: &[u8]) -> Service {
    let reals: Vec<_> = hosts.iter().map(|host| (*host, 1)).collect();
    let mut web = web(Scheduler::Rr, &reals);
    for real in &mut web.reals {
        real.forward = ForwardingMethod::Nat;
    }
    web.masquerade = vec![[10, 0, 0, 250].into(), [10, 0, 0, 251].into()];
    web
}

fn position(ops: &[Op], is_it: impl Fn(&Op) -> bool) -> usize {
    ops.iter()
        .position(is_it)
        .unwrap_or_else(|| panic!("not in {ops:?}"))
}

fn nat_key(host: u8) -> AddressKey {
    nat_role(Addr::from(IpAddr::from([10, 0, 0, host])), Protocol::Tcp)
}

#[test]
fn what_a_real_and_a_service_need_is_there_before_them() {
    let ops = service(&mut image(), &masquerading(&[2]), None, Instant::now()).unwrap();
    let real = position(&ops, |op| matches!(op, Op::SetReal { .. }));
    let pool = position(&ops, |op| matches!(op, Op::SetPool { .. }));
    let nat = position(&ops, |op| *op == Op::AddAddress { key: nat_key(2) });
    let bind = position(&ops, |op| matches!(op, Op::Bind { .. }));
    let key = service_role("tcp:192.0.2.10:80".parse().unwrap()).unwrap();
    let vip = position(&ops, |op| *op == Op::AddAddress { key });
    assert!(pool < real && nat < real && vip < bind, "{ops:?}");
    let Op::SetReal { real, .. } = ops[real] else {
        unreachable!()
    };
    assert_eq!(real.flags, flag::MASQUERADE);
    let Op::SetPool { pool, .. } = ops[pool] else {
        unreachable!()
    };
    assert_eq!(pool.count, 2);
    assert_eq!(pool.addresses[1], Addr::from(IpAddr::from([10, 0, 0, 251])));
}

#[test]
fn a_pool_is_taken_away_after_the_last_use_of_it() {
    let (mut image, now) = (image(), Instant::now());
    let mut web = masquerading(&[2]);
    service(&mut image, &web, None, now).unwrap();
    assert_eq!(service(&mut image, &web, Some(0), now).unwrap(), []);

    let pool = std::mem::take(&mut web.masquerade);
    let ops = service(&mut image, &web, Some(0), now).unwrap();
    let [Op::SetReal { real, .. }, Op::RemovePool { service: 0 }] = ops[..] else {
        panic!("{ops:?}")
    };
    assert_eq!(real.flags, 0);

    web.masquerade = pool;
    service(&mut image, &web, Some(0), now).unwrap();
    let ops = remove_service(&mut image, web.id, now);
    let unbind = position(&ops, |op| matches!(op, Op::Unbind { .. }));
    let pool = position(&ops, |op| matches!(op, Op::RemovePool { .. }));
    assert!(unbind < pool && image.pools.is_empty(), "{ops:?}");
}

#[test]
fn an_address_is_known_while_one_real_slot_has_it() {
    let (mut image, now) = (image(), Instant::now());
    let web = masquerading(&[2]);
    service(&mut image, &web, None, now).unwrap();
    // The same real of another service, whose end is not the address's.
    let mut https = masquerading(&[2]);
    https.id = "tcp:192.0.2.10:443".parse().unwrap();
    let ops = service(&mut image, &https, None, now).unwrap();
    let is_address = |op: &Op| matches!(op, Op::AddAddress { .. } | Op::RemoveAddress { .. });
    assert!(!ops.iter().any(is_address), "{ops:?}");

    remove_service(&mut image, web.id, now);
    let freed = free_retired(&mut image, now + PLAN_REST, |_| false);
    assert!(!freed.iter().any(is_address), "{freed:?}");
    // Another method: connections made under nat go on.
    https.reals[0].forward = ForwardingMethod::Dr;
    let ops = service(&mut image, &https, Some(0), now).unwrap();
    assert!(!ops.iter().any(is_address), "{ops:?}");
    remove_service(&mut image, https.id, now);
    let freed = free_retired(&mut image, now + PLAN_REST, |_| false);
    let gone = Op::RemoveAddress { key: nat_key(2) };
    let real = position(&freed, |op| matches!(op, Op::SetReal { .. }));
    assert!(real < position(&freed, |op| *op == gone), "{freed:?}");
}

#[test]
fn a_tunnel_changes_in_place() {
    let (mut image, now) = (image(), Instant::now());
    let mut web = web(Scheduler::Rr, &[(2, 1)]);
    web.reals[0].forward = ForwardingMethod::Tun;
    service(&mut image, &web, None, now).unwrap();
    web.reals[0].tunnel = Tunnel {
        kind: TunnelKind::Gue,
        port: 7000,
        checksum: true,
    };
    let ops = service(&mut image, &web, Some(0), now).unwrap();
    let [Op::SetReal { slot: 0, real }] = ops[..] else {
        panic!("{ops:?}")
    };
    assert_eq!(
        (real.tunnel, real.tunnel_port, real.flags),
        (
            TunnelKind::Gue as u8,
            Be16::new(7000),
            flag::TUNNEL_CHECKSUM
        )
    );
}

#[test]
fn a_real_of_this_host_needs_no_hop_and_keeps_the_one_it_had() {
    let (mut image, now) = (image(), Instant::now());
    let mut web = web(Scheduler::Rr, &[(2, 1)]);
    web.reals[0].forward = ForwardingMethod::Local;
    let ops = service(&mut image, &web, None, now).unwrap();
    assert!(!ops.iter().any(|op| matches!(op, Op::SetHop { .. })));
    assert!(image.hops.is_empty() && image.reals[&0].server.next_hop == NO_HOP);

    web.reals[0].forward = ForwardingMethod::Dr;
    service(&mut image, &web, Some(0), now).unwrap();
    assert_eq!(image.reals[&0].server.next_hop, 0);
    web.reals[0].forward = ForwardingMethod::Local;
    service(&mut image, &web, Some(0), now).unwrap();
    assert_eq!(image.reals[&0].server.next_hop, 0);
    remove_service(&mut image, web.id, now);
    free_retired(&mut image, now + PLAN_REST, |_| false);
    assert!(image.hops.is_empty());
}

#[test]
fn a_half_done_change_is_put_right() {
    let (mut image, now) = (image(), Instant::now());
    service(&mut image, &masquerading(&[2]), None, now).unwrap();
    assert_eq!(settle(&mut image), []);
    image.pools.insert(3, Pool::default());
    assert_eq!(settle(&mut image), [Op::RemovePool { service: 3 }]);
}

#[test]
fn the_links_mtu_comes_back() {
    let (mut image, now) = (image(), Instant::now());
    service(&mut image, &web(Scheduler::Rr, &[(2, 1)]), None, now).unwrap();
    let address = IpAddr::from([10, 0, 0, 2]);
    let hop = NextHop {
        mtu: 1500,
        resolved: 1,
        ..NextHop::default()
    };
    let written = next_hop(&mut image, address, hop).unwrap();
    assert_eq!(next_hop(&mut image, address, hop), None);
    assert_eq!(next_hop_again(&mut image, address, hop), Some(written));
    let stranger = [10, 0, 0, 3].into();
    assert_eq!(next_hop_again(&mut image, stranger, hop), None);
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    let (mut image, now) = (image(), Instant::now());
    let web = web(Scheduler::Wrr, &[(2, 1), (3, 2)]);
    service(&mut image, &web, None, now).unwrap();
    assert_eq!(service(&mut image, &web, Some(7), now).unwrap(), []);
}

#[test]
fn a_deleted_real_keeps_its_slot_while_connections_refer_to_it() {
    let (mut image, now) = (image(), Instant::now());
    service(
        &mut image,
        &web(Scheduler::Rr, &[(2, 1), (3, 1)]),
        None,
        now,
    )
    .unwrap();
    service(&mut image, &web(Scheduler::Rr, &[(3, 1)]), Some(0), now).unwrap();
    let later = now + PLAN_REST;
    assert_eq!(free_retired(&mut image, later, |slot| slot == 0), []);
    // Adding it again finds the same slot, counters and all.
    let ops = service(
        &mut image,
        &web(Scheduler::Rr, &[(2, 1), (3, 1)]),
        Some(0),
        later,
    )
    .unwrap();
    assert!(
        ops.iter().all(|op| !matches!(op, Op::ClearReal { .. })),
        "{ops:?}"
    );
    assert_eq!(
        image.real_slot(
            "tcp:192.0.2.10:80".parse().unwrap(),
            RealId {
                address: [10, 0, 0, 2].into(),
                port: 80
            }
        ),
        Some(0)
    );
}

#[test]
fn freed_slots_and_hops_are_used_again() {
    let (mut image, now) = (image(), Instant::now());
    for round in 0..40u32 {
        let now = now + PLAN_REST * round * 2;
        let host = round as u8;
        service(&mut image, &web(Scheduler::Rr, &[(host, 1)]), Some(0), now).unwrap();
        free_retired(&mut image, now + PLAN_REST, |_| false);
    }
    assert_eq!(
        (image.reals.len(), image.hops.len(), image.fill()),
        (1, 1, (1, 1))
    );
}

#[test]
fn a_removed_service_gives_everything_back() {
    let (mut image, now) = (image(), Instant::now());
    let web = web(Scheduler::Rr, &[(2, 1), (3, 1)]);
    service(&mut image, &web, None, now).unwrap();
    let ops = remove_service(&mut image, web.id, now);
    assert!(matches!(ops[0], Op::Unbind { .. }));
    free_retired(&mut image, now + PLAN_REST, |_| false);
    image.reclaim(now + PLAN_REST);
    assert_eq!(image.fill(), (0, 0));
    assert!(image.services.is_empty() && image.hops.is_empty() && image.resting.is_empty());
    assert_eq!(image.addresses, Default::default());
}

#[test]
fn a_full_map_names_the_key_that_sizes_it() {
    let reals: Vec<_> = (1..=9).map(|host| (host, 1)).collect();
    let error = service(
        &mut image(),
        &web(Scheduler::Rr, &reals),
        None,
        Instant::now(),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no room for another real: raise capacity.reals"
    );
}

#[test]
fn a_change_of_weight_keeps_the_turn_of_rr() {
    let (mut image, now) = (image(), Instant::now());
    service(
        &mut image,
        &web(Scheduler::Rr, &[(2, 1), (3, 1), (4, 1)]),
        None,
        now,
    )
    .unwrap();
    // Five picks: the last went to the second real. The third goes next.
    let ops = service(
        &mut image,
        &web(Scheduler::Rr, &[(2, 0), (3, 1), (4, 1)]),
        Some(5),
        now,
    )
    .unwrap();
    let Some(Op::SetPlan { plan, .. }) = ops.iter().find(|op| matches!(op, Op::SetPlan { .. }))
    else {
        panic!("no plan in {ops:?}")
    };
    assert_eq!((plan.start, plan.turn), (1, 1));
}

#[test]
fn a_real_that_joins_a_running_service_has_its_whole_share_after_its_slow_start() {
    const STEP: Duration = Duration::from_secs(1);
    let (empty, plain) = (image, web);
    let (mut image, began) = (empty(), Instant::now());
    let web = |reals| Service {
        slow_start: Some(STEP * 16),
        ..plain(Scheduler::Wlc, reals)
    };
    let shares = |image: &Image, service: &Service| {
        let reals = service.reals.iter();
        let shares = reals.map(|real| image.share(service.id, real.id));
        shares.collect::<Vec<_>>()
    };
    // Made whole: nobody is there to spare the others.
    let two = web(&[(2, 3), (3, 1)]);
    service(&mut image, &two, None, began).unwrap();
    assert_eq!(shares(&image, &two), [16, 16]);
    assert_eq!(image.next_share_at(two.id, STEP * 16, began), None);

    let three = web(&[(2, 3), (3, 1), (4, 2)]);
    for sixteenths in 1..=16 {
        let now = began + STEP * (sixteenths - 1);
        let ops = service(&mut image, &three, Some(0), now).unwrap();
        let _ = position(&ops, |op| matches!(op, Op::SetPlan { .. }));
        assert_eq!(shares(&image, &three), [16, 16, sixteenths]);
        let next = image.next_share_at(three.id, STEP * 16, now);
        assert_eq!(next.is_some(), sixteenths < 16);
        if let Some(next) = next {
            let late = next.saturating_duration_since(now + STEP);
            assert!(late <= Duration::from_millis(1), "{late:?}");
        }
        let again = service(&mut image, &three, Some(0), now + STEP / 2).unwrap();
        assert_eq!(again, []);
    }
    // Who is through takes no part in a longer one.
    let longer = Service {
        slow_start: Some(STEP * 3600),
        ..three.clone()
    };
    let done = began + STEP * 20;
    assert_eq!(service(&mut image, &longer, Some(0), done).unwrap(), []);
    // As if nobody had ever started.
    let mut other = empty();
    service(&mut other, &three, None, began).unwrap();
    let words = |image: &Image| {
        image.services[&three.id]
            .plan
            .as_ref()
            .unwrap()
            .words
            .clone()
    };
    assert_eq!(words(&image), words(&other));
}

#[test]
fn who_comes_back_starts_slowly_and_who_is_alone_does_not() {
    let (mut image, mut now) = (image(), Instant::now());
    let mut web = Service {
        slow_start: Some(Duration::from_secs(16)),
        ..web(Scheduler::Wrr, &[(2, 1), (3, 1)])
    };
    let stranger = self::web(Scheduler::Wrr, &[(9, 1)]).reals.remove(0);
    let mut share = |web: &Service| {
        now += Duration::from_secs(60);
        service(&mut image, web, Some(1000), now).unwrap();
        image.share(web.id, web.reals[1].id)
    };
    assert_eq!(share(&web), 16);
    for state in [RealState::Drain, RealState::Maint] {
        web.reals[1].state = state;
        assert_eq!(share(&web), 16, "nothing to share out");
        web.reals[1].state = RealState::Ready;
        assert_eq!((share(&web), share(&web)), (1, 16), "{state:?}");
    }
    web.reals[1].weight = Weight::new(0).unwrap();
    share(&web);
    web.reals[1].weight = Weight::ONE;
    assert_eq!((share(&web), share(&web)), (1, 16));
    // Deleted, and added again while its connections go on.
    let gone = std::mem::replace(&mut web.reals[1], stranger);
    share(&web);
    web.reals[1] = gone;
    assert_eq!((share(&web), share(&web)), (1, 16));

    web.reals[0].state = RealState::Drain;
    web.reals[1].state = RealState::Drain;
    share(&web);
    web.reals[1].state = RealState::Ready;
    assert_eq!(share(&web), 16, "nobody else is there");
}
